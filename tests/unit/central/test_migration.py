"""``gatepost store migrate`` does what the opening does, with a copy before and nobody beside."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from central.record_store.migration import Migration, migrate
from central.record_store.schema import VERSION
from gatepost.cli import main
from tests.unit.central.deployment import REGION, TENANT, Daemon, Deployment
from tests.unit.central.test_upgrades import _as_version, _rows


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    """A store that was stopped, of this version."""
    deployment = Deployment(tmp_path, ["issuer", "records"])
    with deployment.http:
        daemon = Daemon(deployment).ready()
        daemon.ship(daemon.start(), *(daemon.decision() for _ in range(20)))
    return deployment


def _database(made: Deployment) -> Path:
    return made.directory / "data" / "records.db"


def _put_back(made: Deployment, version: int) -> Path:
    """The same store as ``version`` would have kept it."""
    path, now = _database(made), made.directory / "now.db"
    shutil.move(path, now)
    _as_version(version, now, path)
    return path


def _migrate(made: Deployment, *options: str) -> Result:
    config = made.directory / "central.toml"
    config.write_text(f"""
data_directory = "{made.config.data_directory}"
roots_directory = "{made.config.roots_directory}"

[[tenants]]
name = "{TENANT}"
regions = ["{REGION}"]
""")
    return CliRunner().invoke(main, ["store", "migrate", "--config", str(config), *options])


def _versions(*paths: Path) -> list[object]:
    return [_rows(path, "PRAGMA user_version")[0][0] for path in paths]


@pytest.mark.parametrize("version", range(1, VERSION))
def test_an_old_database_is_copied_and_then_brought_to_this_version(
    made: Deployment, version: int
) -> None:
    path = _put_back(made, version)
    before = _rows(path, "SELECT leaf_index, hash FROM leaf ORDER BY leaf_index")
    ended = _migrate(made, "--json")
    assert ended.exit_code == 0, ended.output
    told = msgspec.json.decode(ended.stdout, type=Migration)
    copy = path.with_name(f"records.db.schema-{version}")
    assert (told.found, told.version, told.copy) == (version, VERSION, str(copy))
    assert _versions(path, copy) == [VERSION, version]
    for kept in (path, copy):
        assert _rows(kept, "SELECT leaf_index, hash FROM leaf ORDER BY leaf_index") == before != []
    assert copy.stat().st_mode & 0o777 == 0o600
    ended = CliRunner().invoke(main, ["store", "restore-check", str(path)])
    assert (ended.exit_code, "Everything is true" in ended.output) == (0, True), ended.output
    again = _migrate(made)
    assert (again.exit_code, "nothing to do" in again.output) == (0, True)


def test_a_check_says_what_there_is_to_do_and_does_nothing(made: Deployment) -> None:
    path = _put_back(made, 1)
    ended = _migrate(made, "--check")
    assert (ended.exit_code, f"schema 1 → {VERSION}" in ended.output) == (0, True), ended.output
    assert _versions(path) == [1]
    assert os.listdir(path.parent).count("records.db.schema-1") == 0


def test_the_copy_goes_where_it_is_told_or_nowhere(made: Deployment) -> None:
    path = _put_back(made, 1)
    elsewhere = made.directory / "before.db"
    elsewhere.write_text("somebody's")
    ended = _migrate(made, "--copy", str(elsewhere))
    assert (ended.exit_code, "name another file" in ended.output) == (2, True), ended.output
    assert (_versions(path), elsewhere.read_text()) == ([1], "somebody's")
    ended = _migrate(made, "--no-copy", "--copy", str(elsewhere))
    assert (ended.exit_code, _versions(path)) == (2, [1])
    assert _migrate(made, "--no-copy").exit_code == 0
    assert _versions(path) == [VERSION]
    assert not path.with_name("records.db.schema-1").exists()


def test_a_database_that_somebody_uses_is_left_alone(made: Deployment) -> None:
    path = _put_back(made, 1)
    user = sqlite3.connect(path)
    user.execute("PRAGMA journal_mode=WAL")
    user.execute("SELECT count(*) FROM leaf").fetchone()
    ended = _migrate(made)
    assert (ended.exit_code, "stop the record store" in ended.output) == (2, True), ended.output
    assert _versions(path) == [1]
    assert not path.with_name("records.db.schema-1").exists()
    user.close()
    assert _migrate(made).exit_code == 0


def test_no_store_begins_to_use_a_database_while_it_is_brought_forward(made: Deployment) -> None:
    """Between the look and the upgrade a copy of gigabytes is made."""
    path = _put_back(made, 1)
    tried: list[str] = []

    def copied(_done: int, _total: int) -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
            try:
                other.execute("SELECT count(*) FROM leaf").fetchone()
            except sqlite3.OperationalError as error:
                tried.append(str(error))

    migrate(str(path), f"{path}.before", copied)
    assert set(tried) == {"database is locked"}
    assert _versions(path, Path(f"{path}.before")) == [VERSION, 1]


def test_what_is_newer_or_no_store_at_all_is_refused_untouched(made: Deployment) -> None:
    path = _database(made)
    for version, told in ((VERSION + 1, "upgrade Gatepost"), (0, "no record store")):
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version={version}")
        connection.close()
        for options in ((), ("--check",)):
            ended = _migrate(made, *options)
            assert (ended.exit_code, told in ended.output) == (2, True), ended.output
        assert _versions(path) == [version]
    path.write_bytes(b"not a database" * 100)
    assert _migrate(made).exit_code == 2
    path.unlink()
    ended = _migrate(made)
    assert (ended.exit_code, "there is no record store" in ended.output) == (2, True)


def test_a_migration_that_fails_leaves_the_database_as_it_was(made: Deployment) -> None:
    path = _put_back(made, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE look")
    connection.close()
    kinds = "SELECT name, sql FROM sqlite_master ORDER BY name"
    before = _rows(path, kinds)
    ended = _migrate(made, "--no-copy")
    assert (ended.exit_code, "look" in ended.output) == (2, True), ended.output
    assert (_rows(path, kinds), _versions(path)) == (before, [1])
