"""Issuer, record store and policy service as processes of their own: what people do at any of them
is in the log.
"""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from gatepost import stack
from gatepost.central_client import CentralClient
from gatepost.home import REGION, SCOPE, TENANT, Home
from gatepost.process import Child, Children
from gateway.documents import KeyCert
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy
from gateway.seal import Signer
from tests.integration.records import Item, Records
from tests.integration.rules import rules
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration

POLICY_PATH: Final = f"/v1/policy/{SCOPE.replace('/', '%2F')}"
KEYS: Final = {
    "issuer": ("issuer", "digest_wrap"),
    "records": ("log",),
    "policy": ("policy_head",),
}


def _free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Apart:
    """The three services of one home, each with its own database and its own keys alone."""

    def __init__(self, directory: Path, children: Children) -> None:
        self.home = Home(directory)
        self.home.make(SystemEntropy(), SystemClock().wall_us(), rules())
        self._children = children
        self._running: dict[str, Child] = {}
        self._ports = {name: _free_port() for name in KEYS}
        stack.write_central(self.home, 0)
        whole = self.home.central_toml.read_text()
        for name in KEYS:
            self._file(name).write_text(self._configuration(name, whole))

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def client(self, name: str) -> CentralClient:
        return CentralClient(self.url(name), self.home.operator_token.read_text().strip())

    @property
    def records(self) -> Records:
        return Records(self.client("records"))

    def start(self, *names: str) -> None:
        for name in names:
            command = ["issuer"] if name == "issuer" else ["central"]
            arguments = [*command, "--config", str(self._file(name))]
            self._running[name] = self._children.start(name, "gatepost", arguments)
        for name in names:
            self._running[name].wait_ready()

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        self._running.pop(name).stop(number)

    def publish(self, version: int) -> None:
        bundle = self.home.bundle(version, SystemClock().wall_us())
        self.client("policy").post(f"{POLICY_PATH}/bundles", bundle.envelope)

    def lock(self, reason: str) -> None:
        body = msgspec.json.encode({"reason": reason, "ticket": "T-1"})
        self.client("policy").put(f"{POLICY_PATH}/lock", body)

    def acts(self, service: str) -> list[Item]:
        """The acts in the log of chains that the key of ``service`` attests, oldest first."""
        key = Signer(base64.b64decode(self.home.key_file(KEYS[service][0]).read_text())).kid
        found = []
        for item in self.records.all(kind="admin"):
            detail = self.records.detail(item["id"])
            envelope = detail["certificate"]
            certificate = msgspec.json.decode(base64.b64decode(envelope["payload"]), type=KeyCert)
            assert certificate.topology == "central"
            if certificate.attestation.subject == key:
                found.append(msgspec.json.decode(base64.b64decode(detail["payload"])))
        return found

    def verified(self, directory: Path) -> dict[str, Any]:
        """The report on a complete export, which must be sound."""
        export = self.records.export(directory / "export.ndjson")
        root = self.home.root_fingerprint
        ended = subprocess.run(
            [sys.executable, "-m", "gatepost", "verify", str(export), "--root", root, "--json"],
            capture_output=True,
            timeout=60,
            check=False,
        )
        report: dict[str, Any] = msgspec.json.decode(ended.stdout)
        assert ended.returncode in (0, 3), ended.stdout.decode()
        return report

    def _file(self, name: str) -> Path:
        return self.home.directory / f"{name}.toml"

    def _configuration(self, name: str, whole: str) -> str:
        others = {key for other in KEYS if other != name for key in KEYS[other]}
        kept = [
            line
            for line in whole.splitlines(True)
            if line.partition(" = ")[0] not in {"data_directory", "port", *others}
        ]
        lines = [
            f'data_directory = "{self.home.directory}/{name}"',
            f"port = {self._ports[name]}",
            *([] if name == "issuer" else [f'services = ["{name}"]']),
            *([] if name == "issuer" else [f'issuer_url = "{self.url("issuer")}"']),
            *([] if name == "records" else [f'record_store_url = "{self.url("records")}"']),
        ]
        return "\n".join(lines) + "\n" + "".join(kept)


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Apart]:
    directory = tmp_path / "home"
    directory.mkdir(mode=0o700)
    (directory / "logs").mkdir(mode=0o700)
    with Children(directory / "logs") as children:
        yield Apart(directory, children)


def _whats(acts: list[Item]) -> list[str]:
    return [act["what"] for act in acts]


def test_what_people_do_at_services_apart_stands_in_chains_of_their_own_in_the_log(
    apart: Apart, tmp_path: Path
) -> None:
    apart.start("issuer", "records", "policy")
    apart.publish(1)
    body = msgspec.json.encode(
        {"tenant": TENANT, "region": REGION, "ended_before": "2026-01-01T00:00:00.000000Z"}
    )
    apart.client("issuer").post("/v1/digest-keys/destroy", body)
    eventually(lambda: apart.acts("policy") and apart.acts("issuer"), "both acts in the log", 20)
    (published,) = apart.acts("policy")
    assert (published["who"], published["what"]) == ("operator", "policy.publish")
    assert published["parameters"]["scope"] == SCOPE
    (destroyed,) = apart.acts("issuer")
    assert (destroyed["who"], destroyed["what"]) == ("operator", "digest_keys.destroy")
    report = apart.verified(tmp_path)
    states = {one["name"]: one["state"] for one in report["verdicts"]}
    assert (states["entitlement"], states["chain"], states["inclusion"]) == ("true",) * 3


def test_an_act_outlives_a_store_that_is_away_and_a_service_that_is_killed(
    apart: Apart, tmp_path: Path
) -> None:
    apart.start("issuer", "policy")
    apart.publish(1)
    apart.lock("a leak")
    apart.stop("policy", signal.SIGKILL)
    apart.start("records", "policy")
    eventually(lambda: len(apart.acts("policy")) == 2, "both acts in the log", 20)
    assert _whats(apart.acts("policy")) == ["policy.publish", "policy.lock"]
    apart.stop("policy")
    apart.start("policy")
    apart.lock("another leak")
    eventually(lambda: len(apart.acts("policy")) == 3, "three acts in the log, each once", 20)
    # The chain of the service that was killed is closed by the one after it.
    assert len(apart.records.all(kind="recovered")) == 1
    apart.verified(tmp_path)
