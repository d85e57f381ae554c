"""A copy of a running store is of one moment, and nothing in it can change unnoticed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from central.record_store import backup
from central.record_store.backup import Manifest, back_up
from central.record_store.maintenance import Maintenance
from central.record_store.schema import VERSION
from gatepost.cli import main
from gateway import checkpoint, note, seal
from tests.unit.central.deployment import (
    NOW_US,
    REGION,
    TENANT,
    Daemon,
    Deployment,
    root_document,
    write_key,
)
from tests.unit.central.test_revocations import post, revocation

CALLS = 270
"""More than a tile holds."""
MEGABYTE = 1 << 20


class Busy(Deployment):
    """A store with a leaf of every type, in more than one tile and under two origins."""

    def fill(self) -> None:
        daemon, twin = Daemon(self).ready(), Daemon(self, 2).ready()
        daemon.ship(daemon.start(), *(daemon.decision() for _ in range(CALLS)))
        twin.ship(twin.start(), twin.decision())
        twin.sealer = seal.Sealer(twin.signer, twin.instance)
        twin.ship(twin.start(), twin.decision(trace=None))
        assert post(self, revocation(twin.signer.kid))[0] == 201
        key = write_key(self.directory / "revocation.key", b"v" * 32)
        with Maintenance(self.config) as store:
            store.reopen(TENANT, REGION, "drill", None, [key])
        daemon.ship(daemon.decision())
        self.daemon = daemon

    @property
    def database(self) -> Path:
        return self.directory / "data" / "records.db"

    def configured(self) -> str:
        path = self.directory / "central.toml"
        path.write_text(f"""
data_directory = "{self.config.data_directory}"
roots_directory = "{self.config.roots_directory}"

[[tenants]]
name = "{TENANT}"
regions = ["{REGION}"]
""")
        return str(path)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    made = Busy(tmp_path_factory.mktemp("busy"), ["issuer", "records"])
    with made.http:
        made.fill()
        yield made


def _store(*words: str) -> Result:
    return CliRunner().invoke(main, ["store", *words])


def _backed_up(busy: Busy, target: Path) -> Path:
    ended = _store("backup", str(target), "--config", busy.configured())
    assert ended.exit_code == 0, ended.output
    return target


def _change(directory: Path, statement: str) -> Path:
    """The database of a copy, changed by somebody; returned as a file without a manifest."""
    path = directory / "records.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(statement)
    connection.close()
    return path


def test_a_copy_of_a_running_store_is_whole_and_names_its_checkpoint(
    busy: Busy, tmp_path: Path
) -> None:
    copy = _backed_up(busy, tmp_path / "copy")
    roots = ("--roots", busy.config.roots_directory, "--root", root_document().digest)
    ended = _store("restore-check", str(copy), *roots)
    assert (ended.exit_code, "Everything is true.\n" in ended.output) == (0, True), ended.output
    newest = busy.http.get(
        f"/log/{TENANT}/{REGION}/2/checkpoint", headers=busy.as_person("audrey")
    ).text
    assert newest in ended.output
    manifest = backup.read_manifest(str(copy))
    (log,) = manifest.logs
    assert log.checkpoint == newest
    assert log.size == checkpoint.read(note.parse(newest).text).size > CALLS
    assert sorted(os.listdir(copy)) == ["manifest.json", "records.db"], "nothing beside it"
    assert {os.stat(copy / name).st_mode & 0o777 for name in os.listdir(copy)} == {0o600}


def test_a_check_without_roots_says_that_no_signature_was_looked_at(
    busy: Busy, tmp_path: Path
) -> None:
    ended = _store("restore-check", str(_backed_up(busy, tmp_path / "copy")))
    assert (ended.exit_code, "were not checked" in ended.output) == (0, True)
    logs = msgspec.json.decode(_store("restore-check", "--json", str(tmp_path / "copy")).stdout)
    assert [log["origin"] for log in logs] == [f"localhost/log/{TENANT}/{REGION}/2"]


def test_what_is_shipped_during_the_copy_is_not_in_it(tmp_path: Path) -> None:
    made = Busy(tmp_path, ["issuer", "records"])
    with made.http:
        made.fill()
        with sqlite3.connect(made.database) as connection:
            connection.execute("CREATE TABLE filler (bytes BLOB)")
            connection.execute("INSERT INTO filler VALUES (zeroblob(?))", (40 * MEGABYTE,))
        connection.close()
        steps: list[int] = []

        def copied(done: int, total: int) -> None:
            steps.append(done)
            made.daemon.ship(made.daemon.decision())

        before = _size(made.database)
        manifest = back_up(str(made.database), str(tmp_path / "copy"), NOW_US, copied)
        assert len(steps) > 3, "several steps"
        assert steps == sorted(set(steps)), "and none began anew"
        assert [log.size for log in manifest.logs] == [before]
        assert _size(made.database) == before + len(steps)
        assert _store("restore-check", str(tmp_path / "copy")).exit_code == 0


def _size(path: Path) -> int:
    connection = sqlite3.connect(path)
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    connection.close()
    return int(size)


LOST = "DELETE FROM leaf WHERE leaf_index = 40;"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE record SET payload = payload || ' ' WHERE seq = 7;", "are not bytes"),
        (
            "UPDATE record SET payload = CAST(replace(payload, 'c', 'd') AS BLOB) WHERE seq = 7;",
            "hash",
        ),
        ("UPDATE record SET signature = zeroblob(64) WHERE seq = 7;", "hash"),
        ("UPDATE record SET record_hash = zeroblob(32) WHERE seq = 7;", "hash"),
        ("UPDATE record SET kind = 'heartbeat' WHERE seq = 7;", "does not say"),
        ("UPDATE record SET instance = 'another' WHERE seq = 7;", "does not say"),
        ("UPDATE record SET received_us = 1 WHERE seq = 7;", "time of receipt"),
        ("DELETE FROM record WHERE seq = 7;", "record is missing"),
        ("DELETE FROM record WHERE leaf_index = (SELECT max(leaf_index) FROM record);", "missing"),
        (f"DELETE FROM record WHERE leaf_index = 40; {LOST}", "leaf 40: is missing"),
        ("UPDATE leaf SET hash = zeroblob(32) WHERE leaf_index = 40;", "commits to"),
        ("UPDATE leaf SET type = 9 WHERE leaf_index = 40;", "type 9"),
        ("UPDATE leaf SET type = 5 WHERE leaf_index = 40;", "evidence"),
        ("DELETE FROM leaf WHERE leaf_index = (SELECT max(leaf_index) FROM leaf);", "past"),
        ("UPDATE evidence SET line = CAST(line || ' x' AS BLOB);", "evidence is not"),
        ("DELETE FROM evidence;", "evidence is missing"),
        (
            "UPDATE certificate SET envelope = CAST(replace(envelope, 'A', 'B') AS BLOB);",
            "certificate",
        ),
        ("DELETE FROM revocation;", "revocation is missing"),
        ("DELETE FROM log_statement;", "log statement is missing"),
        ("UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE level = 0;", "tile 0 of level 0"),
        ("UPDATE tile SET hashes = CAST(hashes || 'x' AS BLOB) WHERE level = 1;", "level 1"),
        ("INSERT INTO tile VALUES (1, 2, 0, zeroblob(32));", "tiles are kept"),
        ("UPDATE log SET peaks = zeroblob(length(peaks));", "edge"),
        ("UPDATE log SET size = size + 1;", "the log says"),
        ("UPDATE log SET origin = 'localhost/log/acme/eu-west-1/9';", "opened"),
        ("DELETE FROM checkpoint WHERE size = (SELECT max(size) FROM checkpoint);", "newest"),
        ("UPDATE checkpoint SET note = replace(note, '/1', '/7') WHERE size = 2;", "is of"),
        ("UPDATE tile SET log = 5 WHERE level = 1;", "a log that is not there"),
    ],
)
def test_whatever_was_changed_in_a_copy_is_found(
    busy: Busy, tmp_path: Path, change: str, told: str
) -> None:
    path = _change(_backed_up(busy, tmp_path / "copy"), change)
    ended = _store("restore-check", str(path))
    assert (ended.exit_code, "not true: " in ended.output) == (1, True), ended.output
    assert told in ended.output


def test_a_checkpoint_of_another_tree_is_found(busy: Busy, tmp_path: Path) -> None:
    path = _change(_backed_up(busy, tmp_path / "copy"), "")
    with sqlite3.connect(path) as connection:
        size, text = connection.execute(
            "SELECT size, note FROM checkpoint WHERE size > 2 ORDER BY size LIMIT 1"
        ).fetchone()
        kept = checkpoint.read(note.parse(text).text)
        other = msgspec.structs.replace(kept, root=bytes(32))
        forged = checkpoint.write(other, [seal.Signer(b"l" * 32)]).encode()
        connection.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (forged, size))
    connection.close()
    ended = _store("restore-check", str(path))
    assert (ended.exit_code, "another root" in ended.output) == (1, True), ended.output


def test_a_checkpoint_that_the_log_did_not_sign_is_found(busy: Busy, tmp_path: Path) -> None:
    path = _change(_backed_up(busy, tmp_path / "copy"), "")
    with sqlite3.connect(path) as connection:
        for size, text in connection.execute("SELECT size, note FROM checkpoint").fetchall():
            kept = checkpoint.read(note.parse(text).text)
            forged = checkpoint.write(kept, [seal.Signer(b"x" * 32)]).encode()
            connection.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (forged, size))
    connection.close()
    assert _store("restore-check", str(path)).exit_code == 0, "no roots, no signatures"
    roots = ("--roots", busy.config.roots_directory, "--root", root_document().digest)
    ended = _store("restore-check", str(path), *roots)
    assert (ended.exit_code, "signature" in ended.output) == (1, True), ended.output


def test_a_copy_that_is_not_what_its_manifest_says_is_refused(busy: Busy, tmp_path: Path) -> None:
    whole = _backed_up(busy, tmp_path / "copy")
    path = whole / "records.db"
    data = path.read_bytes()
    for damaged, told in (
        (data[:-4096], "bytes"),
        (data[:-1] + bytes([data[-1] ^ 1]), "digest"),
    ):
        path.write_bytes(damaged)
        ended = _store("restore-check", str(whole))
        assert (ended.exit_code, told in ended.output) == (1, True), ended.output
    path.write_bytes(data[: len(data) // 2])
    assert _store("restore-check", str(path)).exit_code == 1, "a part of a file"
    path.write_bytes(b"not a database" * 1_000)
    assert _store("restore-check", str(path)).exit_code == 1
    (whole / "manifest.json").write_text("{}")
    assert _store("restore-check", str(whole)).exit_code == 2


def test_what_cannot_be_copied_leaves_nothing_behind(busy: Busy, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.mkdir()
    configured = busy.configured()
    ended = _store("backup", str(target), "--config", configured)
    assert (ended.exit_code, "is there already" in ended.output) == (2, True)
    ended = _store("backup", str(tmp_path / "no" / "copy"), "--config", configured)
    assert (ended.exit_code, "Traceback" in ended.output) == (2, False)
    Path(configured).write_text(
        Path(configured).read_text().replace(busy.config.data_directory, str(tmp_path / "none"))
    )
    ended = _store("backup", str(tmp_path / "other"), "--config", configured)
    assert (ended.exit_code, "no record store's database" in ended.output) == (2, True)
    assert os.listdir(tmp_path) == ["copy"]


def test_a_database_of_another_version_is_not_judged(busy: Busy, tmp_path: Path) -> None:
    copy = _backed_up(busy, tmp_path / "copy")
    for version, told in ((VERSION + 1, "upgrade Gatepost"), (VERSION - 1, "store migrate")):
        path = _change(copy, f"PRAGMA user_version={version};")
        ended = _store("restore-check", str(path))
        assert (ended.exit_code, told in ended.output) == (2, True), ended.output


def test_the_manifest_can_be_read_by_others(busy: Busy, tmp_path: Path) -> None:
    ended = _store("backup", str(tmp_path / "copy"), "--config", busy.configured(), "--json")
    told = msgspec.json.decode(ended.stdout, type=Manifest)
    assert told == backup.read_manifest(str(tmp_path / "copy"))
    assert (told.schema, told.file) == (VERSION, "records.db")
