"""``gatepost policy``: what the authors of policy work with.

Owns: the list of its commands; ``sign`` is that of ``gatepost keys``, where authors look for it.
Refuses: doing anything itself.
"""

from __future__ import annotations

from typing import ClassVar, Final

import click

from gatepost.lazy_group import LazyGroup

_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("gatepost.policy_init:init", "Write a commented policy with its tests."),
    "lint": ("gatepost.policy_lint:lint", "Check a policy, and say what in it has no effect."),
    "test": ("gatepost.policy_test:test", "Run a policy's tests."),
    "explain": ("gatepost.policy_explain:explain_call", "Say which rules decide a call, and why."),
    "diff": ("gatepost.policy_diff:diff", "Say what a change widens and what it narrows."),
    "show": ("gatepost.policy_show:show", "Show a policy's rules, groups written out."),
    "build": ("gatepost.policy_build:build", "Write the bundle that people then sign."),
    "sign": ("gatepost.keys_sign:sign", "Add a signature, as gatepost keys sign."),
    "publish": ("gatepost.policy_publish:publish", "Publish a signed bundle."),
    "canary": ("gatepost.policy_canary:canary", "Offer a canary to more or fewer daemons."),
    "promote": ("gatepost.policy_canary:promote", "Put a canary in force for all."),
    "withdraw": ("gatepost.policy_canary:withdraw", "Take a canary back."),
    "export": ("gatepost.policy_export:export", "Write what daemons take from a web server."),
    "pending": ("gatepost.policy_pending:pending", "Show what waits for another person."),
    "approve": ("gatepost.policy_pending:approve", "Let pass what another person published."),
    "reject": ("gatepost.policy_pending:reject", "Drop what waits."),
    "fleet": ("gatepost.policy_fleet:fleet", "Say which daemons run which version."),
}


class _Commands(LazyGroup):
    entries: ClassVar[dict[str, tuple[str, str]]] = _COMMANDS


@click.group(cls=_Commands)
def policy() -> None:
    """Write, test, compare and explain policy, build its bundle, and publish it."""
