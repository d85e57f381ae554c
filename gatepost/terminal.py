"""Text of others on an operator's terminal: shown, never obeyed.

Model names, reasons, error texts and records come from callers and services. Rich reads
``[…]`` as markup, and a terminal reads control characters as commands.

Owns: making such text plain, the width of tables, and one bar for long work. Refuses: everything
else about layout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

_WIDTH_WITHOUT_TERMINAL: Final = 160
_ESCAPED: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))} | {
    # Directions and line breaks that would show a text as another one (Unicode TR 36, 3.1).
    code: f"\\u{code:04x}"
    for code in (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}


def plain(text: str) -> str:
    """``text`` with control and direction characters as visible escapes."""
    return text.encode("utf-8", "backslashreplace").decode().translate(_ESCAPED)


def cell(text: str, style: str = "") -> Text:
    """``text`` for a table or panel: plain, and not read as markup."""
    return Text(plain(text), style)


def table_console(*, stderr: bool = False) -> Console:
    """Where tables go. In a file or a pipe, which have no width, lines are long enough not to
    fold, unless COLUMNS says how wide they shall be."""
    found = Console(stderr=stderr)
    if found.is_terminal or "COLUMNS" in os.environ:
        return found
    return Console(stderr=stderr, width=_WIDTH_WITHOUT_TERMINAL)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error if that is a terminal; yields what is told how much is done, of how
    much."""
    console = Console(stderr=True)
    shown = Progress(console=console, transient=True, disable=not console.is_terminal)
    with shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
