"""A record store put back to an older backup, and a daemon that goes on beside it.

The store's rows are taken away under it, as of before the daemon's records or its certificate.
"""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from gateway import limits
from gateway.ports import ServiceAnswer
from sidecar.parts import Parts
from tests.sim.central import ADDRESS
from tests.sim.loop import elapse
from tests.unit.sidecar.enrolment_world import World, play, write_start

_TABLES = ("record", "category", "instance", "evidence", "retired_key", "start_key", "chain_head")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files of the central services."""
    return tmp_path_factory.mktemp("central")


def forget(world: World, *, certificates: bool = False) -> None:
    """The store as it was before this daemon came."""
    connection = world.central.databases["records"].connection
    for table in (*_TABLES, "certificate") if certificates else _TABLES:
        connection.execute(f"DELETE FROM {table}")


def kept(world: World) -> list[int]:
    return [seq for (seq,) in world.shipped("seq")]


async def shipped(parts: Parts) -> None:
    with anyio.fail_after(3_600):
        while parts.shipper.backlog_records:
            await elapse(0.1)


async def written(parts: Parts, count: int) -> None:
    """A start record and heartbeats behind it, all shipped."""
    await parts.instance.certified.wait()
    await write_start(parts)
    for _ in range(count - 1):
        await parts.upkeep.heartbeat(None)
    await shipped(parts)


@pytest.mark.parametrize("certificates", [False, True])
def test_what_a_restored_store_lacks_is_sent_again_and_said_once(
    directory: Path, certificates: bool
) -> None:
    """Even where the store no longer knows the certificate."""

    async def script(world: World, parts: Parts) -> None:
        await written(parts, 5)
        assert kept(world) == list(range(5))
        forget(world, certificates=certificates)
        await parts.upkeep.post_chain_head()
        await shipped(parts)
        assert kept(world) == list(range(5))
        await parts.upkeep.post_chain_head()
        status = parts.shipper.status()
        assert (status.resent, status.lost) == (5, 0)
        assert "store_lost_records" in status.alarms
        assert parts.spool.acked_seq == 4
        assert len(world.shipped("serial", "certificate")) == 1

    (line,) = play(script, directory).lines("store_lost_records")
    assert line["level"] == "error"
    said = {name: line[name] for name in ("records", "first_seq", "last_seq", "held")}
    assert said == {"records": 5, "first_seq": 0, "last_seq": 4, "held": 5}


async def rotated(parts: Parts) -> None:
    """Until the next key has taken over."""
    before = parts.instance.signer.kid
    while parts.instance.signer.kid == before:
        await elapse(600)
    await shipped(parts)


def test_records_of_an_earlier_key_are_not_rejected_for_want_of_its_certificate(
    directory: Path,
) -> None:
    """Its own record of that certificate was deleted long ago."""

    async def script(world: World, parts: Parts) -> None:
        await written(parts, 3)
        await rotated(parts)
        second = parts.instance.signer.kid
        while not parts.spool.shelf.bases[0]:
            await parts.upkeep.heartbeat(None)
            await shipped(parts)
        await rotated(parts)
        forget(world, certificates=True)
        await parts.upkeep.post_chain_head()
        await shipped(parts)
        assert world.rows("records", "SELECT * FROM evidence") == []
        kids = {kid for (kid,) in world.shipped("DISTINCT kid")}
        assert second in kids
        held = parts.spool.shelf.bases[0]
        assert kept(world) == list(range(held, parts.spool.durable_seq + 1))

    play(script, directory, certificate_seconds=3_600)


def test_a_store_that_is_back_is_asked_at_once(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await written(parts, 3)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.upkeep.run_chain_heads)
            await elapse(limits.CHAIN_HEAD_SECONDS + 1)
            world.cut_off(cut_off=True)
            world.network.sever(ADDRESS)
            forget(world)
            await parts.upkeep.heartbeat(None)
            await elapse(5)
            world.cut_off(cut_off=False)
            with anyio.fail_after(limits.SHIP_RETRY_SECONDS_MAX):
                while not parts.shipper.status().resent:
                    await elapse(0.1)
            tasks.cancel_scope.cancel()
        await shipped(parts)
        assert kept(world) == list(range(4))

    play(script, directory)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"missing": []}', b"no JSON"])
def test_a_store_that_says_nothing_of_use_changes_nothing(directory: Path, body: bytes) -> None:
    class Store:
        async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
            return ServiceAnswer(200, {}, body)

    async def script(world: World, parts: Parts) -> None:
        await written(parts, 3)
        parts.upkeep._store = Store()
        await parts.upkeep.post_chain_head()
        assert parts.shipper.backlog_records == 0
        assert "store_lost_records" not in parts.shipper.status().alarms

    failed = play(script, directory).lines("chain_head_failed")
    assert len(failed) == (body == b"no JSON")


def test_a_store_cannot_ask_for_what_it_never_acknowledged(directory: Path) -> None:
    class Store:
        async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
            return ServiceAnswer(200, {}, b'{"missing": [{"first_seq": 2, "last_seq": 900}]}')

    async def script(world: World, parts: Parts) -> None:
        await written(parts, 3)
        parts.upkeep._store = Store()
        await parts.upkeep.post_chain_head()
        assert parts.spool.unresent_records == 1
        assert parts.shipper.status().lost == 1

    play(script, directory)
