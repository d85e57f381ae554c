"""What a daemon says of itself, and each reason for which it is not ready."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway import __version__
from sidecar.config import parse
from sidecar.parts import Parts
from sidecar.reporting import daemon_status
from sidecar.status import DaemonStatus
from tests.sim.disk import Faults
from tests.sim.loop import elapse
from tests.unit.sidecar.config_text import toml
from tests.unit.sidecar.enrolment_world import World, play, settings, write_start

CONFIG = parse(toml(settings()))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files of the central services."""
    return tmp_path_factory.mktemp("central")


class Socket:
    """A listener as the status sees one."""

    address = "/run/agent.sock"


def look(parts: Parts) -> DaemonStatus:
    return daemon_status(CONFIG, parts, [("agent", Socket())])  # type: ignore[list-item]  # address is all


def test_a_daemon_with_policy_key_and_spool_is_ready(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        await parts.policy.wait_held()
        status = look(parts)
        assert (status.ready, status.not_ready) == (True, ())
        assert status.version == __version__
        assert status.uid == os.getuid()
        assert [(one.name, one.address) for one in status.listeners] == [
            ("agent", "/run/agent.sock")
        ]
        assert status.instance.kid == parts.instance.signer.kid
        certificate = parts.instance.certificate
        assert certificate is not None
        assert status.instance.certificate_until == certificate.not_after
        again = msgspec.json.decode(msgspec.json.encode(status), type=DaemonStatus)
        assert again == status

    play(script, directory)


def test_before_anything_it_says_what_it_waits_for(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await elapse(10)
        status = look(parts)
        assert not status.ready
        assert status.not_ready == (
            "starting: the first record is not durable yet",
            "policy is empty",
        )
        assert status.instance.certificate_serial is None
        assert status.instance.uncertified_seconds >= 10
        assert status.instance.enrolment_error is None, "it waits for a root"

    play(script, directory, central=False)


@pytest.mark.parametrize(
    ("happen", "why"),
    [
        (lambda world, parts: world.clock.step(26 * 3_600), "without a certificate too long"),
        (lambda world, parts: parts.note_signed_time(0), "the clock is suspect"),
        (lambda world, parts: setattr(parts.in_flight, "draining", True), "draining"),
    ],
)
def test_each_reason_is_told(
    directory: Path, happen: Callable[[World, Parts], None], why: str
) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        await parts.policy.wait_held()
        assert look(parts).ready
        happen(world, parts)
        status = look(parts)
        assert not status.ready
        assert any(why in reason for reason in status.not_ready), status.not_ready

    play(script, directory)


def test_a_failed_disk_is_told(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        world.disk.faults = Faults(sync_error_at=world.disk.syncs + 1)
        await parts.upkeep.heartbeat(None)
        assert "spool is failed" in look(parts).not_ready

    play(script, directory)
