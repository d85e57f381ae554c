"""A store and its witnesses: what they cosign is checked, kept and given out; nothing waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from central.config import WitnessSettings
from central.record_store.cosignatures import met_size
from central.record_store.witnesses import Witnesses, Witnessing
from gatepost.cli import main
from gateway import checkpoint, logproof, note
from gateway.errors import ConfigInvalid
from gateway.evidence import verify_export
from gateway.logproof import Entry, LeafType
from gateway.note import Note, NoteKey
from gateway.ports import ServiceAnswer
from gateway.roots import RoleKeys
from gateway.seal import Signer
from tests.unit.central.deployment import SEEDS, Daemon, Deployment
from tests.unit.central.watched import BASE, ORIGIN, Watched, only_log, opened

LOG_KEYS = RoleKeys({Signer(SEEDS["log"]).kid: Signer(SEEDS["log"]).public}, 1)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with Watched(tmp_path) as made:
        yield made


@pytest.fixture
def daemon(watched: Watched) -> Daemon:
    return watched.daemon()


def _states(told: Witnessing) -> dict[str, str]:
    return {one.name: one.state for one in told.witnesses}


def test_before_the_first_leaf_there_is_nothing_to_cosign(watched: Watched) -> None:
    async def work(made: Witnesses) -> None:
        await made.round()

    with pytest.raises(AssertionError):  # there is no log to tell of, either
        watched.run(work)
    assert [one.calls for one in watched.houses.values()] == [0, 0, 0]


def test_every_witness_cosigns_what_grew_and_is_asked_no_more(
    watched: Watched, daemon: Daemon
) -> None:
    daemon.ship(daemon.start(), daemon.decision())
    told = watched.round()
    assert (told.origin, told.size, told.quorum_size) == (ORIGIN, 3, 3)
    assert [(one.state, one.cosigned_size) for one in told.witnesses] == [("good", 3)] * 3
    found, names = watched.checkpoint()
    assert (found.size, names) == (3, {"a", "b", "c"})
    watched.round()
    assert [one.calls for one in watched.houses.values()] == [1, 1, 1]
    daemon.ship(daemon.decision())
    assert watched.round().quorum_size == 4
    assert watched.checkpoint()[0].size == 4


def test_the_store_tells_how_far_each_witness_is(watched: Watched, daemon: Daemon) -> None:
    daemon.ship(daemon.start())
    watched.round()
    daemon.ship(daemon.decision())
    told = watched.told()
    assert (told.size, told.quorum_size) == (3, 2)
    assert _states(told) == {"a": "behind", "b": "behind", "c": "behind"}
    assert {one.cosigned for one in told.witnesses} == {"2026-11-23T18:00:00.000000Z"}
    assert [one.key for one in told.witnesses] == [
        house.key.verifier_key() for house in watched.houses.values()
    ]
    http = watched.deployment.http
    assert http.get(f"{BASE}/witnesses").status_code == 401
    greta = watched.deployment.as_person("greta")
    assert http.get(f"{BASE}/witnesses", headers=greta).status_code == 404
    other = BASE.removesuffix("1") + "2/witnesses"
    audrey = watched.deployment.as_person("audrey")
    assert http.get(other, headers=audrey).status_code == 404


def test_what_is_given_out_has_the_quorum_also_when_witnesses_are_gone(
    watched: Watched, daemon: Daemon
) -> None:
    start = daemon.start()
    daemon.ship(start)
    watched.houses["c"].dies()
    told = watched.round()
    assert (told.quorum_size, _states(told)["c"]) == (2, "unreachable")
    watched.houses["b"].dies()
    later = daemon.decision()
    daemon.ship(later)
    told = watched.round()
    assert (told.size, told.quorum_size) == (3, 2)
    assert [(c.size, n) for c, n in [watched.checkpoint()]] == [(2, {"a", "b"})]
    assert [(c.size, n) for c, n in [watched.checkpoint(newest=1)]] == [(3, {"a"})]
    watched.houses["b"].lives()
    assert watched.round().quorum_size == 3
    assert [(c.size, n) for c, n in [watched.checkpoint()]] == [(3, {"a", "b"})]


def test_a_fault_with_one_witness_stops_no_other(
    watched: Watched, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.ship(daemon.start())
    watched.houses["a"].breaks()
    told = watched.round()
    assert told.quorum_size == 2
    assert _states(told) == {"a": "behind", "b": "good", "c": "good"}
    (event,) = (one for one in caplog.records if one.message == "witness_round_failed")
    assert event.exc_info is not None
    watched.houses["a"].lives()
    assert _states(watched.round())["a"] == "good"


def test_until_a_quorum_is_met_the_newest_is_given_out_as_it_is(
    watched: Watched, daemon: Daemon
) -> None:
    daemon.ship(daemon.start())
    assert [(c.size, n) for c, n in [watched.checkpoint()]] == [(2, set[str]())]
    for name in "bc":
        watched.houses[name].dies()
    assert watched.round().quorum_size is None
    assert [(c.size, n) for c, n in [watched.checkpoint()]] == [(2, {"a"})]
    answer = watched.deployment.http.get(
        f"{BASE}/checkpoint?newest=yes", headers=watched.deployment.as_person("audrey")
    )
    assert answer.status_code == 400


def test_a_proof_is_under_a_cosigned_checkpoint_where_one_covers_the_record(
    watched: Watched, daemon: Daemon
) -> None:
    start = daemon.start()
    daemon.ship(start)
    watched.round()
    later = daemon.decision()
    daemon.ship(later)
    sizes = []
    for sealed in (start, later):
        text = watched.deployment.http.get(
            f"/v1/records/{sealed.id}/proof", headers=watched.deployment.as_person("audrey")
        ).text
        raw = bytes.fromhex(sealed.hash.removeprefix("sha256:"))
        entry = Entry(LeafType.RECORD, watched.clock.now_us, raw)
        if sealed is later:
            entry = Entry(LeafType.RECORD, watched.deployment.clock.now_us, raw)
        proof = logproof.decode(text)
        found = logproof.check(proof, entry, ORIGIN, LOG_KEYS).checkpoint
        sizes.append((found.size, opened(proof.note.encode(), watched)[1]))
    assert sizes[0] == (2, {"a", "b", "c"})
    assert sizes[1][0] > 2
    assert sizes[1][1] == set()


def test_a_witness_that_never_answers_holds_up_nobody(watched: Watched, daemon: Daemon) -> None:
    watched.houses["a"].hangs()
    daemon.ship(daemon.start())

    async def work(made: Witnesses) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.round)
            while watched.houses["a"].calls == 0:
                await anyio.lowlevel.checkpoint()
            # While it hangs, a batch is taken in and acknowledged.
            answer = await anyio.to_thread.run_sync(lambda: daemon.ship(daemon.decision()))
            assert answer.checkpoint is not None
            assert checkpoint.read(note.parse(answer.checkpoint).text).size == 3

    told = watched.run(work, push_seconds=1)
    assert (told.quorum_size, told.witnesses[0].cosigned_size) == (2, 0)


def test_a_failing_witness_is_asked_less_and_less(watched: Watched, daemon: Daemon) -> None:
    watched.houses["a"].dies()
    daemon.ship(daemon.start())

    async def work(made: Witnesses) -> None:
        for _ in range(5):
            await made.round()

    told = watched.run(work)
    assert watched.houses["a"].calls == 1, "it is paused for twenty seconds"
    assert told.witnesses[0].failing_since == "2026-11-23T18:00:00.000000Z"
    assert watched.houses["b"].calls == 1

    async def grow(made: Witnesses) -> None:
        for seconds in (20, 40, 80, 160, 320, 600, 600):
            await made.round()
            pause = made._pauses["a", ""]
            left = pause.until - anyio.current_time()
            assert seconds - 5 < left <= seconds
            pause.until = anyio.current_time()

    watched.run(grow)


def test_a_pause_has_an_end(watched: Watched, daemon: Daemon) -> None:
    daemon.ship(daemon.start())
    watched.houses["a"].dies()

    async def work(made: Witnesses) -> None:
        await made.round()
        watched.houses["a"].lives()
        await made.round()
        assert watched.houses["a"].calls == 1
        for pause in made._pauses.values():
            pause.until = anyio.current_time()
        await made.round()
        assert made._pauses == {}

    assert _states(watched.run(work))["a"] == "good"


def test_a_crash_between_cosigning_and_keeping_is_made_good(
    watched: Watched, daemon: Daemon
) -> None:
    """The witness is ahead of what the store knows of it, not of what the store has."""
    daemon.ship(daemon.start())
    house = watched.houses["a"]

    async def cosign_and_lose(body: bytes) -> ServiceAnswer:
        await house.really("POST", "/add-checkpoint", {}, body)
        return ServiceAnswer(502, {}, b"")

    house.instead = cosign_and_lose
    assert _states(watched.round())["a"] == "unreachable"
    house.lives()
    assert _states(watched.round())["a"] == "good", "the same checkpoint once more"
    house.instead = cosign_and_lose
    daemon.ship(daemon.decision())
    watched.round()
    daemon.ship(daemon.decision())
    house.lives()
    assert watched.round().witnesses[0].cosigned_size == 4


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([(404, b"")], "refused"),
        ([(403, b"")], "refused"),
        ([(400, b"")], "refused"),
        ([(302, b"")], "refused"),
        ([(422, b"")], "contradicts"),
        ([(409, b"2\n"), (409, b"2\n")], "contradicts"),
        ([(409, b"0\n")], "contradicts"),
        ([(409, b"1\n"), (409, b"2\n")], "bad_answer"),
        ([(409, b"1\n"), (422, b"")], "contradicts"),
        ([(409, b"3\n")], "ahead"),
        ([(409, b"1\n"), (409, b"9\n")], "bad_answer"),
        ([(409, b"two\n")], "bad_answer"),
        ([(200, b"")], "bad_answer"),
        ([(200, b"\xff")], "bad_answer"),
        ([(500, b"")], "unreachable"),
        ([(503, b"")], "unreachable"),
        ([(429, b"")], "unreachable"),
    ],
)
def test_each_answer_that_is_no_cosignature_has_its_meaning(
    watched: Watched, daemon: Daemon, answers: list[tuple[int, bytes]], state: str
) -> None:
    daemon.ship(daemon.start())
    watched.houses["a"].says(*answers)
    told = watched.round()
    assert _states(told) == {"a": state, "b": "good", "c": "good"}
    assert watched.checkpoint()[1] == {"b", "c"}
    assert watched.houses["a"].calls == len(answers)


def test_no_cosignature_is_kept_that_is_not_valid(watched: Watched, daemon: Daemon) -> None:
    """By another key under the name, of another text, cut, and one of the other house."""
    daemon.ship(daemon.start())
    text = watched.checkpoint()[0].text()
    name = watched.houses["a"].key.name
    stranger = Signer(b"?" * 32)
    other = text.replace("\n2\n", "\n3\n")
    for line in (
        note.cosign(text, name, stranger, 1_700_000_000).line(),
        note.cosign(other, name, Signer(b"a".ljust(32, b"-")), 1_700_000_000).line(),
        note.cosign(text, name, Signer(b"a".ljust(32, b"-")), 1_700_000_000).line()[:-9] + "\n",
        note.cosign(text, name, Signer(b"b".ljust(32, b"-")), 1_700_000_000).line(),
    ):
        watched.houses["a"].says((200, line.encode()))
        assert _states(watched.round())["a"] == "bad_answer"
    assert watched.checkpoint()[1] == {"b", "c"}
    good = note.cosign(text, name, Signer(b"a".ljust(32, b"-")), 1_700_000_000).line()
    watched.houses["a"].says((200, good.encode()))
    assert _states(watched.round())["a"] == "good", "the same way, with the right one"


@pytest.mark.parametrize("time", [2**40, 2**63, 2**64 - 1])
def test_a_witness_whose_clock_is_beyond_all_times_stops_nobody_else(
    watched: Watched, daemon: Daemon, time: int
) -> None:
    daemon.ship(daemon.start())
    text, house = watched.checkpoint()[0].text(), watched.houses["a"]
    signer = Signer(b"a".ljust(32, b"-"))
    house.says((200, note.cosign(text, house.key.name, signer, time).line().encode()))
    assert _states(watched.round()) == {"a": "bad_answer", "b": "good", "c": "good"}


def test_a_history_that_was_rewritten_finds_no_witness(tmp_path: Path, watched: Watched) -> None:
    """Another database under the same key: as long, longer and shorter than what was cosigned."""
    first = watched.daemon()
    first.ship(first.start(), first.decision(), first.decision())
    assert watched.round().quorum_size == 4
    with Watched(tmp_path / "again", houses=watched.houses) as liar:
        second = Daemon(liar.deployment, 2).ready()
        second.ship(second.start())
        assert set(_states(liar.round()).values()) == {"ahead"}
        second.ship(second.decision(), second.decision())
        assert set(_states(liar.round()).values()) == {"contradicts"}
        second.ship(second.decision(), second.decision())
        told = liar.round()
        assert set(_states(told).values()) == {"contradicts"}
        assert (told.size, told.quorum_size) == (6, None)
        assert liar.checkpoint()[1] == set()
        kept = anyio.run(watched.houses["a"].witness.contradictions)
        sizes = {(_size(one.cosigned_note), _size(one.refused_note)) for one in kept}
        assert sizes == {(4, 4), (4, 6)}


def _size(text: str) -> int:
    return checkpoint.read(note.parse(text).text).size


def test_a_stricter_policy_looks_back_and_a_looser_one_gains(
    watched: Watched, daemon: Daemon
) -> None:
    daemon.ship(daemon.start())
    watched.round()
    watched.houses["a"].dies()
    daemon.ship(daemon.decision())
    assert watched.round().quorum_size == 3

    async def look_back(made: Witnesses) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.run)
            while (
                await made._database.read(lambda c: met_size(c, only_log(c), made.quorum)) is None
            ):
                pass
            tasks.cancel_scope.cancel()

    watched.require(3)
    watched.houses["a"].dies()
    assert watched.round().quorum_size is None, "nobody looked back yet"
    assert watched.run(look_back).quorum_size == 2
    watched.require(1)
    assert watched.run(look_back).quorum_size == 3


def test_a_fault_of_ours_ends_a_round_and_not_the_store(watched: Watched, daemon: Daemon) -> None:
    daemon.ship(daemon.start())
    house = watched.houses["a"]

    async def fault(_: bytes) -> ServiceAnswer:
        raise ZeroDivisionError

    house.instead = fault

    async def work(made: Witnesses) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.run)
            while house.calls < 2:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    watched.run(work, push_seconds=0.1)


def test_a_closed_log_is_left_and_the_next_is_cosigned(watched: Watched, daemon: Daemon) -> None:
    """Origins are logs of their own: a witness has to be told of the next one."""
    daemon.ship(daemon.start())
    watched.round()
    assert _opened_next(watched).origin.endswith("/2")
    told = watched.round()
    assert _states(told) == {"a": "refused", "b": "refused", "c": "refused"}
    assert told.quorum_size is None


def _opened_next(watched: Watched) -> Witnessing:
    async def reopen(made: Witnesses) -> None:
        origin = ORIGIN.removesuffix("1") + "2"

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE log SET origin = ?", (origin,))
            text = checkpoint.Checkpoint(origin, 2, bytes(32)).text()
            signed = Note(text, [note.sign(text, origin, Signer(SEEDS["log"]))])
            connection.execute(
                "INSERT INTO checkpoint SELECT log, ?, 2, 0, ? FROM log", (origin, signed.encode())
            )

        await made._database.write(work)

    return watched.run(reopen)


def test_the_verifier_wants_the_quorum_that_the_auditor_names(
    watched: Watched, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.ship(daemon.start(), daemon.end())
    watched.houses["c"].dies()
    bare = _verified(watched, tmp_path, 2)
    watched.round()
    cosigned = _verified(watched, tmp_path, 2)
    too_many = _verified(watched, tmp_path, 3)
    assert "0 of 3 witnesses cosigned the checkpoint" in bare
    assert "witnesses: " not in cosigned
    assert "seen by witness.example/a" in cosigned
    assert "2 of 3 witnesses cosigned the checkpoint" in too_many


def test_an_export_under_a_quorum_holds_no_open_chain_of_the_store(
    watched: Watched, daemon: Daemon
) -> None:
    """It is cut at what was cosigned, so the seal of the export itself is not in it."""
    daemon.ship(daemon.start(), daemon.end())
    watched.deployment.get("/v1/instances")
    watched.rest()
    assert watched.round().quorum_size == 7
    export = watched.deployment.http.get(
        "/v1/exports?complete=1", headers=watched.deployment.as_person("audrey")
    )
    report = verify_export(
        export.content.splitlines(keepends=True), str(watched.deployment.config.root_fingerprint)
    )
    assert (report.verdict("tail").state, report.exit_code) == ("true", 0)
    states = [one["state"] for one in watched.deployment.get("/v1/instances")]
    assert sorted(states) == ["open", "sealed", "sealed", "sealed"]


def _verified(watched: Watched, directory: Path, quorum: int) -> str:
    export = watched.deployment.http.get(
        "/v1/exports?complete=1", headers=watched.deployment.as_person("audrey")
    )
    path = directory / "export.ndjson"
    path.write_bytes(export.content)
    keys = [f"--witness={house.key.verifier_key()}" for house in watched.houses.values()]
    root = str(watched.deployment.config.root_fingerprint)
    ended = CliRunner().invoke(
        main, ["verify", str(path), "--root", root, *keys, f"--quorum={quorum}"]
    )
    assert ended.exit_code in (0, 3), ended.output
    return " ".join(ended.output.split())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("quorum nobody\n", "line 1"),
        ("witness a {key}\nquorum a\n", "no URL"),
        ("witness a {key} ftp://witness.example/\nquorum a\n", "http"),
        ("witness a {key} https://witness.example/?x=1\nquorum a\n", "scheme, host and port"),
        ("witness a {key} https://user@witness.example/\nquorum a\n", "scheme, host and port"),
        ("witness a {key} https://[::1/\nquorum a\n", "witness a"),
        ("witness a {key} https://witness.example/é\nquorum a\n", "ASCII"),
    ],
)
def test_a_policy_that_cannot_be_used_stops_the_start(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "witnesses.policy"
    path.write_text(text.format(key=NoteKey("w", Signer(b"w" * 32).public, True).verifier_key()))
    with pytest.raises(ConfigInvalid, match=word):
        Deployment(tmp_path, ["records"], witnesses=WitnessSettings(policy=str(path)))


def test_a_policy_that_is_not_there_and_times_that_cannot_be_stop_the_start(tmp_path: Path) -> None:
    for settings, word in (
        (WitnessSettings(policy=str(tmp_path / "absent")), "No such file"),
        (WitnessSettings(answer_seconds=11), "answer_seconds"),
        (WitnessSettings(answer_seconds=0), "answer_seconds"),
    ):
        with pytest.raises(ConfigInvalid, match=word):
            Deployment(tmp_path, ["records"], witnesses=settings)
