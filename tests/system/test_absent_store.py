"""The record store is away for the whole life of a daemon, and comes back for the next."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest

from gateway import log_line
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.load import Load
from tests.integration.system import appended, hurried
from tests.integration.waiting import eventually
from tests.system.proof import nothing_lost_or_doubled, report, shipped

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]

_ANSWERS = 300
_NOBODY = 'store_url = "http://127.0.0.1:1"\n'


def _without_store(text: str) -> str:
    """Policy and certificates as ever, and a record store where nothing listens."""
    return hurried(text.replace("[central]\n", "[central]\n" + _NOBODY))


def test_a_daemon_that_never_reaches_the_store_leaves_everything_to_the_next(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    place = make_site(_without_store, services)
    assert _NOBODY in place.home.sidecar_toml.read_text()
    first = place.start()
    with Load(first.port, 6) as load:
        eventually(lambda: len(load.answered) >= _ANSWERS, "answers", 60)
        assert first.status().ready
    assert first.status().shipping.resolved == 0
    assert first.stop() == 75
    assert services.records.all(instance=first.instance) == []
    place.configure(appended(""))
    second = place.start()
    shipped(second)
    assert second.stop() == 0
    nothing_lost_or_doubled(services, load.answered)
    report(services, tmp_path)
    seqs = _in_order_of_arrival(tmp_path / "all.ndjson", first.instance)
    assert seqs == list(range(len(seqs))), "the oldest came first"
    assert len(seqs) > _ANSWERS
    assert [one for one in (place.home.directory / "spool").iterdir() if one.is_dir()] == []


def _in_order_of_arrival(export: Path, instance: str) -> list[int]:
    """Seqs of one chain as they stand in an export, which is in order of leaves."""
    seqs = []
    for line in export.read_bytes().splitlines():
        if log_line.is_log_line(line):
            continue
        document = msgspec.json.decode(base64.b64decode(msgspec.json.decode(line)["payload"]))
        if document.get("chain", {}).get("instance") == instance:
            seqs.append(document["chain"]["seq"])
    return seqs
