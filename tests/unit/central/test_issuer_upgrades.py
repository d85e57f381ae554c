"""An issuer's database of an earlier version goes on in this one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from central.database import Database
from central.issuer import schema, upgrades
from tests.unit.central.deployment import Daemon, Deployment

GOLDEN = Path(__file__).parents[2] / "golden" / "schema" / "issuer-1.sql"


def _as_version_1(now: Path, then: Path) -> None:
    """What the file ``now`` says, as far as version 1 could say it, in the file ``then``."""
    with sqlite3.connect(then) as connection:
        connection.executescript(GOLDEN.read_text())
        connection.execute("ATTACH ? AS now", (str(now),))
        names = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
        for (table,) in names.fetchall():
            rows = connection.execute(f"PRAGMA main.table_info({table})")
            columns = ", ".join(row[1] for row in rows)
            connection.execute(f"INSERT INTO main.{table} SELECT {columns} FROM now.{table}")


def _columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {
        table: sorted(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
        for (table,) in tables
    }


def test_an_instance_of_before_the_upgrade_renews_after_it(tmp_path: Path) -> None:
    before = Deployment(tmp_path / "new", ["issuer"])
    with before.http:
        daemon = Daemon(before)
        daemon.enrol()
    then = tmp_path / "old" / "data" / "issuer.db"
    then.parent.mkdir(parents=True)
    _as_version_1(tmp_path / "new" / "data" / "issuer.db", then)
    daemon.deployment = Deployment(tmp_path / "old", ["issuer"])
    with daemon.deployment.http:
        assert daemon.enrol().supersedes is None
    new = tmp_path / "empty.db"
    Database(str(new), schema.SCHEMA, schema.VERSION, upgrades.UPGRADES).close()
    with sqlite3.connect(then) as upgraded, sqlite3.connect(new) as made:
        assert _columns(upgraded) == _columns(made)
        assert upgraded.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
