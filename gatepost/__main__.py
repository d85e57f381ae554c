"""``python -m gatepost``: the same as the ``gatepost`` command."""

from __future__ import annotations

from gatepost.cli import main

main(prog_name="gatepost")
