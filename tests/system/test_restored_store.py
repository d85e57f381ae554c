"""The record store is put back to an older backup while a daemon lives.

Calls go on; what the daemon still holds comes back by itself; what it had deleted shows as a hole,
to operators, to auditors and to the offline verifier.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from gatepost.home import REGION, TENANT
from gateway.shipping import SeqRange
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.system import Central, Daemon, replaced
from tests.integration.waiting import eventually
from tests.system.proof import report, shipped

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]

_SMALL = replaced(spool_bytes_max="67108864\nsegment_bytes = 262144")
_FEW = 30
_NEXT_ATTEMPT_SECONDS = 60
"""A batch that was not proved is sent again after half a minute at the latest."""
_MANY = 250
"""More than one segment of that size holds, decisions and completions."""


class _Item(msgspec.Struct):
    """What this test reads of an instance in the store's list."""

    instance: str
    missing: int
    gaps: list[SeqRange]


def _database(services: Central) -> Path:
    return services.home.directory / "central" / "records.db"


def _back_up(services: Central, copy: Path) -> None:
    """As docs/operations.md says, while the services run."""
    with (
        closing(sqlite3.connect(_database(services))) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _restore(services: Central, copy: Path) -> None:
    """The services do not run."""
    database = _database(services)
    for path in database.parent.glob("records.db*"):
        path.unlink()
    shutil.copyfile(copy, database)
    database.chmod(0o600)


def _reopen(services: Central) -> None:
    """As docs/operations.md says: the log that lost leaves is closed, the next one opened."""
    home = services.home
    command = [sys.executable, "-m", "gatepost", "store", "reopen-log"]
    command += ["--config", str(home.central_toml), "--tenant", TENANT, "--region", REGION]
    command += ["--reason", "restored from a backup", "--revocation-key"]
    subprocess.run([*command, str(home.key_file("revocation"))], check=True, capture_output=True)


def _answers(daemon: Daemon, count: int) -> list[str]:
    """Ids of so many answered calls, or a few more."""
    with Load(daemon.port, 6) as load:
        eventually(lambda: len(load.answered) >= count, f"{count} answers", 60)
    return load.answered


@pytest.mark.parametrize("known", [True, False])
def test_what_a_restored_store_lacks_comes_back_as_far_as_it_is_on_disk(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path, known: bool
) -> None:
    """``known``: whether the backup has the daemon's certificate and its first records."""
    services, copy = make_central(), tmp_path / "records.db"
    place = make_site(_SMALL, services)
    if not known:
        _back_up(services, copy)
    daemon = place.start()
    answered = _answers(daemon, _FEW)
    if known:
        shipped(daemon)
        _back_up(services, copy)
    answered += _answers(daemon, _MANY)
    shipped(daemon)
    daemon.wait_status(lambda status: status.spool.segments <= 2, "deleted segments")
    services.kill()
    answered += _answers(daemon, _FEW)
    _restore(services, copy)
    services.start()
    answered += _answers(daemon, _FEW)
    daemon.wait_status(
        lambda status: "store_unproven" in status.shipping.alarms, "a log that lost leaves"
    )
    _reopen(services)
    daemon.wait_status(
        lambda status: status.shipping.resent > 0, "records that came back", _NEXT_ATTEMPT_SECONDS
    )
    shipped(daemon)
    status = daemon.status()
    assert "store_lost_records" in status.shipping.alarms
    assert status.ready
    assert place.log().count('"event":"store_lost_records"') == 1
    lost = _holes(services, daemon, status.shipping.lost)
    assert daemon.stop() == 0
    _all_but(lost, services, daemon, answered)
    chain = report(services, tmp_path).verdict("chain")
    assert chain.state == "incomplete"
    assert [f"{daemon.instance} lacks seq {lost.first_seq}–{lost.last_seq}"] == [
        problem.cause for problem in chain.problems
    ]


def _holes(services: Central, daemon: Daemon, count: int) -> SeqRange:
    """The one hole in the chain, as large as the daemon was told."""
    body = services.client.get("/v1/instances")
    items = msgspec.json.decode(body, type=list[_Item])
    item = next(one for one in items if one.instance == daemon.instance)
    assert len(item.gaps) == 1
    assert item.missing == count > 0
    return item.gaps[0]


def _all_but(lost: SeqRange, services: Central, daemon: Daemon, answered: list[str]) -> None:
    """The store has every record that does not lie in the hole, once, and so every call."""
    items = services.records.all(instance=daemon.instance)
    seqs = sorted(item["seq"] for item in items)
    wanted = set(range(seqs[-1] + 1)) - set(range(lost.first_seq, lost.last_seq + 1))
    assert seqs == sorted(wanted)
    decisions = {item["id"] for item in items if item["kind"] == "decision"}
    gone = set(answered) - decisions
    assert 0 < len(gone) <= lost.last_seq - lost.first_seq + 1
