"""The one exception that ends a command with exit code 2.

Owns: the type. Refuses: exit code 1, which means that a check failed; a command exits with it
itself.
"""

from __future__ import annotations

import click


class InputOutputError(click.ClickException):
    """Something outside could not be read, written or reached; the message says what to do."""

    exit_code = 2
