"""The ``gatepost`` command: one sub-command per noun, each imported only when it is used.

Owns: the list of commands and the exit codes (0 done, 1 failed, 2 usage or input/output, 3
nothing false but incomplete; daemons: 0, 74, 75, 78). Refuses: doing anything itself.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

from gateway import __version__

_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("gatepost.run:run", "Run the daemon."),
    "central": ("gatepost.central:central", "Run the central services."),
    "demo": ("gatepost.demo:demo", "Show the whole system at work, and check it."),
    "up": ("gatepost.up:up", "Keep a whole system running on this machine."),
    "env": ("gatepost.env:env", "Print the variables that point an agent at Gatepost."),
    "init": ("gatepost.init:init", "Write a commented configuration."),
    "check-config": ("gatepost.check_config:check_config", "Check a configuration."),
    "status": ("gatepost.status:status", "Show a daemon's state."),
    "tail": ("gatepost.tail:tail", "Watch a daemon's spool and decisions."),
    "verify": ("gatepost.verify:verify", "Verify exported records, offline."),
}


class LazyGroup(click.Group):
    """Imports a command's module when it is asked for: ``verify`` needs two libraries only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry[0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list with short texts, without importing eight modules to get them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gatepost")
def main() -> None:
    """An AI gateway beside the agent: decides, records, proves."""
