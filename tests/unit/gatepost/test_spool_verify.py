"""``gatepost spool verify``: a verdict per check and instance, and exit codes to match."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exports import PIN
from tests.unit.gatepost.running import Ended, gatepost
from tests.unit.gatepost.spool_specimen import Specimen
from tests.unit.spool.on_disk import flip, offset_of, zero


@pytest.fixture
def specimen(tmp_path: Path) -> Specimen:
    return Specimen(tmp_path)


def verify(specimen: Specimen, *options: object) -> Ended:
    return gatepost("spool", "verify", "--directory", specimen.root, *options)


def states(ended: Ended) -> dict[str, dict[str, str]]:
    return {
        one["instance"]: {verdict["name"]: verdict["state"] for verdict in one["verdicts"]}
        for one in ended.json["instances"]
    }


def test_without_a_root_integrity_is_proved_and_entitlement_is_not_judged(
    specimen: Specimen,
) -> None:
    ended = verify(specimen, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert states(ended) == {
        specimen.sealed.instance: {
            **dict.fromkeys(("frames", "order", "form", "signatures", "chain", "tail"), "true"),
            "entitlement": "not_applicable",
        }
    }
    assert "integrity only" in ended.json["notes"][0]
    told = verify(specimen)
    assert "integrity only" in told.out
    assert "nothing is false, nothing is open" in told.out


def test_with_a_root_the_keys_are_held_against_it(specimen: Specimen) -> None:
    ended = verify(specimen, "--root", PIN, "--roots", specimen.roots, "--json")
    assert ended.code == 0
    (found,) = states(ended).values()
    assert (found["roots"], found["entitlement"]) == ("true", "true")
    assert (ended.json["root"], ended.json["notes"]) == (PIN, ["custody of the root: offline"])
    other = verify(specimen, "--root", "sha256:" + "0" * 64, "--roots", specimen.roots, "--json")
    assert other.code == 1
    (found,) = states(other).values()
    assert (found["roots"], found["signatures"]) == ("false", "true")
    assert other.json["notes"] == []
    without = verify(specimen, "--root", PIN, "--json")
    assert without.code == 1, "no root document is no trust"


def test_a_running_daemon_is_not_open_and_not_damaged(specimen: Specimen) -> None:
    with specimen.running() as records:
        segment = specimen.home(specimen.live) / f"seg-{0:020d}.log"
        zero(segment, offset_of(records, len(records) - 1) + 60, 4_000)
        ended = verify(specimen, "--instance", specimen.live.instance, "--json")
    assert ended.code == 0
    (one,) = ended.json["instances"]
    assert (one["state"], states(ended)[one["instance"]]["tail"]) == ("live", "not_applicable")
    assert "were being written" in one["notes"][0]
    ended = verify(specimen, "--instance", specimen.live.instance, "--json")
    assert ended.code == 3, "the process is gone: a torn group, and an open end"
    found = states(ended)[specimen.live.instance]
    assert (found["frames"], found["tail"]) == ("incomplete", "incomplete")


def test_damage_is_1_and_named(specimen: Specimen) -> None:
    flip(specimen.last_segment, offset_of(specimen.records[3:], 1) + 60)
    ended = verify(specimen)
    assert ended.code == 1
    assert "frames: segment 3 offset " in ended.out
    assert "damaged (durable once, damaged since)" in ended.out
    assert "order: seq 4 to 4 are missing" in ended.out
    assert "a check failed" in ended.out


def test_what_was_shipped_is_not_missing(specimen: Specimen) -> None:
    (specimen.home(specimen.sealed) / f"seg-{0:020d}.log").unlink()
    ended = verify(specimen, "--json")
    (found,) = states(ended).values()
    assert (ended.code, found["order"], found["signatures"]) == (0, "true", "true")
    assert ended.json["instances"][0]["notes"] == ["seq 0 to 2 are not here: shipped and deleted"]


def test_usage_is_2(specimen: Specimen) -> None:
    for options in (("--root", "nonsense"), ("--instance", "unheard-of")):
        ended = verify(specimen, *options)
        assert (ended.code, ended.out) == (2, "")
        assert "Error: " in ended.err
