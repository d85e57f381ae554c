"""``gatepost keys``: keys, roots, signatures of several people, revocations.

Owns: the list of its commands. Refuses: doing anything itself.
"""

from __future__ import annotations

from typing import ClassVar, Final

import click

from gatepost.lazy_group import LazyGroup

_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("gatepost.keys_init:init", "Draw a key, a set of them, or draft the first root."),
    "sign": ("gatepost.keys_sign:sign", "Read a document in plain words, and sign it."),
    "rotate-root": ("gatepost.keys_rotate_root:rotate_root", "Draft the next root."),
    "revoke": ("gatepost.keys_revoke:revoke", "Take an instance key or a host key back."),
    "show": ("gatepost.keys_show:show", "Show a signed document and who signed it."),
}


class _Commands(LazyGroup):
    entries: ClassVar[dict[str, tuple[str, str]]] = _COMMANDS


@click.group(cls=_Commands)
def keys() -> None:
    """Draw keys, and sign roots, policies and revocations with several people."""
