"""A database of an earlier version becomes one of this version, whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from central.database import Database, Upgrade
from central.record_store import schema, upgrades
from gateway.errors import ConfigInvalid
from tests.unit.central.deployment import Daemon, Deployment
from tests.unit.central.test_log import prove

GOLDEN = Path(__file__).parents[2] / "golden" / "schema"
LEAVES = 300
"""More than a tile holds."""


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: _columns(connection, name) for (name,) in names}


def _as_version(version: int, now: Path, then: Path) -> None:
    """What the file ``now`` says, as far as ``version`` could say it, in the file ``then``."""
    connection = sqlite3.connect(then)
    connection.executescript((GOLDEN / f"records-{version}.sql").read_text())
    tables = _tables(connection)
    connection.execute("ATTACH ? AS now", (str(now),))
    known = {row[0] for row in connection.execute("SELECT name FROM now.sqlite_master")}
    for table in tables.keys() & known:
        columns = ", ".join(tables[table])
        connection.execute(
            f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}"
        )
    connection.commit()
    connection.close()


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Path, Daemon]:
    """A store that took in more than a tile of records, and the daemon that they are of."""
    deployment = Deployment(tmp_path / "new", ["issuer", "records"])
    with deployment.http:
        daemon = Daemon(deployment).ready()
        daemon.ship(daemon.start(), *(daemon.decision() for _ in range(LEAVES)))
    return tmp_path / "new" / "data" / "records.db", daemon


def _open(path: Path, steps: Mapping[int, Upgrade] = upgrades.UPGRADES) -> None:
    Database(str(path), schema.SCHEMA, schema.VERSION, steps).close()


def test_a_tree_grown_by_the_upgrade_is_the_tree_that_grew_with_its_leaves(
    filled: tuple[Path, Daemon], tmp_path: Path
) -> None:
    now, then = filled[0], tmp_path / "then.db"
    _as_version(1, now, then)
    _open(then)
    for query in (
        "SELECT log, size, peaks FROM log ORDER BY log",
        "SELECT log, level, tile_index, hashes FROM tile ORDER BY log, level, tile_index",
    ):
        assert _rows(then, query) == _rows(now, query) != []
    assert _rows(then, "PRAGMA user_version") == [(schema.VERSION,)]


def test_an_upgraded_record_is_found_by_its_digests_as_a_new_one(
    filled: tuple[Path, Daemon], tmp_path: Path
) -> None:
    now, then = filled[0], tmp_path / "then.db"
    _as_version(1, now, then)
    _open(then)
    query = "SELECT seq, input_digest, request_digest FROM record ORDER BY leaf_index"
    assert _rows(then, query) == _rows(now, query)
    assert sum(row[1] is not None for row in _rows(now, query)) == LEAVES


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_an_upgraded_file_has_the_tables_of_a_new_one(
    filled: tuple[Path, Daemon], tmp_path: Path, version: int
) -> None:
    then, new = tmp_path / "then.db", tmp_path / "empty.db"
    _as_version(version, filled[0], then)
    _open(then)
    _open(new)
    kinds = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    assert _rows(then, kinds) == _rows(new, kinds)
    indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
    assert _rows(then, indexes) == _rows(new, indexes)
    with sqlite3.connect(then) as upgraded, sqlite3.connect(new) as made:
        for table, columns in _tables(made).items():
            assert sorted(_columns(upgraded, table)) == sorted(columns), table


def test_a_batch_sent_again_after_the_upgrade_is_proved_by_a_signed_checkpoint(
    filled: tuple[Path, Daemon], tmp_path: Path
) -> None:
    now, before = filled
    then = tmp_path / "old" / "data" / "records.db"
    then.parent.mkdir(parents=True)
    _as_version(1, now, then)
    upgraded = Deployment(tmp_path / "old", ["issuer", "records"])
    with upgraded.http:
        before.deployment = upgraded
        start = Daemon(upgraded).start()
        assert prove(before.ship(start), start).seqs == {0}
        more = before.decision()
        assert prove(before.ship(more), more).seqs == {LEAVES + 1}


def test_a_record_that_this_version_cannot_read_stops_no_upgrade(
    filled: tuple[Path, Daemon], tmp_path: Path
) -> None:
    then = tmp_path / "then.db"
    _as_version(2, filled[0], then)
    with sqlite3.connect(then) as connection:
        connection.execute("UPDATE record SET payload = x'7b7d' WHERE seq = 2")
    connection.close()
    _open(then)
    query = "SELECT seq, payload FROM record WHERE kind = 'decision' AND input_digest IS NULL"
    assert _rows(then, query) == [(2, b"{}")]


def test_an_upgrade_that_fails_changes_nothing(filled: tuple[Path, Daemon], tmp_path: Path) -> None:
    def failing(connection: sqlite3.Connection) -> None:
        upgrades.UPGRADES[1](connection)
        raise sqlite3.OperationalError("disk I/O error")

    then, copy = tmp_path / "then.db", tmp_path / "copy.db"
    _as_version(1, filled[0], then)
    shutil.copy(then, copy)
    with pytest.raises(ConfigInvalid, match="disk I/O error"):
        _open(then, {1: failing})
    for path in (then, copy):
        assert _rows(path, "PRAGMA user_version") == [(1,)]
    kinds = "SELECT name, sql FROM sqlite_master ORDER BY name"
    assert _rows(then, kinds) == _rows(copy, kinds)
    _open(then)


def test_a_file_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    with pytest.raises(ConfigInvalid, match="upgrade Gatepost"):
        _open(path)
    assert _rows(path, "SELECT count(*) FROM sqlite_master") == [(0,)]
