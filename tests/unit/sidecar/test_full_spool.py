"""A full spool and a store that is away: keys go on changing, and nothing waits for itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from gateway import record
from gateway.documents import Envelope
from gateway.errors import TurnAway
from gateway.ports import Service, ServiceAnswer, ServiceUnreachable
from sidecar.parts import Parts
from tests.sim.central import REGION, TENANT
from tests.sim.loop import elapse
from tests.sim.records import beat
from tests.unit.sidecar.enrolment_world import World, play, write_start

LIFE_SECONDS = 7_200


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files of the central services."""
    return tmp_path_factory.mktemp("central")


class Away:
    """A store that cannot be reached, while the issuer can."""

    async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
        raise ServiceUnreachable("connect", "refused")


def _send_to(parts: Parts, store: Service) -> Service:
    """Let records go to ``store``; returns where they went."""
    poster = parts.shipper._poster
    before, poster._service = poster._service, store
    return before


def _draft(name: str, size: int) -> record.Record:
    return msgspec.structs.replace(beat(size), id=name, tenant=TENANT, region=REGION)


@asynccontextmanager
async def _upkeep(parts: Parts) -> AsyncIterator[None]:
    """Heartbeats and chain-heads: after an outage nothing is deleted before the store was heard."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.upkeep.run_heartbeats)
        tasks.start_soon(parts.upkeep.run_chain_heads)
        yield
        tasks.cancel_scope.cancel()


async def _fill(parts: Parts, payload_bytes: int) -> None:
    """Calls until there is no room, then records of our own until there is none either."""
    spool = parts.spool
    with contextlib.suppress(TurnAway):
        for index in range(10_000):
            await spool.commit(spool.reserve(1), _draft(f"r{index}", 12_000))
    with contextlib.suppress(TurnAway):
        for index in range(10_000):
            own = _draft(f"own-{index}", payload_bytes)
            await spool.submit(spool.kept_reservation(), own).wait()
    assert spool.status().state == "full"


@pytest.mark.parametrize("room_for_rotate", [True, False])
def test_records_left_on_a_full_volume_are_shipped_after_several_lives_of_a_certificate(
    directory: Path, room_for_rotate: bool
) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        store = _send_to(parts, Away())
        await _fill(parts, 15_000)
        # An outage of weeks uses up what is kept for rotations, too.
        held = None if room_for_rotate else parts.spool.kept_reservation(rotate=True)
        await elapse(2.5 * LIFE_SECONDS)
        assert (len(world.lines("certificate_rotated")) > 2) == room_for_rotate
        if held is not None:
            held.release()
        _send_to(parts, store)
        with anyio.fail_after(LIFE_SECONDS):
            async with _upkeep(parts):
                while parts.shipper.backlog_records or len(parts.spool.shelf.bases) > 2:
                    await elapse(10)
        assert parts.instance.may_ship()
        (stored,) = world.shipped("count(*)")
        assert stored == (parts.spool.acked_seq + 1,)
        assert world.rows("records", "SELECT count(*) FROM evidence") == [(0,)]

    world = play(script, directory, certificate_seconds=LIFE_SECONDS)
    assert len(world.issued()) < 12, "it does not ask for one certificate after the other"


def test_a_late_certificate_is_written_as_soon_as_there_is_room(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        store = _send_to(parts, Away())
        await _fill(parts, 1_000)
        late = [parts.instance.certificate_envelope, _other(parts)]
        async with _upkeep(parts):
            for envelope in late:
                await parts.upkeep.heartbeat(envelope)
            await elapse(600)
            seq = parts.spool.last_seq
            _send_to(parts, store)
            await elapse(300)
        written = [
            one.certificate
            for one in world.records(parts)
            if isinstance(one, record.Heartbeat) and one.chain.seq > seq and one.certificate
        ]
        assert written == late, "each once, in the order in which they came"

    world = play(script, directory)
    assert world.lines("record_lost") == []
    assert len(world.lines("spool_full")) == 1


def _other(parts: Parts) -> Envelope:
    envelope = parts.instance.certificate_envelope
    assert envelope is not None
    return msgspec.structs.replace(envelope, signatures=envelope.signatures * 2)
