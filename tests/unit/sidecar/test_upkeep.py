"""Heartbeats and chain-heads: when they are due, what they say, and that they fail nothing."""

from __future__ import annotations

from pathlib import Path

import anyio
import msgspec
import pytest

from gateway import limits, record, seal
from gateway.ports import ServiceAnswer, ServiceUnreachable
from sidecar import journal
from sidecar.parts import Parts
from tests.sim.disk import Faults
from tests.sim.loop import elapse
from tests.unit.sidecar.enrolment_world import World, play, write_start

INTERVAL = limits.HEARTBEAT_SECONDS_MAX


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files of the central services."""
    return tmp_path_factory.mktemp("central")


def heartbeats(world: World, parts: Parts) -> list[record.Heartbeat]:
    return [one for one in world.records(parts) if isinstance(one, record.Heartbeat)]


def test_turn_aways_are_told_every_quarter_of_an_hour(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.upkeep.run_heartbeats)
            await elapse(1)
            for _ in range(100):
                parts.tally.turned_away("unknown_route", "tcp")
            await elapse(INTERVAL - 2)
            assert heartbeats(world, parts) == [], "not sooner"
            await elapse(2)
            (first,) = heartbeats(world, parts)
            assert first.counters.turned_away == {"unknown_route": {"tcp": 100}}
            assert first.certificate is None
            parts.tally.turned_away("too_slow", "tcp")
            await elapse(INTERVAL + 1)
            second = heartbeats(world, parts)[1]
            assert second.counters.turned_away["unknown_route"] == {"tcp": 100}, "cumulative"
            tasks.cancel_scope.cancel()

    play(script, directory)


def test_what_was_seen_of_the_log_is_told_as_it_grows(directory: Path) -> None:
    """The heartbeat itself makes it grow: an idle chain has one every quarter of an hour."""

    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.upkeep.run_heartbeats)
            await elapse(3 * INTERVAL + 1)
            seen = [one.log_seen for one in heartbeats(world, parts)]
            sizes = [0 if one is None else one.size for one in seen]
            assert len(sizes) == 3
            assert sizes == sorted(set(sizes))
            assert sizes[0] > 0
            assert parts.seen.stated() is not None
            tasks.cancel_scope.cancel()

    play(script, directory)


def test_nothing_is_told_while_nothing_is_new(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await write_start(parts)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.upkeep.run_heartbeats)
            await elapse(3 * INTERVAL)
            assert heartbeats(world, parts) == []
            tasks.cancel_scope.cancel()

    play(script, directory, central=False)


def test_a_heartbeat_says_where_the_chain_stood(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        await parts.upkeep.heartbeat(parts.instance.certificate_envelope)
        start, heartbeat = world.records(parts)
        assert isinstance(heartbeat, record.Heartbeat)
        assert heartbeat.durable_seq == start.chain.seq == 0
        assert heartbeat.record_hash == heartbeat.chain.prev
        assert heartbeat.certificate == parts.instance.certificate_envelope

    play(script, directory)


def test_a_heartbeat_that_finds_no_disk_is_said_and_counted_again(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        parts.tally.turned_away("too_slow", "tcp")
        world.disk.faults = Faults(sync_error_at=world.disk.syncs + 1)
        await parts.upkeep.heartbeat(None)
        assert parts.spool.failed.is_set()
        await parts.upkeep.heartbeat(None)

    world = play(script, directory)
    lost = world.lines("record_lost")
    assert [(line["kind"], line["code"]) for line in lost] == [("heartbeat", "disk_failed")] * 2


def heads(world: World) -> list[tuple[object, ...]]:
    return world.rows("records", "SELECT durable_seq, acked_seq FROM chain_head")


def test_the_store_hears_where_the_chain_stands_every_minute_once_certified(
    directory: Path,
) -> None:
    async def script(world: World, parts: Parts) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.upkeep.run_chain_heads)
            await elapse(300)
            assert heads(world) == []
            world.cut_off(cut_off=False)
            await parts.instance.certified.wait()
            await elapse(1)
            assert heads(world) == [(-1, -1)], "before the first record"
            await write_start(parts)
            await elapse(61)
            assert heads(world) == [(0, 0)]
            tasks.cancel_scope.cancel()

    play(script, directory, central=False)


def test_before_the_first_record_the_head_is_the_hash_of_the_key(directory: Path) -> None:
    posted: list[bytes] = []

    class Store:
        async def call(
            self, method: str, path: str, *, body: bytes = b"", **_: object
        ) -> ServiceAnswer:
            posted.append(body)
            return ServiceAnswer(200, {}, b"")

    async def script(world: World, parts: Parts) -> None:
        parts.upkeep._store = Store()
        # Sealed, and on its way to the disk: not yet where the chain stands.
        parts.instance.sealer.seal(_draft(parts))
        await parts.upkeep.post_chain_head()
        envelope = seal.parse_envelope(posted[0])
        head = msgspec.json.decode(seal.unbase64(envelope.payload, "x"))
        assert head["durable_seq"] == -1
        assert head["record_hash"] == seal.sha256_text(parts.instance.signer.public)

    play(script, directory)


def _draft(parts: Parts) -> record.Record:
    return journal.seal(parts.scribe, parts.instance.started_us, parts.tally.counters())


def test_a_store_that_is_away_or_refuses_is_a_line_in_the_log(directory: Path) -> None:
    class Away:
        async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
            raise ServiceUnreachable("tls", "no")

    class Refusing:
        async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
            return ServiceAnswer(503, {}, b"")

    async def script(world: World, parts: Parts) -> None:
        for store in (Away(), Refusing()):
            parts.upkeep._store = store
            await parts.upkeep.post_chain_head()

    world = play(script, directory)
    away, refused = world.lines("chain_head_failed")
    assert (away["reason"], refused["status"]) == ("tls", 503)
