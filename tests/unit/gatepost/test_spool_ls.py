"""``gatepost spool ls``: who is there, who owns it, and how much is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from spool import frame
from spool.frame import SegmentHeader
from spool.segment import segment_name
from tests.unit.gatepost.running import Ended, gatepost
from tests.unit.gatepost.spool_specimen import Specimen
from tests.unit.sidecar.config_text import WHOLE, changed, toml
from tests.unit.spool.on_disk import SEGMENT_BYTES, put_home, traces


@pytest.fixture
def specimen(tmp_path: Path) -> Specimen:
    return Specimen(tmp_path)


def listed(specimen: Specimen) -> Ended:
    return gatepost("spool", "ls", "--directory", specimen.root, "--json")


def test_every_instance_is_told_with_what_is_left_of_it(specimen: Specimen) -> None:
    specimen.refuse(specimen.sealed, specimen.records[2])
    with specimen.running() as records:
        ended = listed(specimen)
    assert (ended.code, ended.err) == (0, "")
    dead, live = ended.json
    assert dead == {
        "instance": specimen.sealed.instance,
        "state": "dead",
        "sealed": True,
        "tenant": "acme",
        "region": specimen.records[0].payload.partition(b'"region":"')[2].split(b'"')[0].decode(),
        "first_seq": 0,
        "last_seq": len(specimen.records) - 1,
        "records": len(specimen.records),
        "bytes": 2 * SEGMENT_BYTES + dead["quarantine_bytes"],
        "segments": 2,
        "prepared": 0,
        "damaged": 0,
        "quarantine_files": 1,
        "quarantine_bytes": dead["quarantine_bytes"],
        "settled": False,
        "format": 1,
    }
    assert dead["quarantine_bytes"] > 300
    assert (live["instance"], live["state"]) == (specimen.live.instance, "live")
    assert (live["sealed"], live["last_seq"], live["damaged"]) == (False, len(records) - 1, 0)
    assert (live["prepared"], live["bytes"]) == (1, SEGMENT_BYTES + 1000)


def test_a_lock_that_is_held_on_an_ended_chain_is_a_shippers(specimen: Specimen) -> None:
    with specimen.running():
        specimen.settle(specimen.live)
        assert listed(specimen).json[1]["state"] == "shipping"
    assert listed(specimen).json[1]["state"] == "dead"
    assert listed(specimen).json[1]["settled"] is True


def test_the_table_names_the_same(specimen: Specimen) -> None:
    specimen.refuse(specimen.sealed, specimen.records[2])
    with specimen.running():
        ended = gatepost("spool", "ls", "--directory", specimen.root)
    assert ended.code == 0
    for words in (specimen.live.instance, "live", "dead", "sealed", "1 (", "1 + 1 ahead"):
        assert words in ended.out


def test_a_newer_format_is_listed_and_not_read(specimen: Specimen) -> None:
    home = put_home(specimen.root, specimen.live.instance)
    raw = frame.instance_bytes(home.name)
    header = SegmentHeader(raw, 0, frame.segment_salt(raw, 0), SEGMENT_BYTES, version=2)
    (home / segment_name(0)).write_bytes(frame.encode_header(header).ljust(SEGMENT_BYTES, b"\0"))
    one = next(one for one in listed(specimen).json if one["instance"] == home.name)
    assert (one["format"], one["records"], one["segments"]) == (2, None, 1)
    assert gatepost("spool", "ls", "--directory", specimen.root).code == 0


def test_the_configuration_names_the_spool(specimen: Specimen, tmp_path: Path) -> None:
    config = tmp_path / "sidecar.toml"
    config.write_text(toml(changed("spool.directory", str(specimen.root), WHOLE)))
    assert len(gatepost("spool", "ls", "--config", config, "--json").json) == 1


def test_what_is_no_spool_is_2_and_says_what_to_do(specimen: Specimen, tmp_path: Path) -> None:
    ended = gatepost("spool", "ls", "--directory", tmp_path / "absent")
    assert (ended.code, ended.out) == (2, "")
    assert "is this the spool root of a daemon?" in ended.err
    inside = gatepost("spool", "ls", "--directory", specimen.home(specimen.sealed))
    assert inside.code == 2
    assert f"give the spool root {specimen.root}" in inside.err
    both = gatepost("spool", "ls", "--directory", specimen.root, "--config", "x")
    assert (both.code, "give one" in both.err) == (2, True)


def test_an_empty_root_is_said_to_be_one(tmp_path: Path) -> None:
    ended = gatepost("spool", "ls", "--directory", tmp_path)
    assert (ended.code, "holds no instance" in ended.out) == (0, True)
    assert gatepost("spool", "ls", "--directory", tmp_path, "--json").json == []


@pytest.mark.parametrize(
    "command",
    [
        ("ls",),
        ("verify",),
        ("verify", "--root", "sha256:" + "0" * 64),
        ("export",),
        ("quarantine",),
        ("quarantine", "show", f"{0:020d}-4096.bin"),
    ],
)
def test_no_command_leaves_a_trace(specimen: Specimen, command: tuple[str, ...]) -> None:
    specimen.refuse(specimen.sealed, specimen.records[2])
    specimen.damage(specimen.sealed, 0, 4096)
    (specimen.home(specimen.sealed) / "next-7.tmp").write_bytes(b"left by a crash")
    with specimen.running():
        before = traces(specimen.root)
        ended = gatepost("spool", *command, "--directory", specimen.root)
        assert ended.code in (0, 1, 3)
        assert traces(specimen.root) == before
