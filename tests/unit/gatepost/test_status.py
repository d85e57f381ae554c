"""``gatepost status``: one look at a daemon, with the exit code to match."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from gatepost.status import show
from gateway.io.credentials import CredentialStatus
from gateway.wire import Answer, Incoming
from sidecar.status import DaemonStatus
from spool.recover import LeftAlone
from spool.status import Violation
from tests.unit.gatepost.running import admin_socket, gatepost
from tests.unit.sidecar.config_text import WHOLE, changed, toml
from tests.unit.sidecar.operators_end import Daemon
from tests.unit.sidecar.status_specimen import POLICY, RECOVERY, SHIPPING, STATUS


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "a" / "admin.sock")


@pytest.fixture
def daemon(path: str) -> Iterator[Daemon]:
    daemon = Daemon()
    with admin_socket(daemon, path):
        yield daemon


def unready(**changes: object) -> DaemonStatus:
    told = {"ready": False, "not_ready": ("policy is empty", "draining"), **changes}
    return msgspec.structs.replace(STATUS, **told)


def shown(status: DaemonStatus) -> str:
    stream = io.StringIO()
    show(status, Console(file=stream, width=300, color_system=None))
    return stream.getvalue()


def test_a_ready_daemon_is_0_and_one_that_is_not_is_1(daemon: Daemon, path: str) -> None:
    ended = gatepost("status", "--socket", path)
    assert (ended.code, ended.err) == (0, "")
    assert "ready" in ended.out
    daemon.status = unready()
    ended = gatepost("status", "--socket", path)
    assert ended.code == 1
    assert "policy is empty; draining" in ended.out


def test_json_is_the_daemons_own_document(daemon: Daemon, path: str) -> None:
    ended = gatepost("status", "--socket", path, "--json")
    assert ended.code == 0
    assert msgspec.json.decode(ended.out, type=DaemonStatus) == STATUS
    daemon.status = unready()
    ended = gatepost("status", "--socket", path, "--json")
    assert (ended.code, ended.json["not_ready"]) == (1, ["policy is empty", "draining"])


def test_the_socket_stands_in_the_configuration(daemon: Daemon, path: str, tmp_path: Path) -> None:
    config = tmp_path / "sidecar.toml"
    config.write_text(toml(changed("listen.admin_socket", path, WHOLE)))
    assert gatepost("status", "--config", config).code == 0
    absent = gatepost("status", "--config", tmp_path / "absent.toml")
    assert absent.code == 2
    assert "name the daemon's configuration with --config" in absent.err


def test_without_a_daemon_it_is_2_and_says_what_to_do(tmp_path: Path) -> None:
    ended = gatepost("status", "--socket", tmp_path / "absent.sock")
    assert ended.code == 2
    assert "is the daemon running?" in ended.err


@pytest.mark.parametrize("body", [b"{}", b"not json", b"\xff", b'{"version":1}'])
def test_a_daemon_of_another_version_is_said_to_be_one(tmp_path: Path, body: bytes) -> None:
    async def handle(incoming: Incoming) -> None:
        await incoming.answer(Answer(status=200, headers=(), body=body))

    path = str(tmp_path / "a" / "s")
    with admin_socket(Daemon(), path, handle):
        ended = gatepost("status", "--socket", path)
    assert ended.code == 2
    assert "not a daemon's of this version" in ended.err


def test_what_needs_attention_is_told() -> None:
    instance = msgspec.structs.replace(
        STATUS.instance,
        certificate_until=None,
        uncertified_seconds=75.4,
        enrolment_error="403 attestation_invalid: no",
    )
    text = shown(
        unready(
            draining=True,
            clock_suspect=True,
            instance=instance,
            policy=msgspec.structs.replace(
                POLICY,
                state="locked",
                version=None,
                lock_reason="incident 7",
                failures_in_a_row=2,
                last_error="unreachable: connect",
            ),
            alarms=("clock_suspect", "not_shipping", "slow_disk"),
            shipping=msgspec.structs.replace(
                SHIPPING,
                state="waiting",
                circuit="open",
                next_attempt_seconds=12.0,
                last_error="503",
                unproven="the store proves nothing of seq 7",
            ),
            recovery=msgspec.structs.replace(
                RECOVERY,
                violations=(Violation(instance="x1", first_seq=9, rule="damaged"),),
                left_alone=(LeftAlone("x2", "others may write to it"),),
            ),
            credentials=(
                CredentialStatus(id="openai", path="/k", problem="/k is empty", warning=None),
                CredentialStatus(id="other", path="/o", problem=None, warning=None),
            ),
        )
    )
    for words in (
        "none for 75 s: 403 attestation_invalid: no",
        "incident 7",
        "unreachable: connect",
        "slow_disk",
        "not_shipping",
        "clock_suspect",
        "circuit open for 12 s  503",
        "1 instances, 7 records",
        "x1: damaged from seq 9",
        "x2: others may write to it",
        "credential openai",
        "/k is empty",
        "5 unknown_route",
        "20 allow, 2 deny",
        "the store proves nothing of seq 7",
    ):
        assert words in text
    assert "credential other" not in text


def test_a_certificate_that_has_ended_is_not_shown_as_one() -> None:
    instance = msgspec.structs.replace(STATUS.instance, uncertified_seconds=30.0)
    assert "none for 30 s" in shown(msgspec.structs.replace(STATUS, instance=instance))
    assert "until 2026-11-24" in shown(STATUS)


def test_words_of_others_are_not_obeyed() -> None:
    policy = msgspec.structs.replace(POLICY, lock_reason="[/red]\x1b[2J[bold]")
    text = shown(msgspec.structs.replace(STATUS, policy=policy))
    assert "[/red]\\x1b[2J[bold]" in text
    assert "\x1b" not in text
