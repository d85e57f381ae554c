"""A policy service's database of an earlier version goes on in this one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from central.database import Database
from central.policy_service import schema
from tests.unit.central.deployment import Deployment, bundle

GOLDEN = Path(__file__).parents[2] / "golden" / "schema"
BUNDLES = "/v1/policy/acme%2Fprod/bundles"


def _as_version(version: int, now: Path, then: Path) -> None:
    """What the file ``now`` says, as far as ``version`` could say it, in the file ``then``."""
    with sqlite3.connect(then) as connection:
        connection.executescript((GOLDEN / f"policy-{version}.sql").read_text())
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


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_what_was_published_before_the_upgrade_is_served_and_followed_after_it(
    tmp_path: Path, version: int
) -> None:
    before = Deployment(tmp_path / "new", ["policy"])
    with before.http:
        olaf = before.as_person("olaf")
        assert before.http.post(BUNDLES, content=bundle(1).envelope, headers=olaf).is_success
    then = tmp_path / "old" / "data" / "policy.db"
    then.parent.mkdir(parents=True)
    _as_version(version, tmp_path / "new" / "data" / "policy.db", then)
    after = Deployment(tmp_path / "old", ["policy"])
    with after.http:
        assert after.http.get("/v1/policy/acme%2Fprod/head").is_success
        assert after.get("/v1/policy/acme%2Fprod/fleet", "olaf")["version"] == 1
        answer = after.http.post(f"{BUNDLES}?canary=10", content=bundle(2).envelope, headers=olaf)
        assert answer.is_success
        log = after.get("/v1/policy/acme%2Fprod/log", "olaf")
    assert [line["version"] for line in log] == [1, 2]
    new = tmp_path / "empty.db"
    Database(str(new), schema.SCHEMA, schema.VERSION, {}).close()
    with sqlite3.connect(then) as upgraded, sqlite3.connect(new) as made:
        assert _columns(upgraded) == _columns(made)
        assert upgraded.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
