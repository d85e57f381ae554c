"""``gatepost store``: work on a record store's own database.

Owns: the list of its commands. Refuses: doing anything itself.
"""

from __future__ import annotations

from typing import ClassVar, Final

import click

from gatepost.lazy_group import LazyGroup

_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "backup": (
        "gatepost.store_backup:backup",
        "Copy the database while the store runs.",
    ),
    "restore-check": (
        "gatepost.store_restore_check:restore_check",
        "Whether a copy is whole and agrees with itself.",
    ),
    "migrate": (
        "gatepost.store_migrate:migrate",
        "Bring the database to this version, offline.",
    ),
    "log-keys": (
        "gatepost.store_log_keys:log_keys",
        "Print the keys that a witness needs.",
    ),
    "reopen-log": (
        "gatepost.store_reopen:reopen_log",
        "Open the next log after leaves were lost.",
    ),
    "install-statement": (
        "gatepost.store_install:install_statement",
        "The same, by a statement that several people signed.",
    ),
}


class _Commands(LazyGroup):
    entries: ClassVar[dict[str, tuple[str, str]]] = _COMMANDS


@click.group(cls=_Commands)
def store() -> None:
    """Work on a record store's own database."""
