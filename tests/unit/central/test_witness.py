"""The witness over HTTP: every status of C2SP tlog-witness, and what it keeps of a lying log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient

from central.witness import app as witness_app
from central.witness import config as configuration
from central.witness import service
from central.witness.config import WatchedLog, WitnessConfig
from central.witness.service import Contradiction
from gateway import checkpoint, note, witness
from gateway.errors import ConfigInvalid
from gateway.note import Note, NoteKey
from gateway.witness import AddCheckpoint
from tests.unit.central.deployment import HandClock, write_key
from tests.unit.gateway.test_witness import HONEST, KEY, LOG, ORIGIN, REWRITTEN, SECOND, STRANGER

VKEY = NoteKey(ORIGIN, LOG.public).verifier_key()


def configured(directory: Path, *logs: WatchedLog) -> WitnessConfig:
    directory.mkdir(parents=True, exist_ok=True)
    return WitnessConfig(
        name=KEY.name,
        key=write_key(directory / "witness.key", bytes([3]) * 32),
        data_directory=str(directory / "data"),
        logs=list(logs) or [WatchedLog(keys=[VKEY])],
    )


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def http(tmp_path: Path, clock: HandClock) -> Iterator[TestClient[Litestar]]:
    app, _ = witness_app.build(configured(tmp_path), clock=clock)
    with TestClient(app) as client:
        yield client


def _post(http: TestClient[Litestar], request: AddCheckpoint | bytes) -> httpx.Response:
    body = request if isinstance(request, bytes) else request.encode()
    return http.post("/add-checkpoint", content=body)


def _cosigned(http: TestClient[Litestar], old: int, size: int) -> int:
    answer = _post(http, HONEST.request(old, size))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    text = HONEST.checkpoint(size).text()
    return witness.cosignature(text, answer.content, KEY)[1]


def _contradictions(http: TestClient[Litestar]) -> list[Contradiction]:
    body = http.get("/contradictions").content
    return msgspec.json.decode(body, type=list[Contradiction])


def test_each_checkpoint_that_follows_is_cosigned_with_the_time(
    http: TestClient[Litestar], clock: HandClock
) -> None:
    for old, size in ((0, 3), (3, 3), (3, 8), (8, 20)):
        clock.now_us += 1_000_000
        assert _cosigned(http, old, size) == clock.now_us // 1_000_000
    assert _contradictions(http) == []


def test_another_old_size_is_answered_with_the_last(http: TestClient[Litestar]) -> None:
    _cosigned(http, 0, 7)
    for old in (0, 6, 8):
        answer = _post(http, HONEST.request(old, 12))
        assert (answer.status_code, answer.content) == (409, b"7\n")
        assert answer.headers["content-type"] == "text/x.tlog.size"
    assert _contradictions(http) == []


def test_a_rewritten_history_is_refused_and_both_notes_are_kept(
    http: TestClient[Litestar],
) -> None:
    _cosigned(http, 0, 7)
    same, grown = REWRITTEN.request(7, 7), REWRITTEN.request(7, 12)
    assert _post(http, same).status_code == 409
    assert _post(http, grown).status_code == 422
    assert _post(http, grown).status_code == 422
    kept = _contradictions(http)
    honest = checkpoint.write(HONEST.checkpoint(7), [LOG]).encode()
    assert {one.cosigned_note for one in kept} == {honest}
    assert [one.refused_note for one in kept if one.proof] == [grown.note.encode()]
    assert [one.refused_note for one in kept if not one.proof] == [same.note.encode()]
    assert len(kept) == 2
    _cosigned(http, 7, 12)


def test_what_proves_nothing_against_a_log_is_not_kept(http: TestClient[Litestar]) -> None:
    _cosigned(http, 0, 7)
    request = HONEST.request(7, 12)
    assert _post(http, AddCheckpoint(7, request.proof[1:], request.note)).status_code == 422
    forged = AddCheckpoint(7, request.proof, REWRITTEN.request(7, 12, STRANGER).note)
    assert _post(http, forged).status_code == 403
    assert _contradictions(http) == []


@pytest.mark.parametrize(("proof", "kept"), [("", 0), ("AA==", 1)])
def test_false_proofs_of_anybody_take_no_room_from_two_roots_of_one_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, proof: str, kept: int
) -> None:
    app, made = witness_app.build(configured(tmp_path))
    with TestClient(app) as http:
        _cosigned(http, 0, 7)
        with sqlite3.connect(made.database.path) as connection:
            connection.executemany(
                "INSERT INTO contradiction VALUES (?,?,0,'','','',?)",
                [
                    (ORIGIN, bytes([at % 256, at // 256]), proof)
                    for at in range(service.CONTRADICTIONS_MAX)
                ],
            )
        connection.close()
        assert _post(http, REWRITTEN.request(7, 7)).status_code == 409
        assert len(_contradictions(http)) == service.CONTRADICTIONS_MAX + kept
        assert "log_contradicts" in [one.msg for one in caplog.records]


def test_a_false_proof_is_no_alarm_against_the_log(
    http: TestClient[Litestar], caplog: pytest.LogCaptureFixture
) -> None:
    _cosigned(http, 0, 7)
    honest = HONEST.request(7, 12)
    false = AddCheckpoint(7, [bytes(32) for _ in honest.proof], honest.note)
    assert _post(http, false).status_code == 422
    assert [one.msg for one in caplog.records if one.msg.startswith("log_")] == ["log_not_proved"]
    _cosigned(http, 7, 12)


def test_an_unknown_log_a_stranger_and_a_shrunk_log_have_their_statuses(
    http: TestClient[Litestar],
) -> None:
    text = HONEST.checkpoint(3).text().replace("acme", "globex")
    other = Note(text, [note.sign(text, text.partition("\n")[0], LOG)])
    assert _post(http, AddCheckpoint(0, [], other)).status_code == 404
    assert _post(http, HONEST.request(0, 3, SECOND)).status_code == 403
    assert _post(http, HONEST.request(9, 3)).status_code == 400
    assert http.get("/add-checkpoint").status_code == 405
    assert http.post("/other", content=b"").status_code == 404
    assert _post(http, b"old 0\n" * 8_000).status_code == 413


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=300) | st.text("old 0123456789\nAB+/=—", max_size=300))
def test_nothing_that_is_sent_breaks_it(http: TestClient[Litestar], body: bytes | str) -> None:
    answer = _post(http, body if isinstance(body, bytes) else body.encode())
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")


def test_of_two_that_race_from_one_size_only_one_is_cosigned(http: TestClient[Litestar]) -> None:
    """Were comparing and replacing apart, the log could be rolled back between them."""
    _cosigned(http, 0, 3)
    for old in range(3, 19):
        sizes = [old + 1, 20]
        with ThreadPoolExecutor(2) as threads:
            requests = [HONEST.request(old, size) for size in sizes]
            statuses = [one.status_code for one in threads.map(lambda r: _post(http, r), requests)]
        assert sorted(statuses) == [200, 409]
        if statuses[0] == 409:
            break


def test_what_was_cosigned_outlives_the_process(tmp_path: Path) -> None:
    for old, size in ((0, 3), (3, 9)):
        app, _ = witness_app.build(configured(tmp_path))
        with TestClient(app) as http:
            _cosigned(http, old, size)


def test_nothing_is_cosigned_that_could_not_be_kept(tmp_path: Path) -> None:
    app, made = witness_app.build(configured(tmp_path))
    with TestClient(app) as http:
        _cosigned(http, 0, 3)
        with sqlite3.connect(made.database.path) as connection:
            connection.execute(
                "CREATE TRIGGER full BEFORE UPDATE ON cosigned BEGIN"
                " SELECT raise(ABORT, 'no room'); END"
            )
        connection.close()
        answer = _post(http, HONEST.request(3, 9))
        assert (answer.status_code, "—" in answer.text) == (503, False)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"logs": [WatchedLog(keys=[])]}, "one name"),
        ({"logs": [WatchedLog(keys=[VKEY]), WatchedLog(keys=[VKEY])]}, "twice"),
        ({"logs": [WatchedLog(keys=[VKEY], threshold=2)]}, "threshold"),
        ({"logs": [WatchedLog(keys=[VKEY, VKEY], threshold=2)]}, "threshold"),
        ({"logs": [WatchedLog(keys=["nonsense"])]}, "verifier key"),
        ({"logs": [WatchedLog(keys=[KEY.verifier_key()])]}, "of a witness"),
        ({"name": "two words"}, "name"),
        ({"port": 70_000}, "port"),
        ({"key": "/absent.key"}, "absent.key"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    tmp_path: Path, changes: dict[str, object], word: str
) -> None:
    config = msgspec.structs.replace(configured(tmp_path), **changes)
    with pytest.raises(ConfigInvalid, match=word):
        witness_app.build(config)


def test_a_file_is_read_with_paths_from_its_own_directory(tmp_path: Path) -> None:
    write_key(tmp_path / "w.key", bytes([3]) * 32)
    path = tmp_path / "witness.toml"
    text = (
        f'name = "{KEY.name}"\nkey = "w.key"\ndata_directory = "d"\n[[logs]]\nkeys = ["{VKEY}"]\n'
    )
    path.write_text(text)
    loaded = configuration.load(str(path))
    assert (loaded.key, loaded.data_directory) == (str(tmp_path / "w.key"), str(tmp_path / "d"))
    assert [*loaded.watched()] == [ORIGIN]
    for broken in (text + "threshhold = 1\n", text.replace("name =", "nom ="), "logs = 3"):
        path.write_text(broken)
        with pytest.raises(ConfigInvalid, match=r"witness\.toml"):
            configuration.load(str(path))
    with pytest.raises(ConfigInvalid, match="No such file"):
        configuration.load(str(tmp_path / "absent.toml"))
