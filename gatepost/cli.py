"""The ``gatepost`` command: one sub-command per noun, each imported only when it is used.

Owns: the list of commands, the page that each is explained on, and the exit codes (0 done, 1
failed, 2 usage or input/output, 3 nothing false but incomplete; daemons: 0, 74, 75, 78). Refuses:
doing anything itself.
"""

from __future__ import annotations

from typing import ClassVar, Final

import click

from gatepost.lazy_group import LazyGroup
from gateway import __version__

_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("gatepost.run:run", "Run the daemon."),
    "drain": ("gatepost.drain:drain", "Ship what dead instances left on a volume."),
    "central": ("gatepost.central:central", "Run the central services."),
    "witness": ("gatepost.witness:witness", "Cosign checkpoints of logs that others keep."),
    "issuer": ("gatepost.central:issuer", "Run the issuer, apart from the record store."),
    "demo": ("gatepost.demo:demo", "Show the whole system at work, and check it."),
    "up": ("gatepost.up:up", "Keep a whole system running on this machine."),
    "env": ("gatepost.env:env", "Print the variables that point an agent at Gatepost."),
    "init": ("gatepost.init:init", "Write a commented configuration."),
    "check-config": ("gatepost.check_config:check_config", "Check a configuration."),
    "status": ("gatepost.status:status", "Show a daemon's state."),
    "tail": ("gatepost.tail:tail", "Watch a daemon's spool and decisions."),
    "spool": ("gatepost.spool:spool", "Look at a spool on disk: ls, verify, export, quarantine."),
    "store": ("gatepost.store:store", "Work on a record store's own database."),
    "keys": ("gatepost.keys:keys", "Keys, roots, signatures of several people, revocations."),
    "policy": ("gatepost.policy:policy", "Write, test, compare and explain policy."),
    "replay": ("gatepost.replay:replay", "Put recorded decisions to a policy again."),
    "verify": ("gatepost.verify:verify", "Verify exported records, offline."),
}


_PAGES: Final[dict[str, str]] = {
    "run": "docs/operations.md",
    "drain": "docs/operations.md",
    "central": "docs/operations.md",
    "witness": "docs/operations.md",
    "issuer": "docs/operations.md",
    "demo": "docs/keys.md",
    "up": "docs/first-export.md",
    "env": "docs/first-export.md",
    "init": "docs/configuration.md",
    "check-config": "docs/configuration.md",
    "status": "docs/operations.md",
    "tail": "docs/operations.md",
    "spool": "docs/operations.md",
    "store": "docs/operations.md",
    "keys": "docs/keys.md",
    "policy": "docs/policy.md",
    "replay": "docs/policy.md",
    "verify": "docs/verifying.md",
}
"""Command → the page that shows it at work; its help ends with it."""


class _Commands(LazyGroup):
    entries: ClassVar[dict[str, tuple[str, str]]] = _COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.epilog = f"Shown at work in {_PAGES[cmd_name]}."
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gatepost")
def main() -> None:
    """An AI gateway beside the agent: decides, records, proves."""
