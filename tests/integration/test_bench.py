"""The benchmarks at their smallest: they run, and what they count is exact. No times."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from bench import spool, store, verifier
from bench.commits import CALLERS, Load
from bench.store_ingest import STEPS
from bench.volume import VARIABLE
from bench.ways import GROUPED, SQLITE, SQLITE_GROUPED, UNGROUPED

SIZES = spool.Sizes(
    load=Load(rounds=2, seconds=0.01),
    full_bytes=2 * 1024 * 1024,
    segment_bytes=256 * 1024,
    drained_records=120,
    stall_seconds=0.1,
)


@pytest.mark.timeout(180)
def test_the_benchmark_of_the_spool_counts_every_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    result = spool.run(SIZES, Console(quiet=True))
    rows = {(row.way, row.callers): row for row in result.commits}
    ways = (GROUPED, UNGROUPED, SQLITE, SQLITE_GROUPED)
    assert set(rows) == {(way, callers) for way in ways for callers in CALLERS}
    for row in rows.values():
        assert row.stored == row.answered >= SIZES.load.rounds * row.callers
        assert row.records_per_second > 0
    assert all(rows[UNGROUPED, callers].syncs_per_record >= 1 for callers in CALLERS)
    assert rows[GROUPED, 64].syncs_per_record < 1
    assert result.recovery.answered == result.recovery.records > 0
    assert result.drain.records == result.drain.stored == SIZES.drained_records + 1
    assert result.stall.calls_answered == 8
    assert result.stall.probes_answered > 0
    assert result.stall.call_seconds >= SIZES.stall_seconds
    assert list(tmp_path.iterdir()) == []
    console = Console(record=True, width=200, file=io.StringIO())
    spool.show(result, console)
    shown = console.export_text()
    assert all(claim.what in shown for claim in result.claims)


@pytest.mark.timeout(60)
def test_the_benchmark_of_the_verifier_proves_every_record() -> None:
    result = verifier.run(600, Console(quiet=True))
    # The certificate is a leaf, too. A chain of decisions alone is open: nothing else is unproved.
    assert (result.records, result.included, result.exit_code) == (600, 601, 3)
    assert result.signature_us > 0
    assert [one.jobs for one in result.runs] == [1]
    assert result.of_bare > 1
    console = Console(record=True, width=200, file=io.StringIO())
    verifier.show(result, console)
    assert "600" in console.export_text()


@pytest.mark.timeout(180)
def test_the_benchmark_of_the_store_takes_in_every_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    result = store.run(1_200, 2_000, Console(quiet=True), filled=3_000)
    ingested = result.ingested
    assert (ingested.records, result.rows) == (1_200, 3_000)
    assert set(ingested.steps) == set(STEPS)
    assert 0 < ingested.bare < ingested.whole
    rows = {page.asked: page.rows for page in result.pages}
    assert (rows["no filter"], rows["person=nobody@acme"]) == (100, 0)
    assert rows["outcome=deny"] == 3_000 // 50
    assert result.proved.leaves == 2_000
    assert result.held.exported_bytes > 1_200 * 1_000
    assert list(tmp_path.iterdir()) == []
    console = Console(record=True, width=200, file=io.StringIO())
    store.show(result, console)
    assert "of a bare insert" in console.export_text()
