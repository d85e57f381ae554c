"""``gatepost spool``: looking at a spool on disk, whether or not a daemon runs on it.

Owns: the list of its commands. Refuses: changing anything under the spool root; the daemon alone
writes there, and none of these commands takes a lock.
"""

from __future__ import annotations

from typing import ClassVar

import click

from gatepost.lazy_group import LazyGroup


class _Commands(LazyGroup):
    entries: ClassVar[dict[str, tuple[str, str]]] = {
        "ls": ("gatepost.spool_ls:ls", "List instances."),
        "verify": ("gatepost.spool_verify:verify", "Check what stands there, check by check."),
        "export": ("gatepost.spool_export:export", "Write records for `gatepost verify`."),
        "quarantine": ("gatepost.spool_quarantine:quarantine", "Show what was set aside."),
    }


@click.group(cls=_Commands)
def spool() -> None:
    """Look at a spool on disk, also while the daemon runs. Nothing there is changed."""
