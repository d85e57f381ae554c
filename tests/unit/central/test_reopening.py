"""A log that lost leaves is never continued: it is closed, and the next one says so."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from central.config import CentralConfig
from central.errors import Refused
from central.record_store import reopening
from central.record_store.maintenance import Maintenance
from gatepost.cli import main
from gateway import checkpoint, logproof
from gateway.checkpoint import Checkpoint
from gateway.documents import LogStatement
from gateway.errors import ConfigInvalid, DocumentInvalid
from gateway.logproof import Entry, LeafType
from tests.unit.central.deployment import (
    REGION,
    REVOCATION_KEY,
    TENANT,
    Daemon,
    Deployment,
    write_key,
)
from tests.unit.central.test_log import KEYS, ORIGIN, prove, ship_seeing

NEXT = f"localhost/log/{TENANT}/{REGION}/2"


@pytest.fixture
def revocation_key(tmp_path: Path) -> str:
    return write_key(tmp_path / "revocation.key", b"v" * 32)


def _reopen(config: CentralConfig, *keys: str, last: str | None = None) -> None:
    with Maintenance(config) as store:
        store.reopen(TENANT, REGION, "the volume was lost", last, keys)


def _copy(source: Path, target: Path) -> None:
    """The database as a backup of it would be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(source) as found, sqlite3.connect(target) as copy:
        found.backup(copy)
    found.close()
    copy.close()


def _restored(deployment: Deployment, daemon: Daemon) -> tuple[Deployment, Checkpoint]:
    """A store put back to before its newest two records, and the checkpoint that covered them."""
    database, kept = deployment.directory / "data/records.db", deployment.directory / "backup.db"
    _copy(database, kept)
    lost = [daemon.decision(), daemon.decision()]
    seen = prove(daemon.ship(*lost), *lost).opened.checkpoint
    deployment.http.__exit__(None, None, None)
    for name in ("records.db", "records.db-wal", "records.db-shm"):
        (deployment.directory / "data" / name).unlink(missing_ok=True)
    _copy(kept, database)
    again = Deployment(deployment.directory)
    daemon.deployment = again
    return again, seen


def test_a_restored_store_is_not_believed_until_its_log_is_reopened(
    deployment: Deployment, daemon: Daemon, revocation_key: str
) -> None:
    daemon.ship(daemon.start(), daemon.decision())
    again, seen = _restored(deployment, daemon)
    with again.http:
        following = [daemon.decision()]
        with pytest.raises(DocumentInvalid) as stale:
            prove(ship_seeing(daemon, seen.seen(), *following), *following, seen=seen)
        assert stale.value.reason == "stale"
        following += [daemon.decision(), daemon.decision(), daemon.decision()]
        with pytest.raises(DocumentInvalid) as rewritten:
            prove(ship_seeing(daemon, seen.seen(), *following), *following, seen=seen)
        assert rewritten.value.reason == "history"
        _reopen(again.config, revocation_key)
        answer = ship_seeing(daemon, seen.seen(), *following)
        proven = prove(answer, *following, seen=seen)
        assert proven.seqs == {one.seq for one in following}
        assert proven.opened.checkpoint.origin == NEXT
        (statement,) = proven.statements
        assert (statement.closed_origin, statement.reason) == (ORIGIN, "the volume was lost")
        later = [daemon.decision()]
        now = proven.opened.checkpoint
        assert prove(ship_seeing(daemon, now.seen(), *later), *later, seen=now).statements == []


def test_what_was_not_lost_stays_where_it_is_and_proved(
    deployment: Deployment, daemon: Daemon, revocation_key: str
) -> None:
    start = daemon.start()
    daemon.ship(start)
    _reopen(deployment.config, revocation_key)
    text = deployment.http.get(
        f"/v1/records/{start.id}/proof", headers=deployment.as_person("audrey")
    ).content
    raw = bytes.fromhex(start.hash.removeprefix("sha256:"))
    entry = Entry(LeafType.RECORD, deployment.clock.now_us, raw)
    opened = logproof.check(logproof.decode(text), entry, NEXT, KEYS.log)
    own = 4  # The store's certificate, its start, the records of the reopening and of this look.
    assert opened.checkpoint.size == 3 + own, "certificate, record, and the statement itself"


def test_only_both_roles_together_can_reopen(
    deployment: Deployment, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.ship(daemon.start())
    stranger = write_key(tmp_path / "stranger.key", b"s" * 32)
    for keys in ((), (stranger,)):
        with pytest.raises(Refused, match="signature"):
            _reopen(deployment.config, *keys)
    body = deployment.http.get(
        f"/log/{TENANT}/{REGION}/1/checkpoint", headers=deployment.as_person("audrey")
    )
    assert body.status_code == 200, "nothing changed"


def test_the_closed_log_is_no_longer_signed(
    deployment: Deployment, daemon: Daemon, revocation_key: str
) -> None:
    daemon.ship(daemon.start())
    _reopen(deployment.config, revocation_key)
    daemon.ship(daemon.decision())
    connection = sqlite3.connect(f"{deployment.directory}/data/records.db")
    sizes = connection.execute(
        "SELECT origin, max(size) FROM checkpoint GROUP BY origin ORDER BY origin"
    ).fetchall()
    connection.close()
    assert sizes == [(ORIGIN, 2), (NEXT, 4)]


def _reopenings(made: Deployment) -> list[dict[str, object]]:
    """The acts of reopening in the log, without a look that would write them there."""
    database = made.directory / "data/records.db"
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT payload FROM record WHERE operation = 'log.reopen' ORDER BY leaf_index"
        ).fetchall()
    connection.close()
    return [msgspec.json.decode(payload) for (payload,) in rows]


def test_a_reopening_beside_the_service_is_an_act_in_its_log_from_its_next_start(
    deployment: Deployment, daemon: Daemon, revocation_key: str
) -> None:
    daemon.ship(daemon.start())
    with Maintenance(deployment.config) as store:
        store.reopen(TENANT, REGION, "drill", None, [revocation_key], "olaf")
    assert _reopenings(deployment) == [], "the command has no chain to write in"
    deployment.http.__exit__(None, None, None)
    with Deployment(deployment.directory).http:
        (act,) = _reopenings(deployment)
        assert (act["who"], act["what"], act["why"]) == ("olaf", "log.reopen", "drill")
        assert act["parameters"] == {"closed_origin": ORIGIN, "opened_origin": NEXT}
    with Deployment(deployment.directory).http:
        assert len(_reopenings(deployment)) == 1, "once"


def test_a_service_that_runs_writes_down_a_reopening_with_its_next_act(
    deployment: Deployment, daemon: Daemon, revocation_key: str
) -> None:
    daemon.ship(daemon.start())
    for _ in range(2):
        _reopen(deployment.config, revocation_key)
    items = deployment.get("/v1/records", kind="admin", order="oldest")["items"]
    assert [one["operation"] for one in items] == ["log.reopen", "log.reopen", "records.page"]
    opened = [one["parameters"] for one in _reopenings(deployment)]
    assert [str(one) for one in opened] == sorted(str(one) for one in opened), "in their order"
    assert all("at the store's machine" in str(one["who"]) for one in _reopenings(deployment))


def test_a_reopening_that_fails_leaves_no_act(
    deployment: Deployment, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.ship(daemon.start())
    with pytest.raises(Refused, match="signature"):
        _reopen(deployment.config)
    assert deployment.get("/v1/records", operation="log.reopen")["items"] == []


def _command(config: CentralConfig, directory: Path, *options: str) -> Result:
    path = directory / "central.toml"
    path.write_text(f"""
data_directory = "{config.data_directory}"
roots_directory = "{config.roots_directory}"
root_fingerprint = "{config.root_fingerprint}"

[[tenants]]
name = "{TENANT}"
regions = ["{REGION}"]

[keys]
log = "{config.keys.log}"
""")
    named = ("--tenant", TENANT, "--region", REGION, "--reason", "drill")
    command = ["store", "reopen-log", "--config", str(path), *named, *options]
    return CliRunner().invoke(main, command)


def test_the_command_says_what_it_closed_and_opened(
    deployment: Deployment, daemon: Daemon, revocation_key: str, tmp_path: Path
) -> None:
    daemon.ship(daemon.start())
    newest = deployment.http.get(
        f"/log/{TENANT}/{REGION}/1/checkpoint", headers=deployment.as_person("audrey")
    ).text
    kept = tmp_path / "log-seen.json"
    kept.write_bytes(msgspec.json.encode({"note": newest}))
    ended = _command(
        deployment.config,
        tmp_path,
        *("--revocation-key", revocation_key, "--last-checkpoint", str(kept), "--json"),
    )
    assert ended.exit_code == 0, ended.output
    told = msgspec.json.decode(ended.output)
    assert (told["closed_origin"], told["opened_origin"]) == (ORIGIN, NEXT)
    assert told["last_checkpoint"] == newest
    again = _command(deployment.config, tmp_path, "--revocation-key", revocation_key)
    assert (again.exit_code, f"closed {NEXT}" in again.output) == (0, True)


def test_a_checkpoint_of_another_log_is_refused(
    deployment: Deployment, daemon: Daemon, revocation_key: str, tmp_path: Path
) -> None:
    daemon.ship(daemon.start())
    other = Checkpoint("localhost/log/globex/eu-west-1/1", 0, bytes(32))
    path = tmp_path / "other.note"
    path.write_text(checkpoint.write(other, [REVOCATION_KEY]).encode())
    options = ("--revocation-key", revocation_key, "--last-checkpoint", str(path))
    ended = _command(deployment.config, tmp_path, *options)
    assert (ended.exit_code, "not of" in ended.output) == (2, True)
    path.write_text("not a note")
    ended = _command(deployment.config, tmp_path, *options)
    assert (ended.exit_code, "Traceback" in ended.output) == (2, False)


def test_a_backup_from_before_the_first_leaf_is_reopened_too(
    deployment: Deployment, daemon: Daemon, revocation_key: str
) -> None:
    """The log of globex has no leaf yet; daemons may have seen more of it."""
    for region in ("eu-west-1", "us-east-1"):
        with Maintenance(deployment.config) as store:
            statement = store.reopen("globex", region, "drill", None, [revocation_key])
        assert statement.opened_origin.endswith(f"/globex/{region}/2")
        assert statement.last_checkpoint == ""
    with Maintenance(deployment.config) as store, pytest.raises(ConfigInvalid, match="mars"):
        store.reopen("globex", "mars", "drill", None, [revocation_key])


def test_a_key_that_has_both_roles_signs_once() -> None:
    """A development root may give both roles to one key."""
    statement = LogStatement(ORIGIN, "", NEXT, "drill", "2026-11-28T00:00:00.000000Z")
    envelope = reopening.sign(statement, [REVOCATION_KEY, REVOCATION_KEY])
    assert [one.keyid for one in envelope.signatures] == [REVOCATION_KEY.kid]


def test_a_statement_that_others_sign_takes_effect_when_it_is_installed(
    deployment: Deployment, daemon: Daemon, revocation_key: str, tmp_path: Path
) -> None:
    daemon.ship(daemon.start())
    draft, config = tmp_path / "statement.json", str(tmp_path / "central.toml")
    assert _command(deployment.config, tmp_path, "--draft", str(draft)).exit_code == 0
    install = ["store", "install-statement", str(draft), "--config", config]
    early = CliRunner().invoke(main, install)
    assert (early.exit_code, "signature" in early.output) == (2, True)
    roots = deployment.config.roots_directory
    signing = ["keys", "sign", str(draft), "--root", roots, "--key", revocation_key, "--yes"]
    assert "install-statement" in CliRunner().invoke(main, signing).output
    ended = CliRunner().invoke(main, install)
    assert (ended.exit_code, f"opened {NEXT}" in ended.output) == (0, True)
    again = CliRunner().invoke(main, install)
    assert (again.exit_code, f"the log is {NEXT} now" in again.output) == (2, True)
