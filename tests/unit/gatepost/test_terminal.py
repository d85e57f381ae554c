"""Text of others is shown and never obeyed."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from gatepost.terminal import cell, plain, table_console


def printed(text: str) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=2_000, force_terminal=False, color_system=None)
    table = Table(show_header=False, box=None)
    table.add_row(cell(text))
    console.print(table)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gpt-4o", "gpt-4o"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("[/red]", "[/red]"),
        ("\x1b[2Jx", "\\x1b[2Jx"),
        ("a\nb\r\tc", "a\\x0ab\\x0d\\x09c"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2066x\u2028y", "\\u2066x\\u2028y"),
        ("naïve 模型", "naïve 模型"),
        ("\udcff", "\\udcff"),
    ],
)
def test_text_is_shown_as_it_is_or_escaped(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert printed(text).strip() == shown


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=60))
def test_no_text_breaks_a_table_or_commands_a_terminal(text: str) -> None:
    shown = printed(text)
    assert shown.count("\n") == 1
    assert {unicodedata.category(one) for one in plain(text)}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})


def test_tables_fold_by_the_width_of_a_terminal_and_of_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert not table_console().is_terminal
    assert table_console().width == table_console(stderr=True).width == 160
    monkeypatch.setenv("COLUMNS", "66")
    assert table_console().width == 66
