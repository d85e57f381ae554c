"""What operators use: commands with their exit codes, probes, metrics, and who may ask."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gatepost import admin_socket
from gatepost.faults import InputOutputError
from tests.integration import raw
from tests.integration.conftest import MakeSite
from tests.integration.rules import DENIED_MODEL, MODEL
from tests.integration.system import Daemon, metrics
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration


def _gatepost(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gatepost", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


# -- status ---------------------------------------------------------------------------------


def test_status_shows_a_ready_daemon(daemon: Daemon) -> None:
    shown = _gatepost("status", "--config", daemon.site.home.sidecar_toml)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "ready" in shown.stdout
    told = _gatepost("status", "--socket", daemon.admin, "--json")
    assert told.returncode == 0
    document = msgspec.json.decode(told.stdout)
    assert (document["ready"], document["instance"]["id"]) == (True, daemon.instance)
    assert document["shipping"]["unproven"] is None


def test_status_of_no_daemon_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    asked = _gatepost("status", "--socket", tmp_path / "absent.sock")
    assert asked.returncode == 2
    assert "is the daemon running?" in asked.stderr
    assert "Traceback" not in asked.stderr


# -- tail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [[], ["--decisions"]])
def test_tail_prints_a_line_of_json_per_change(daemon: Daemon, extra: list[str]) -> None:
    command = [sys.executable, "-m", "gatepost", "tail", "--socket", daemon.admin, "--json"]
    with subprocess.Popen([*command, *extra], stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        reply = raw.ask(daemon.port, raw.chat_request(DENIED_MODEL))
        wanted = reply.decision_id if extra else daemon.instance
        lines: list[str] = []
        while not lines or wanted not in lines[-1]:
            lines.append(following.stdout.readline())
            assert lines[-1], "tail ended"
        following.terminate()
        following.wait(10)
    last = msgspec.json.decode(lines[-1])
    if extra:
        assert (last["outcome"], last["model"]) == ("deny", DENIED_MODEL)
    else:
        assert last["spool"]["instance"] == daemon.instance


# -- env, init, check-config ----------------------------------------------------------------


def test_env_prints_what_a_shell_needs(daemon: Daemon) -> None:
    printed = _gatepost("env", "--config", daemon.site.home.sidecar_toml)
    assert printed.returncode == 0
    evaluated = subprocess.run(
        ["sh", "-c", f'{printed.stdout}\nprintf "%s %s" "$OPENAI_BASE_URL" "$NO_PROXY"'],
        capture_output=True,
        text=True,
        check=True,
    )
    base_url, no_proxy = evaluated.stdout.split()
    assert base_url.endswith("/openai/v1")
    assert "127.0.0.1" in no_proxy
    assert _gatepost("env", "--config", "/nowhere.toml").returncode == 2


def test_a_new_configuration_is_usable_once_its_files_are_there(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    options = ["--state", str(tmp_path / "state"), "--runtime", str(tmp_path / "run")]
    options += ["--root", "sha256:" + "1" * 64]
    assert _gatepost("init", path, *options).returncode == 0
    assert _gatepost("init", path, *options).returncode == 2
    unready = _gatepost("check-config", path, "--json")
    assert unready.returncode == 1
    assert "openai.key" in unready.stdout
    for name in ("state", "run"):
        (tmp_path / name).mkdir()
    key = tmp_path / "state" / "openai.key"
    key.touch(mode=0o600)
    key.write_text("sk-made-up")
    ready = _gatepost("check-config", path, "--json")
    assert ready.returncode == 0, ready.stdout
    assert "sk-made-up" not in ready.stdout


def test_check_config_names_what_is_wrong(
    daemon: Daemon, make_site: MakeSite, tmp_path: Path
) -> None:
    good = make_site().home.sidecar_toml
    assert _gatepost("check-config", good).returncode == 0
    keyless = _gatepost("check-config", daemon.site.home.sidecar_toml)
    assert keyless.returncode == 1
    assert "identity.issuers.keyless.jwks_file" in keyless.stdout
    bad = tmp_path / "bad.toml"
    bad.write_text(good.read_text() + "\n[unheard_of]\n")
    checked = _gatepost("check-config", bad)
    assert checked.returncode == 1
    assert "unheard_of" in checked.stderr
    assert _gatepost("check-config", tmp_path / "absent.toml").returncode == 2


# -- verify ---------------------------------------------------------------------------------


def test_verify_tells_true_false_and_unreadable_apart(make_site: MakeSite, tmp_path: Path) -> None:
    daemon = make_site().start()
    raw.ask(daemon.port, raw.chat_request(MODEL))
    assert daemon.stop() == 0
    root = daemon.site.central.home.root_fingerprint
    export = daemon.records.export(tmp_path / "export.ndjson")
    shown = _gatepost("verify", export, "--root", root, "--json")
    # The session's daemon still runs, so its chain is open; nothing may be false.
    assert shown.returncode in (0, 3), shown.stdout
    report = msgspec.json.decode(shown.stdout)
    assert not [one["name"] for one in report["verdicts"] if one["state"] == "false"]
    flipped = bytearray(export.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / "flipped.ndjson").write_bytes(flipped)
    assert _gatepost("verify", tmp_path / "flipped.ndjson", "--root", root).returncode == 1
    other_root = "sha256:" + "0" * 64
    assert _gatepost("verify", export, "--root", other_root).returncode == 1
    assert _gatepost("verify", tmp_path / "absent", "--root", root).returncode == 2
    assert _gatepost("verify", export, "--root", "nonsense").returncode == 2
    assert _gatepost("verify", export).returncode == 2


# -- probes and metrics ---------------------------------------------------------------------


def test_probes_answer_and_nothing_else_does(daemon: Daemon) -> None:
    assert daemon.probe("/livez") == (200, "ok\n")
    assert daemon.probe("/readyz") == (200, "ok\n")
    for path in ("/", "/status", "/policy/status", "/openai/v1/models", "/metrics/../status"):
        assert daemon.probe(path)[0] in (400, 404)
    refused = raw.ask(daemon.probe_port, raw.request("POST", "/readyz"))
    assert refused.status == 405


def test_metrics_count_what_happened(daemon: Daemon) -> None:
    def count(name: str) -> float:
        status, text = daemon.probe("/metrics")
        assert status == 200
        found = metrics(text)
        return sum(value for sample, value in found.items() if name in sample)

    before = count('outcome="deny"')
    raw.ask(daemon.port, raw.chat_request(DENIED_MODEL))
    assert count('outcome="deny"') == before + 1
    text = daemon.probe("/metrics")[1]
    assert all(
        line.startswith(("#", "gatepost_", "python_", "process_"))
        for line in text.split("\n")
        if line
    )
    assert DENIED_MODEL not in text


# -- who may ask ----------------------------------------------------------------------------


def test_sockets_have_exactly_the_documented_modes(daemon: Daemon) -> None:
    assert _mode(daemon.admin) == 0o600
    assert _mode(daemon.socket) == 0o660
    assert _mode(Path(daemon.socket).parent) == 0o750


def test_operators_paths_are_not_served_to_agents(daemon: Daemon) -> None:
    for address in (daemon.port, daemon.socket):
        reply = raw.ask(address, raw.request("GET", "/status"), "GET")
        assert (reply.status, reply.code) == (404, "unknown_route")
    with pytest.raises(InputOutputError, match="404"):
        admin_socket.ask(daemon.admin, "/openai/v1/models")


def test_policy_can_be_refreshed_by_hand(daemon: Daemon) -> None:
    result = eventually(
        lambda: (answer := daemon.refresh_policy()) != "too_soon" and answer, "a refresh"
    )
    assert result in ("unchanged", "not_modified", "refreshed")


def test_the_log_is_lines_of_json_without_anything_of_a_call(daemon: Daemon) -> None:
    secret = "a-word-that-only-this-call-has"
    headers = {"Authorization": f"Bearer {secret}", "X-Note": secret}
    raw.ask(daemon.port, raw.chat_request(DENIED_MODEL, text=secret, headers=headers))
    raw.ask(daemon.port, raw.request("GET", f"/{secret}?{secret}"))
    log = daemon.site.log()
    assert secret not in log
    for line in log.splitlines():
        assert {"time", "level", "event"} <= set(msgspec.json.decode(line))
