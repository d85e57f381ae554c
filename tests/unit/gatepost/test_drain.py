"""``gatepost drain``: what is shown of a drain, and what its exit code says."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from rich.progress import Progress

from gatepost.drain import Bar, left_texts, summary
from sidecar.drain import DrainProgress, Left
from spool import frame
from tests.unit.gatepost.running import gatepost
from tests.unit.sidecar.config_text import SMALLEST, changed, toml

INSTANCE = frame.instance_text(bytes(16))
ENDED = DrainProgress(
    phase="ended",
    instance=INSTANCE,
    found=3,
    gone=2,
    records=40,
    shipped=30,
    in_use=1,
    left=(Left(INSTANCE, 10, "the store answered 403 not_entitled"),),
    code=75,
)
NOTHING = msgspec.structs.replace(
    ENDED, instance=None, found=0, gone=0, records=0, shipped=0, in_use=0, left=(), code=0
)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    place = tmp_path / "spool"
    place.mkdir(mode=0o700)
    return place


@pytest.fixture
def config(tmp_path: Path, spool: Path) -> Path:
    """The smallest configuration: no route, no credential, no listener of calls."""
    path = tmp_path / "drain.toml"
    path.write_text(toml(changed("spool.directory", str(spool), SMALLEST)))
    return path


def test_with_nothing_dead_it_says_so_and_is_0(config: Path, spool: Path) -> None:
    ended = gatepost("drain", "--config", config)
    assert ended.code == 0
    assert msgspec.json.decode(ended.out, type=DrainProgress) == NOTHING
    assert list(spool.iterdir()) == [], "nothing was begun"


def test_a_volume_that_is_not_there_is_78_not_an_empty_one(config: Path, spool: Path) -> None:
    spool.rmdir()
    ended = gatepost("drain", "--config", config)
    assert (ended.code, ended.out) == (78, "")
    assert "is the volume mounted?" in ended.err


def test_what_cannot_be_touched_is_75_and_named(config: Path, spool: Path) -> None:
    (spool / INSTANCE).mkdir()
    (spool / INSTANCE).chmod(0o777)
    ended = gatepost("drain", "--config", config, "--json")
    assert ended.code == 75
    (left,) = msgspec.json.decode(ended.out, type=DrainProgress).left
    assert (left.instance, left.records) == (INSTANCE, None)
    assert "chmod go-w" in left.why
    assert f"gatepost: left: {INSTANCE}: " in ended.err


def test_the_end_is_told_in_a_line() -> None:
    assert summary(NOTHING) == "nothing dead on the volume"
    assert summary(msgspec.structs.replace(NOTHING, in_use=2)).endswith(
        "; 2 in use by live processes"
    )
    assert summary(ENDED) == (
        "2 of 3 dead instances shipped and removed, 30 of 40 records; 1 in use by live processes"
    )
    assert list(left_texts(ENDED)) == [
        f"left: {INSTANCE}: 10 records, the store answered 403 not_entitled"
    ]


def test_text_of_the_store_is_shown_and_not_obeyed() -> None:
    hostile = msgspec.structs.replace(ENDED, left=(Left(INSTANCE, None, "\x1b[2Jgone"),))
    assert list(left_texts(hostile)) == [f"left: {INSTANCE}: \\x1b[2Jgone"]


def test_a_terminal_gets_a_bar_and_the_end() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200, force_terminal=True, color_system=None)
    with Progress(console=console) as progress:
        bar = Bar(progress, "/var/spool")
        draining = msgspec.structs.replace(ENDED, phase="draining", code=None)
        bar.tell(msgspec.structs.replace(draining, phase="enrolling", shipped=0))
        bar.tell(draining)
        assert (progress.tasks[0].completed, progress.tasks[0].total) == (30, 40)
        assert "left: " not in stream.getvalue()
        bar.tell(ENDED)
    shown = stream.getvalue()
    assert f"/var/spool: {summary(ENDED)}" in shown
    assert "the store answered 403 not_entitled" in shown
