"""``gatepost tail``: what changes is shown until somebody has seen enough."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest
from rich.console import Console

from gatepost.tail import View, decision_table, spool_panel
from gateway.wire import Incoming
from sidecar.recent import RecentDecision, RecentDecisions
from sidecar.status import SpoolReport
from tests import specimens
from tests.unit.gatepost.running import Handle, admin_socket, gatepost
from tests.unit.sidecar.operators_end import Daemon
from tests.unit.sidecar.status_specimen import RECOVERY, SHIPPING, SPOOL

REPORT = SpoolReport(spool=SPOOL, shipping=SHIPPING, recovery=RECOVERY, alarms=())


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "a" / "s")


def decision(**changes: object) -> RecentDecision:
    recent = RecentDecisions()
    recent.add(specimens.DECISION)
    return msgspec.structs.replace(recent.newest()[0], **changes)


def printed(thing: object) -> str:
    stream = io.StringIO()
    Console(file=stream, width=250, color_system=None).print(thing)
    return stream.getvalue()


def for_a_while(daemon: Daemon, then: Callable[[], None] | None = None) -> Handle:
    """Serve a follower for a fifth of a second; then its answer breaks off.

    ``then``: what happens instead, once, and the follower hears no more.
    """
    operators = daemon.operators(follow_seconds=0.05)

    async def handle(incoming: Incoming) -> None:
        with anyio.move_on_after(0.2):
            await operators.handle(incoming)
        if then is not None:
            if incoming.head.path == "/spool/status":
                then()
            await anyio.sleep_forever()
        incoming.abort()

    return handle


def test_json_lines_are_the_daemons_own(path: str) -> None:
    daemon = Daemon()
    daemon.recent.add(specimens.DECISION)
    with admin_socket(daemon, path, for_a_while(daemon)):
        spool = gatepost("tail", "--socket", path, "--json")
        decisions = gatepost("tail", "--socket", path, "--json", "--decisions")
    lines = spool.out.splitlines()
    assert len(lines) >= 2, "one per change, and one now and then"
    assert all(msgspec.json.decode(line, type=SpoolReport) == REPORT for line in lines)
    (line,) = decisions.out.splitlines()
    assert msgspec.json.decode(line, type=RecentDecision).id == specimens.DECISION.id
    for ended in (spool, decisions):
        assert ended.code == 2
        assert "Traceback" not in ended.err


def test_the_live_view_shows_both_until_the_daemon_ends(path: str) -> None:
    daemon = Daemon()
    daemon.recent.add(specimens.DECISION)
    with admin_socket(daemon, path, for_a_while(daemon)):
        ended = gatepost("tail", "--socket", path)
    assert ended.code == 2
    assert "spool of" in ended.out
    assert "Traceback" not in ended.out + ended.err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_interrupt_is_how_it_ends(path: str, options: list[str]) -> None:
    daemon = Daemon()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        signal.pthread_kill(main, signal.SIGINT)

    with admin_socket(daemon, path, for_a_while(daemon, interrupt)):
        ended = gatepost("tail", "--socket", path, *options)
    assert (ended.code, ended.err) == (0, "")


def test_decisions_alone_need_json(path: str) -> None:
    ended = gatepost("tail", "--socket", path, "--decisions")
    assert ended.code == 2
    assert "--decisions goes with --json" in ended.err


def test_without_a_daemon_it_is_2(path: str) -> None:
    for options in ([], ["--json"]):
        ended = gatepost("tail", "--socket", path, *options)
        assert ended.code == 2
        assert "is the daemon running?" in ended.err


def test_a_decision_is_a_row() -> None:
    text = printed(decision_table([decision()]))
    for words in ("claims-bot", "alice@acme.example", "confidential pci.card pii.email", "allow"):
        assert words in text


def test_what_a_caller_asked_for_is_shown_and_not_obeyed() -> None:
    asked = "gpt[/green][bold]\x1b]0;title\x07"
    text = printed(decision_table([decision(tool=None, model=asked, person=None)]))
    assert "gpt[/green][bold]\\x1b]0;title\\x07" in text
    assert "\x1b" not in text


def test_the_spool_shows_its_alarms() -> None:
    assert "waiting for the daemon" in printed(spool_panel(None))
    assert "acknowledged 39" in printed(spool_panel(REPORT))
    spool = msgspec.structs.replace(SPOOL, bytes_max=0)
    shipping = msgspec.structs.replace(
        SHIPPING, last_error="[503]", consecutive_failures=2, circuit="open"
    )
    report = SpoolReport(
        spool=spool, shipping=shipping, recovery=RECOVERY, alarms=("not_shipping", "slow_disk")
    )
    text = printed(spool_panel(report))
    assert "not_shipping; slow_disk; [503]" in text
    assert "circuit open" in text


def test_the_view_keeps_the_newest_lines_only() -> None:
    view = View()
    view.note(REPORT)
    for number in range(100):
        view.add(decision(reason=f"reason-{number:03}"))
    text = printed(view)
    assert "reason-099" in text
    assert "reason-080" in text
    assert "reason-079" not in text
