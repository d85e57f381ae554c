"""``gatepost spool export``: what the verifier reads, and never a file that is half there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.exports import PIN, line
from tests.unit.gatepost.running import Ended, gatepost
from tests.unit.gatepost.spool_specimen import Specimen
from tests.unit.spool.on_disk import flip, offset_of


@pytest.fixture
def specimen(tmp_path: Path) -> Specimen:
    return Specimen(tmp_path)


def export(specimen: Specimen, *options: object) -> Ended:
    roots = ("--roots", specimen.roots)
    return gatepost("spool", "export", "--directory", specimen.root, *roots, *options)


def test_the_verifier_proves_an_export(specimen: Specimen, tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    ended = export(specimen, "-o", path)
    assert (ended.code, ended.out) == (0, "")
    last = len(specimen.records) - 1
    assert f"complete: {specimen.sealed.instance}, seq 0 to {last}, from start" in ended.err
    assert f"1 roots, 1 certificates, {last + 1} records" in ended.err
    verified = gatepost("verify", path, "--root", PIN, "--json")
    # A spool has no log: that these records are in one is for the store's export to prove.
    assert verified.code == 3, verified.out
    states = {one["name"]: one["state"] for one in verified.json["verdicts"]}
    unproved = {name for name, state in states.items() if state == "incomplete"}
    assert unproved == {"inclusion", "consistency"}
    assert "false" not in states.values()
    assert path.stat().st_mode & 0o777 == 0o600


def test_records_are_the_lines_that_would_be_shipped(specimen: Specimen) -> None:
    ended = export(specimen)
    lines = ended.out.encode().splitlines(keepends=True)
    assert lines[2:] == [line(one) for one in specimen.records]


def test_a_part_is_said_to_be_one_and_why(specimen: Specimen) -> None:
    one = specimen.sealed.instance
    ended = export(specimen, "--instance", one, "--from", 2, "--to", 4, "--json")
    assert ended.code == 3
    assert len(ended.out.splitlines()) == 2 + 3, "roots and certificates come all the same"
    summary = _summary(ended)
    assert summary["complete"] is False
    assert summary["instances"][0]["records"] == 3
    assert summary["instances"][0]["missing"] == [
        "seq 0 to 1 not asked for",
        "nothing after seq 4 was asked for",
    ]


def _summary(ended: Ended) -> Any:
    return msgspec.json.decode(ended.err)


def test_holes_shipped_records_and_open_ends_are_said(specimen: Specimen) -> None:
    flip(specimen.last_segment, offset_of(specimen.records[3:], 1) + 60)
    (specimen.home(specimen.sealed) / f"seg-{0:020d}.log").unlink()
    with specimen.running():
        ended = export(specimen)
    assert ended.code == 3
    assert "seq 0 to 2 not here: shipped and deleted" in ended.err
    assert "seq 4 not here: damaged" in ended.err
    assert "the process is running: its chain goes on" in ended.err


def test_without_roots_it_is_partial(specimen: Specimen) -> None:
    ended = gatepost("spool", "export", "--directory", specimen.root)
    assert ended.code == 3
    assert "name their directory with --roots" in ended.err


def test_a_file_is_never_replaced_unasked(specimen: Specimen, tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    path.write_text("dear")
    ended = export(specimen, "-o", path)
    assert (ended.code, path.read_text()) == (2, "dear")
    assert "use --force" in ended.err
    assert export(specimen, "-o", path, "--force").code == 0
    assert path.read_bytes().startswith(b'{"payloadType"')
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["export.ndjson"]


def test_a_failure_leaves_no_file(specimen: Specimen, tmp_path: Path) -> None:
    (specimen.roots / "1.json").write_text("no envelope")
    path = tmp_path / "export.ndjson"
    ended = export(specimen, "-o", path)
    assert ended.code == 2
    assert "1.json" in ended.err
    assert list(tmp_path.glob("export*")) == []


def test_nothing_is_written_inside_a_spool(specimen: Specimen) -> None:
    ended = export(specimen, "-o", specimen.home(specimen.sealed) / "export")
    assert ended.code == 2
    assert "where only the daemon writes" in ended.err


def test_seqs_need_a_chain_to_count_in(specimen: Specimen) -> None:
    for options in (("--from", 1), ("--instance", "x", "--from", 3, "--to", 1), ("--to", -1)):
        ended = export(specimen, *options)
        assert (ended.code, ended.out) == (2, "")
