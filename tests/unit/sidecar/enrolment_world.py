"""A daemon's key, spool and policy beside the real central services, on virtual time.

The parts are production's own, built by ``build_parts``; only listeners and calls are left out.
The issuer and the store are the real application, reached over HTTP through a simulated network.
"""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec

from central.config import IssuerSettings
from gateway import record
from gateway.documents import KeyCert
from sidecar import journal
from sidecar.config import parse
from sidecar.eventlog import EventLog
from sidecar.outside import Outside
from sidecar.parts import Parts, build_parts
from spool import read
from tests.sim.central import (
    ADDRESS,
    HOST_SEED,
    ONE_TIME,
    REGION,
    TENANT,
    Central,
    configuration,
    root_document,
)
from tests.sim.clock import SimClock
from tests.sim.disk import SimDisk
from tests.sim.entropy import SeededEntropy
from tests.sim.files import SimFiles
from tests.sim.loop import elapse, simulate
from tests.sim.net import DaemonNetwork, Host, SimNetwork
from tests.sim.policies import SCOPE
from tests.sim.publisher import Publisher
from tests.unit.sidecar.config_text import Document, toml

HOST_KEY = "/state/host.key"
TOKEN = "/state/token"
ANOTHER_TOKEN = "gpo_nobody-knows"
TOKEN_TEXT = ONE_TIME
REGISTERED = base64.b64encode(HOST_SEED)
"""The text of a host key that the issuer's configuration names."""


def settings(**members: object) -> Document:
    """The daemon's configuration; ``members`` replace whole sections."""
    return {
        "tenant": TENANT,
        "region": REGION,
        "central": {"url": f"http://{ADDRESS}"},
        "trust": {"root_sha256": root_document().digest},
        "enrolment": {"host_key_file": HOST_KEY, "one_time_token_file": TOKEN},
        # Nothing here depends on fresh policy, and hours of it would be thousands of requests.
        "policy": {
            "scope": SCOPE,
            "directory": "/state/policy",
            "refresh_seconds_min": 1_000,
            "refresh_seconds_max": 2_000,
        },
        "spool": {
            "directory": "/state/spool",
            "segment_bytes": 256 * 1024,
            "spool_bytes_max": 2 * 1024 * 1024,
            "spool_free_bytes_min": 0,
        },
        **members,
    }


class World:
    """Central services that run, and what a daemon is made of. ``clock``: the daemon's own."""

    def __init__(
        self, directory: Path, certificate_seconds: int, issuer: IssuerSettings | None = None
    ) -> None:
        self.clock = SimClock()
        self.network = SimNetwork(random.Random(1))
        config = configuration(directory, certificate_seconds)
        if issuer is not None:
            config = msgspec.structs.replace(config, issuer=issuer)
        self.central = Central(
            config,
            SimClock(),
            SeededEntropy(1),
            random.Random(2),
        )
        self.publisher = Publisher(self.central, SimClock(), random.Random(3))
        self.disk = SimDisk()
        self.log = io.StringIO()
        self._packs = str(directory / "packs")
        self._lives = 0

    async def build(self, **members: object) -> Parts:
        """The parts of another life of the daemon."""
        self._lives += 1
        outside = Outside(
            clock=self.clock,
            entropy=SeededEntropy(10 + self._lives),
            disk=self.disk,
            network=DaemonNetwork(Host(self.network)),
            host_name="host",
            threads=False,
        )
        log = EventLog(self.clock, self.log)
        document = settings(classification={"cache_directory": self._packs}, **members)
        return await build_parts(parse(toml(document)), outside, log)

    def cut_off(self, *, cut_off: bool) -> None:
        """Whether connections to the central services are refused."""
        if cut_off:
            self.network.refused.add(ADDRESS)
        else:
            self.network.refused.discard(ADDRESS)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        lines = [msgspec.json.decode(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def issued(self) -> list[KeyCert]:
        """Every certificate that the issuer gave a daemon, oldest first."""
        rows = self.rows("issuer", "SELECT envelope FROM certificate ORDER BY issued_us, serial")
        given = [_certificate(envelope) for (envelope,) in rows]
        return [one for one in given if one.topology != "central"]

    def shipped(self, columns: str, table: str = "record") -> list[tuple[Any, ...]]:
        """``columns`` of what the store has of daemons, in the order of sequence numbers."""
        order = "seq" if table == "record" else "leaf_index"
        ours = "instance NOT IN (SELECT instance FROM own_instance)"
        return self.rows("records", f"SELECT {columns} FROM {table} WHERE {ours} ORDER BY {order}")

    def rows(self, service: str, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a central service's own tables."""
        return self.central.databases[service].connection.execute(sql).fetchall()

    def records(self, parts: Parts) -> list[record.Record]:
        """What ``parts`` wrote into its chain, decoded."""
        written = read.records(SimFiles(self.disk), parts.spool.directory)
        return [record.decode(one.payload) for one in written]


def _certificate(envelope: bytes) -> KeyCert:
    sealed = msgspec.json.decode(envelope)
    return msgspec.json.decode(base64.b64decode(sealed["payload"]), type=KeyCert)


async def write_start(parts: Parts) -> None:
    """The first record of the chain, as the daemon writes it."""
    draft = journal.start(
        parts.scribe,
        parts.outside.clock.wall_us(),
        public=parts.instance.signer.public,
        certificate=parts.instance.certificate_envelope,
        config_digest="sha256:" + "0" * 64,
        build="test",
        continues=None,
        continues_reason="first_start",
    )
    await parts.write_own(draft)
    parts.started.set()


async def enrol(parts: Parts) -> None:
    """Let another life of the daemon get its first certificate."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.policy.run)
        tasks.start_soon(parts.enroller.run)
        await parts.instance.certified.wait()
        await elapse(1)
        tasks.cancel_scope.cancel()


def play(
    script: Callable[[World, Parts], Awaitable[None]],
    directory: Path,
    *,
    certificate_seconds: int = 24 * 3_600,
    host_key: bytes | None = REGISTERED,
    token: str | None = None,
    central: bool = True,
    place: Mapping[str, object] | None = None,
    issuer: IssuerSettings | None = None,
) -> World:
    """Run ``script`` beside a daemon that enrols; it ends when the script does.

    ``host_key`` and ``token``: what the files hold, None for no file. ``central``: whether the
    services can be reached from the start. ``place``: another tenant or region
    than the issuer's, or other sections. ``issuer``: its own settings.
    """
    worlds: list[World] = []

    async def run() -> None:
        world = World(directory, certificate_seconds, issuer)
        worlds.append(world)
        if host_key is not None:
            world.disk.put(HOST_KEY, host_key)
        if token is not None:
            world.disk.put(TOKEN, token.encode())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.central.serve, Host(world.network))
            await elapse(0.01)
            await world.publisher.publish()
            world.cut_off(cut_off=not central)
            parts = await world.build(**(place or {}))
            for task in (parts.spool.run, parts.policy.run, parts.shipper.run, parts.enroller.run):
                tasks.start_soon(task)
            with anyio.fail_after(10 * 86_400):
                await script(world, parts)
            tasks.cancel_scope.cancel()

    simulate(1, run)
    assert worlds[0].central.faults == []
    return worlds[0]
