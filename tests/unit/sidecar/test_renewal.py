"""Renewal: a new key at two thirds of a certificate's life, whatever clocks and issuer do."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import record
from gateway.documents import KeyCert
from gateway.timestamp import time_micros
from sidecar import journal
from sidecar.parts import Parts
from tests.sim.loop import elapse
from tests.unit.sidecar.enrolment_world import World, play, write_start

HOUR = 3_600
LIFE_SECONDS = 2 * HOUR
"""Shorter than in production, so that an outage is not thousands of attempts."""
RENEWAL_SECONDS = LIFE_SECONDS * 2 // 3


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files of the central services."""
    return tmp_path_factory.mktemp("central")


def test_at_two_thirds_a_new_key_takes_over_and_the_chain_says_so(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        old, instance = parts.instance.signer.kid, parts.instance.id
        await elapse(RENEWAL_SECONDS - 60)
        assert len(world.issued()) == 1
        await elapse(120)
        first, second = world.issued()
        assert (first.kid, second.kid) == (old, parts.instance.signer.kid)
        assert old != second.kid
        assert second.instance == parts.instance.id == instance
        draft_of_next = await parts.write_own(_heartbeat(parts))
        start, rotate, heartbeat = world.records(parts)
        assert isinstance(rotate, record.Rotate)
        assert (start.chain.kid, rotate.chain.kid) == (old, old), "the last under the old key"
        assert rotate.next_kid == second.kid
        assert rotate.next_certificate == parts.instance.certificate_envelope
        assert heartbeat.chain.kid == second.kid
        assert [one.chain.seq for one in (start, rotate, heartbeat)] == [0, 1, 2]
        assert draft_of_next.seq == 2

    world = play(script, directory, certificate_seconds=LIFE_SECONDS)
    assert len(world.lines("certificate_rotated")) == 1


def _heartbeat(parts: Parts) -> record.Heartbeat:
    return journal.heartbeat(
        parts.scribe,
        parts.outside.clock.wall_us(),
        durable_seq=1,
        record_hash="sha256:" + "0" * 64,
        acked_seq=-1,
        counters=parts.tally.counters(),
        log_seen=None,
        certificate=None,
    )


@pytest.mark.parametrize("hours", [-100, -3, 20, 100])
def test_a_clock_that_is_wrong_does_not_change_when_a_key_is_renewed(
    directory: Path, hours: int
) -> None:
    async def script(world: World, parts: Parts) -> None:
        world.clock.step(hours * HOUR)
        world.cut_off(cut_off=False)
        await parts.instance.certified.wait()
        await elapse(RENEWAL_SECONDS - 60)
        assert len(world.issued()) == 1
        await elapse(120)
        assert len(world.issued()) >= 2
        await elapse(600)
        assert len(world.issued()) <= 3, "and it does not ask every second from then on"

    play(script, directory, certificate_seconds=LIFE_SECONDS, central=False)


def test_a_machine_that_slept_renews_when_it_wakes(directory: Path) -> None:
    """The loop's clock stands still meanwhile; the wall clock does not."""

    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await elapse(600)
        world.clock.step(RENEWAL_SECONDS)
        await elapse(120)
        assert len(world.issued()) == 2

    play(script, directory, certificate_seconds=LIFE_SECONDS)


def test_a_renewal_that_fails_is_tried_until_it_works_with_one_key(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        old = parts.instance.signer.kid
        world.cut_off(cut_off=True)
        await elapse(RENEWAL_SECONDS + 1_200)
        assert parts.instance.signer.kid == old
        assert parts.instance.may_ship(), "the old certificate holds until its end"
        assert parts.enroller.last_error
        world.cut_off(cut_off=False)
        await elapse(120)
        assert len(world.issued()) == 2
        assert parts.instance.signer.kid != old
        assert parts.enroller.last_error is None

    play(script, directory, certificate_seconds=LIFE_SECONDS)


def test_past_the_end_the_old_key_is_certified_again_with_touching_windows(
    directory: Path,
) -> None:
    """What was signed while the issuer was away verifies once it is back."""

    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        await elapse(RENEWAL_SECONDS - 600)
        world.cut_off(cut_off=True)
        await elapse(LIFE_SECONDS - RENEWAL_SECONDS + 600 + 300)
        uncertified = parts.instance.uncertified_seconds(world.clock.wall_us())
        assert 250 < uncertified < 350
        assert not parts.instance.may_ship()
        await parts.write_own(_heartbeat(parts))
        world.cut_off(cut_off=False)
        await elapse(120)
        first, again, following = world.issued()
        assert first.kid == again.kid != following.kid
        assert again.not_before == first.not_after
        assert parts.instance.signer.kid == following.kid
        written = world.records(parts)
        kinds = [one.kind for one in written]
        assert kinds == ["start", "heartbeat", "heartbeat", "rotate"]
        covered = [
            any(_covers(one, written[1]) for one in (first, again)),
            isinstance(written[2], record.Heartbeat) and written[2].certificate is not None,
        ]
        assert covered == [True, True]

    play(script, directory, certificate_seconds=LIFE_SECONDS)


def test_an_issuer_that_was_away_for_longer_than_a_certificate_lives_leaves_no_gap(
    directory: Path,
) -> None:
    """The bound is on how long a daemon decides meanwhile, not on how late the issuer is back."""

    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        await elapse(600)
        world.cut_off(cut_off=True)
        await elapse(LIFE_SECONDS - 600 + 60)
        assert parts.key_usable()
        await parts.write_own(_heartbeat(parts))
        await elapse(LIFE_SECONDS + 600)
        assert not parts.key_usable(), "it decides no longer"
        world.cut_off(cut_off=False)
        await elapse(120)
        assert parts.key_usable()
        first, again, following = world.issued()
        assert first.kid == again.kid != following.kid
        assert again.not_before == first.not_after
        written = world.records(parts)
        assert [one.kind for one in written] == ["start", "heartbeat", "heartbeat", "rotate"]
        assert all(any(_covers(one, done) for one in (first, again)) for done in written)
        late = parts.outside.clock.wall_us() - time_micros(first.not_after)
        assert late > LIFE_SECONDS * 1_000_000
        await elapse(60)
        assert parts.spool.status().backlog_records == 0, "and all of it is shipped"
        # The store took each by a certificate of its time.
        rows = world.rows("records", "SELECT count(*) FROM record WHERE instance IS NOT NULL")
        assert rows[0][0] >= len(written)

    play(script, directory, certificate_seconds=LIFE_SECONDS)


def _covers(certificate: KeyCert, draft: record.Record) -> bool:
    """Whether ``draft`` was written in the window, by the time in its id."""
    written_us = int(draft.id.replace("-", "")[:12], 16) * 1_000
    begin, end = time_micros(certificate.not_before), time_micros(certificate.not_after)
    return begin <= written_us < end
