"""What must hold of a store after any faults, asked the way an auditor would.

Owns: answered calls against the store's decisions, and the offline verifier over a whole export.
Refuses: saying how the faults came about.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.verdicts import Report
from tests.integration.system import Central, Daemon
from tests.integration.waiting import eventually

_VERIFY_SECONDS_MAX = 60
_SHIP_SECONDS_MAX = 60.0


def shipped(daemon: Daemon) -> None:
    """Wait until nothing is left to send: of this instance and of those before it."""
    eventually(
        lambda: daemon.status().shipping.backlog_records == 0,
        "everything shipped",
        _SHIP_SECONDS_MAX,
    )


def nothing_lost_or_doubled(services: Central, answered: Sequence[str]) -> None:
    """Each answered call has its decision in the store, once."""
    decisions = [item["id"] for item in services.records.all(kind="decision")]
    assert len(set(answered)) == len(answered)
    assert set(answered) <= set(decisions)
    assert len(set(decisions)) == len(decisions)


def report(services: Central, directory: Path) -> Report:
    """``gatepost verify`` over everything that the store has; no verdict is false."""
    before = len(services.records.all())
    export = services.records.export(directory / "all.ndjson")
    command = ["verify", str(export), "--root", services.home.root_fingerprint, "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "gatepost", *command],
        capture_output=True,
        timeout=_VERIFY_SECONDS_MAX,
        check=False,
    )
    assert ended.stdout, ended.stderr
    found = msgspec.json.decode(ended.stdout, type=Report)
    assert [verdict for verdict in found.verdicts if verdict.state == "false"] == []
    assert ended.returncode in (0, 3)
    # Looking is recorded too, in the store's own chain.
    assert found.records >= before
    return found
