"""What whoever keeps the record store does beside a running one, with records of real calls."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatepost.home import TENANT
from tests.integration import raw
from tests.integration.rules import MODEL
from tests.integration.system import Central, Daemon

pytestmark = pytest.mark.integration

PROMPT = "Wie viel verdient Jürgen? \U0001f914"


def _store(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gatepost", "store", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _searched(central: Central, daemon: Daemon, **members: str) -> set[str]:
    body = msgspec.json.encode({**members, "filters": {"tenant": TENANT}})
    answer: dict[str, Any] = msgspec.json.decode(central.client.post("/v1/search", body))
    assert daemon.instance not in {one["instance"] for one in answer["without"]}
    return {item["id"] for item in answer["items"]}


def test_a_call_is_found_by_its_prompt_and_by_its_exact_body(
    central: Central, daemon: Daemon
) -> None:
    reply = raw.ask(daemon.port, raw.chat_request(MODEL, text=PROMPT))
    assert reply.status == 200
    central.records.decision(reply.decision_id)
    assert reply.decision_id in _searched(central, daemon, text=PROMPT)
    assert _searched(central, daemon, text=PROMPT.lower()) == set()
    exact = base64.b64encode(raw.chat(MODEL, PROMPT, stream=False)).decode()
    assert reply.decision_id in _searched(central, daemon, body_base64=exact)


def test_a_copy_of_the_running_store_holds_its_calls_and_is_true(
    central: Central, daemon: Daemon, tmp_path: Path
) -> None:
    reply = raw.ask(daemon.port, raw.chat_request(MODEL))
    central.records.decision(reply.decision_id)
    copy = tmp_path / "copy"
    made = _store("backup", copy, "--config", central.home.central_toml)
    assert (made.returncode, made.stderr) == (0, "")
    roots = ("--roots", central.home.roots, "--root", central.home.root_fingerprint)
    checked = _store("restore-check", copy, *roots)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.endswith("Everything is true.\n")
    assert reply.decision_id.encode() in (copy / "records.db").read_bytes()
    with (copy / "records.db").open("r+b") as file:
        data = file.read()
        file.seek(data.index(reply.decision_id.encode()))
        file.write(b"9")
    assert _store("restore-check", copy / "records.db").returncode == 1
    assert _store("migrate", "--config", central.home.central_toml).returncode == 0, "nothing to do"
