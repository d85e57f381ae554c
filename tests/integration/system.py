"""A whole system of real processes: far ends, central services, and daemons beside them.

Owns: directories, configurations and the life of each process. Refuses: stand-ins for anything
of ours; what runs here is what an operator starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from gatepost import admin_socket, stack
from gatepost.central_client import CentralClient
from gatepost.home import SCOPE, Home
from gatepost.process import Child, Children
from gatepost.stack import FAR_END_KEY, Ports, Refresh, Upstreams
from gateway import issuing, policy
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy
from sidecar.drain import DrainProgress
from sidecar.recent import RecentDecision
from sidecar.status import DaemonStatus
from tests.integration.far_ends import FarEnd, far_end
from tests.integration.records import Records
from tests.integration.rules import rules
from tests.integration.tokens import TokenIssuer
from tests.integration.waiting import eventually

REFRESH: Final = Refresh(0.1, 0.2)
_POLICY_PATH: Final = f"/v1/policy/{SCOPE.replace('/', '%2F')}"

Edit = Callable[[str], str]
"""A change of a configuration's text."""


def same(text: str) -> str:
    """The configuration as it is."""
    return text


def replaced(**values: str) -> Edit:
    """A change of ``name = value`` lines: of the first of each name, which must be there."""

    def edit(text: str) -> str:
        for name, value in values.items():
            line = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
            text = text.replace(line, f"{name} = {value}", 1)
        return text

    return edit


def appended(addition: str, *edits: Edit) -> Edit:
    """``addition`` at the end, after ``edits``."""

    def edit(text: str) -> str:
        for one in edits:
            text = one(text)
        return text + addition

    return edit


def hurried(text: str) -> str:
    """A stop that takes two seconds at most, with calls open or records unsent."""
    return "grace_seconds = 2.0\n" + text


def impatient(text: str) -> str:
    """A start that hardly waits for a certificate that is not to be had."""
    return text.replace("[enrolment]\n", "[enrolment]\nwait_ms = 200\n")


class FarEnds:
    """The model provider and the tool server, shared by every system of a run."""

    def __init__(
        self, provider: FarEnd, tools: FarEnd, key_file: Path, issuer: TokenIssuer
    ) -> None:
        self.provider = provider
        self.tools = tools
        self.key_file = key_file
        self.issuer = issuer
        self.jwks = issuer.write_jwks(key_file.with_name("jwks.json"))

    def total(self) -> int:
        """All requests that reached either."""
        return self.provider.total() + self.tools.total()

    def upstreams(self) -> Upstreams:
        return Upstreams(
            openai_url=self.provider.url,
            openai_key=self.key_file,
            anthropic_url=self.provider.url,
            anthropic_key=self.key_file,
            tools_url=f"{self.tools.url}/mcp",
        )


@contextmanager
def far_ends(directory: Path) -> Iterator[FarEnds]:
    """Both far ends, with a key file in ``directory``."""
    key_file = directory / "company.key"
    key_file.write_text(FAR_END_KEY)
    key_file.chmod(0o600)
    with ExitStack() as running:
        provider = running.enter_context(far_end("provider", "--key-file", str(key_file)))
        tools = running.enter_context(far_end("tools"))
        yield FarEnds(provider, tools, key_file, TokenIssuer())


class Central:
    """Policy service, issuer and record store of one development home."""

    def __init__(self, directory: Path, ends: FarEnds, children: Children) -> None:
        self.home = Home(directory)
        self.ends = ends
        self.url = ""
        self.version = 0
        self._children = children
        self._clock = SystemClock()
        self._child: Child | None = None
        self.home.make(SystemEntropy(), self._clock.wall_us(), rules())

    @property
    def client(self) -> CentralClient:
        return CentralClient(self.url, self.home.operator_token.read_text().strip())

    @property
    def records(self) -> Records:
        return Records(self.client)

    def start(self, edit: Edit = same) -> None:
        """Start the services; again on the same port after ``kill``."""
        stack.write_central(self.home, int(self.url.rpartition(":")[2]) if self.url else 0)
        self.home.central_toml.write_text(edit(self.home.central_toml.read_text()))
        self._child = stack.run_central(self._children, self.home)
        self.url = str(self._child.wait_ready()["url"])

    def kill(self) -> None:
        """The services are gone from one moment to the next."""
        assert self._child is not None
        self._child.stop(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal to the services and go on."""
        assert self._child is not None
        os.kill(self._child.pid, number)

    def publish(self, text: bytes, home: Home | None = None) -> int:
        """Sign ``text`` as the next version and publish it; the version."""
        issued = self.signed(text, self.version + 1, home)
        self.client.post(f"{_POLICY_PATH}/bundles", issued.envelope)
        self.version += 1
        return self.version

    def signed(self, text: bytes, version: int, home: Home | None = None) -> issuing.Issued:
        """A bundle signed by the bundle key of ``home`` (ours, if None)."""
        signing = home or self.home
        policy.decode_policy(text)
        signing.policy_json.write_bytes(text)
        return signing.bundle(version, self._clock.wall_us())

    def lock(self, reason: str) -> None:
        """Stop every call of the scope."""
        self._change_lock("PUT", msgspec.json.encode({"reason": reason, "ticket": "T-1"}))

    def unlock(self) -> None:
        self._change_lock("DELETE", None)

    def _change_lock(self, method: str, body: bytes | None) -> None:
        token = self.home.operator_token.read_text().strip()
        request = urllib.request.Request(
            f"{self.url}{_POLICY_PATH}/lock",
            data=body,
            method=method,
            headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200


@contextmanager
def central(
    directory: Path, ends: FarEnds, *, text: bytes | None, edit: Edit = same
) -> Iterator[Central]:
    """Running central services with the policy ``text`` published, or (None) with none."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "logs").mkdir(mode=0o700, exist_ok=True)
    with Children(directory / "logs") as children:
        services = Central(directory, ends, children)
        services.start(edit)
        if text is not None:
            services.publish(text)
        yield services


class Site:
    """A place where one daemon after the other runs: its configuration, spool and sockets."""

    def __init__(self, directory: Path, central: Central, children: Children, edit: Edit) -> None:
        self.central = central
        self.home = Home(directory)
        (directory / "run").mkdir()
        # Keys, root and the registered host key are those of the central services' home.
        self.home.keys, self.home.roots = central.home.keys, central.home.roots
        self.home.host_key = central.home.host_key
        self.home.one_time_token = central.home.one_time_token
        self._children = children
        self.configure(edit)

    def configure(self, edit: Edit = same, *, url: str | None = None) -> None:
        """Write the configuration anew; ``url``: central services other than our own."""
        ends = self.central.ends
        stack.write_sidecar(
            self.home, url or self.central.url, ends.upstreams(), Ports(), REFRESH, ends.jwks
        )
        toml = self.home.sidecar_toml
        toml.write_text(edit(toml.read_text()))

    def start(self) -> Daemon:
        """Start a daemon here and wait until it listens."""
        return Daemon(self, stack.start_daemon(self._children, self.home))

    def begin_start(self) -> Child:
        """Start a daemon here and do not wait for it."""
        arguments = ["run", "--config", str(self.home.sidecar_toml)]
        return self._children.start("sidecar", "gatepost", arguments)

    def drain(self, *arguments: str) -> Drained:
        """Run ``gatepost drain`` here until it ends."""
        ended = subprocess.run(
            self._drain_command(*arguments), capture_output=True, timeout=60, check=False
        )
        lines = [
            msgspec.json.decode(line, type=DrainProgress) for line in ended.stdout.splitlines()
        ]
        return Drained(code=ended.returncode, told=lines, err=ended.stderr.decode())

    @contextmanager
    def watching(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A ``gatepost drain --watch`` that runs here."""
        command = self._drain_command("--watch", "--every-seconds", "0.2", *arguments)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as watcher:
            try:
                yield watcher
            finally:
                watcher.kill()

    def _drain_command(self, *arguments: str) -> list[str]:
        config = str(self.home.sidecar_toml)
        return [sys.executable, "-m", "gatepost", "drain", "--config", config, *arguments]

    def spooled(self) -> dict[str, bytes]:
        """Every segment in the spool, by its path there."""
        root = self.home.directory / "spool"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("*/seg-*")}

    def log(self) -> str:
        """What daemons wrote on standard error here."""
        return (self.home.logs / "sidecar.log").read_text()


class Drained(msgspec.Struct, frozen=True):
    """A ``gatepost drain`` that has ended: what it told, line by line."""

    code: int
    told: list[DrainProgress]
    err: str


@contextmanager
def site(directory: Path, central: Central, edit: Edit = same) -> Iterator[Site]:
    """A place for daemons in ``directory``; those still running are ended afterwards."""
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / "logs").mkdir(mode=0o700, exist_ok=True)
    with Children(directory / "logs") as children:
        yield Site(directory, central, children, edit)


class Daemon:
    """A running daemon as operators and agents see it."""

    def __init__(self, place: Site, running: stack.Daemon) -> None:
        self.site = place
        self.child = running.child
        self.instance = running.instance
        self.port = running.tcp_port
        self.probe_port = running.probe_port
        self.socket = str(place.home.agent_socket)
        self.admin = str(place.home.admin_socket)

    @property
    def records(self) -> Records:
        return self.site.central.records

    @property
    def openai_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/openai/v1"

    @property
    def tools_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp/orders"

    def status(self) -> DaemonStatus:
        return msgspec.json.decode(admin_socket.ask(self.admin, "/status"), type=DaemonStatus)

    def decided(self) -> int:
        """All rulings so far."""
        return sum(self.status().counters.decisions.values())

    def turned_away(self) -> dict[str, int]:
        """Code → how often, over all listeners."""
        found = self.status().counters.turned_away
        return {code: sum(by_listener.values()) for code, by_listener in found.items()}

    def newest(self) -> RecentDecision:
        """The last ruling."""
        body = admin_socket.ask(self.admin, "/decisions")
        return msgspec.json.decode(body, type=list[RecentDecision])[-1]

    def refresh_policy(self) -> str:
        """Ask for policy now; what came of it."""
        answer = msgspec.json.decode(admin_socket.ask(self.admin, "/policy/refresh", "POST"))
        return str(answer["result"])

    def probe(self, path: str) -> tuple[int, str]:
        """Status and text of a request to the probe port."""
        url = f"http://127.0.0.1:{self.probe_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait_status(
        self, holds: Callable[[DaemonStatus], bool], what: str, seconds: float = 20.0
    ) -> DaemonStatus:
        """The first status for which ``holds``, within ``seconds``."""

        def ask() -> DaemonStatus | None:
            status = self.status()
            return status if holds(status) else None

        return eventually(ask, what, seconds)

    def signal(self, number: int) -> None:
        """Send a signal and go on."""
        os.kill(self.child.pid, number)

    def wait_exit(self) -> int:
        """The exit code, once it has ended."""
        eventually(lambda: self.child.returncode is not None, "the daemon's end")
        assert self.child.returncode is not None
        return self.child.returncode

    def kill(self) -> None:
        """SIGKILL: the machine took it away."""
        self.child.stop(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self.child.stop()


def metrics(text: str) -> Mapping[str, float]:
    """Prometheus text → sample with labels → value."""
    samples = (line.rpartition(" ") for line in text.splitlines() if line[:1] not in ("", "#"))
    return {name: float(value) for name, _, value in samples}
