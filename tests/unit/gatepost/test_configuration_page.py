"""The generated page names every setting, with its bounds and what it means."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import inspect as types

from central.config import CentralConfig
from gatepost.configuration_page import page
from sidecar.config import SidecarConfig

PAGE = page()


def settings(struct: type) -> Iterator[str]:
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    for field in info.fields:
        yield field.encode_name
        kind: Any = field.type
        while isinstance(kind, types.Metadata) or hasattr(kind, "item_type"):
            kind = kind.type if isinstance(kind, types.Metadata) else kind.item_type
        if isinstance(kind, types.StructType):
            yield from settings(kind.cls)


def row(name: str) -> str:
    """The first row of setting ``name``."""
    return next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))


def test_every_setting_of_both_daemons_is_a_row() -> None:
    for config in (SidecarConfig, CentralConfig):
        for name in settings(config):
            assert f"\n| `{name}` |" in PAGE, name


def test_a_row_says_type_default_and_bounds() -> None:
    assert row("tcp_port") == (
        "| `tcp_port` | int | `4141` | Loopback port, on 127.0.0.1 and ::1; 0 picks one; "
        "at least 0; at most 65535 |"
    )
    assert "| required |" in row("tenant")
    assert "; a name |" in row("tenant")
    assert "| not set |" in row("ca_file")
    assert "`bearer`" in row("style")


def test_tables_and_arrays_of_tables_are_told_apart() -> None:
    for heading in ("`[listen]`", "`[[listen.unix]]`", "`[[routes]]`", "`[[identity.issuers]]`"):
        assert f"\n### {heading}\n" in PAGE


def test_no_cell_breaks_its_table() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows)


def test_check_tells_whether_the_page_is_up_to_date(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    target = tmp_path / "docs" / "configuration.md"
    target.parent.mkdir()

    def run(*options: str) -> int:
        command = [sys.executable, "-m", "gatepost.configuration_page", *options]
        environment = {"PYTHONPATH": str(root)}
        return subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode

    target.write_text("old")
    assert run("--check") == 1
    assert run() == 0
    assert target.read_text() == PAGE
    assert run("--check") == 0
