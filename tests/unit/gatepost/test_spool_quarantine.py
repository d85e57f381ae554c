"""``gatepost spool quarantine``: what was set aside, why, and what to do."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.unit.gatepost.running import Ended, gatepost
from tests.unit.gatepost.spool_specimen import SET_ASIDE_BYTES, SET_ASIDE_DIGEST, Specimen
from tests.unit.spool.on_disk import flip, offset_of


@pytest.fixture
def specimen(tmp_path: Path) -> Specimen:
    return Specimen(tmp_path)


def quarantine(specimen: Specimen, *options: object) -> Ended:
    return gatepost("spool", "quarantine", *options, "--directory", specimen.root)


def test_nothing_aside_is_said(specimen: Specimen) -> None:
    assert quarantine(specimen).out == "nothing is set aside\n"
    assert quarantine(specimen, "--json").json == []


def test_both_kinds_are_listed_with_rule_and_reason(specimen: Specimen) -> None:
    at = offset_of(specimen.records[3:], 1)
    flip(specimen.last_segment, at + 60)
    damaged = specimen.damage(specimen.sealed, 3, at)
    refused = specimen.refuse(specimen.sealed, specimen.records[2])
    gone = specimen.damage(specimen.sealed, 900, 4096)
    (specimen.home(specimen.sealed) / "quarantine" / "strange").write_text("?")
    found = {one["file"]["name"]: one for one in quarantine(specimen, "--json").json}
    assert list(found) == [damaged, gone, refused, "strange"]
    stretch = found[damaged]["file"]
    assert (stretch["base_seq"], stretch["offset"], found[damaged]["rule"]) == (3, at, "damaged")
    assert (stretch["bytes_used"], stretch["digest"]) == (len(SET_ASIDE_BYTES), SET_ASIDE_DIGEST)
    why = found[refused]["file"]
    assert (why["kind"], why["seq"], why["status"]) == ("refused", 2, 422)
    assert found[gone]["rule"] is None, "its segment is gone"
    assert "successor names these bytes" in found[gone]["advice"]
    assert found["strange"]["file"]["kind"] == "unknown"
    told = quarantine(specimen).out
    assert "422: schema [red]v9" in told
    assert "check the volume" in told
    assert "Ask its operator" in told


def test_a_refused_record_is_shown_as_it_is(specimen: Specimen) -> None:
    name = specimen.refuse(specimen.sealed, specimen.records[1])
    shown = quarantine(specimen, "show", name)
    assert shown.code == 0
    assert '"kind": "decision"' in shown.out
    assert "Ask its operator about the reason" in shown.out
    whole = quarantine(specimen, "show", name, "--json").json
    assert whole["payload"] == msgspec.json.decode(specimen.records[1].payload)


def test_bytes_are_shown_in_hex_and_obeyed_by_no_terminal(specimen: Specimen) -> None:
    name = specimen.damage(specimen.sealed, 0, 4096)
    shown = quarantine(specimen, "show", name)
    assert "00000000  00 74 6f 72 6e 1b 5b 32 4a" in shown.out
    assert "\x1b" not in shown.out
    assert ".torn.[2J" in shown.out
    short = quarantine(specimen, "show", name, "--bytes", 16)
    assert f"and {len(SET_ASIDE_BYTES) - 16} more bytes" in short.out
    assert quarantine(specimen, "show", name, "--json").json["hex"] == SET_ASIDE_BYTES.hex()


@pytest.mark.parametrize("data", [b"", b"{}\n", b"\xff\n\xff\n", b'{"instance":"x"}'])
def test_a_file_that_says_nothing_is_shown_as_bytes(specimen: Specimen, data: bytes) -> None:
    name = specimen.refuse(specimen.sealed, specimen.records[1])
    (specimen.home(specimen.sealed) / "quarantine" / name).write_bytes(data)
    (found,) = quarantine(specimen, "--json").json
    assert (found["file"]["kind"], found["file"]["reason"]) == ("unknown", None)
    assert quarantine(specimen, "show", name, "--json").json["hex"] == data.hex()


def test_a_name_that_is_not_one_is_2(specimen: Specimen) -> None:
    ended = quarantine(specimen, "show", "../settled.json")
    assert (ended.code, ended.out) == (2, "")
    assert "has a file '../settled.json'" in ended.err
    name = specimen.damage(specimen.sealed, 0, 4096)
    with specimen.running():
        specimen.damage(specimen.live, 0, 4096)
        twice = quarantine(specimen, "show", name)
        assert (twice.code, "add --instance" in twice.err) == (2, True)
        one = quarantine(specimen, "show", name, "--instance", specimen.live.instance)
        assert one.code == 0
