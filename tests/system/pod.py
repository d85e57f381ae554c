"""A pod in a box: one network, volumes with the modes that a kubelet gives, and who mounts what.

Owns: the pod's network namespace with its way out to the node, its volumes, the egress rules, and
starting its containers. Refuses: a container's insides (``container.py``), and who mounts what:
that stands in the manifests of ``k8s/``, which are read (``workload.py``), with the rules and the
daemon's configuration.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.integration.system import Central, replaced
from tests.integration.waiting import eventually
from tests.system.container import ROOT, Container, Mount, User
from tests.system.deeds import Outcome
from tests.system.pod_config import CALL_PORT, PROBE_PORT, config_text
from tests.system.workload import DAEMON, DEPLOYMENT, FS_GROUP, Workload

STRANGER: Final = User(10_002, 10_002, (FS_GROUP,))
"""Another container of the pod: the kubelet gives it the pod's group too."""
OUTSIDER: Final = User(10_003, 10_003)
"""Without the pod's group, as a process of another pod that found the volume on the node."""

SOCKET: Final = "/run/gatepost-agent/door/agent.sock"
ADMIN_SOCKET: Final = "/run/gatepost/admin/admin.sock"
SPOOL: Final = "/var/spool/gatepost/records"
STATE: Final = "/var/lib/gatepost"
CREDENTIALS: Final = "/etc/gatepost-credentials"
LOOPBACK: Final = str(CALL_PORT)
LOOPBACK6: Final = f"[::1]:{CALL_PORT}"
RULES: Final = ROOT / "k8s" / "components" / "egress-lock" / "gatepost.nft"

_PACKAGES: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
_numbers = itertools.count()


def require_namespaces() -> None:
    """Install what is missing; skip, loudly, where the kernel or apt does not let us."""
    # A shell that was not logged in may lack them, and that is where ip and nft lie.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = sorted({package for name, package in _PACKAGES.items() if not shutil.which(name)})
    if missing:
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", *missing]):
            if shutil.which("apt-get") is None or subprocess.run(command, check=False).returncode:
                pytest.skip(f"a pod in a box needs {', '.join(missing)}")
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "nft", "list", "ruleset"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"namespaces or nftables are not allowed here: {tried.stderr.strip()}")


class Network:
    """A network namespace whose only way out is a cable to the node, as a pod's is."""

    def __init__(self) -> None:
        number = (os.getpid() * 16 + next(_numbers)) % 32_768
        high, low = divmod(number * 4, 256)
        self.node, self.address = f"198.18.{high % 256}.{low + 1}", f"198.18.{high % 256}.{low + 2}"
        self.node6, self.address6 = f"fd67:706f:6400:{number:x}::1", f"fd67:706f:6400:{number:x}::2"
        self._cable = f"gp{number:x}n"
        # It holds the namespace and ends, and the cable with it, when this process does.
        self._pause = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self.pid = self._pause.pid
        ours = Path("/proc/self/ns/net").readlink()
        namespace = Path(f"/proc/{self.pid}/ns/net")
        eventually(lambda: namespace.readlink() != ours, "the pod's network")
        self._connect()

    def _connect(self) -> None:
        cable, pid = self._cable, str(self.pid)
        _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", pid)
        Path(f"/proc/sys/net/ipv6/conf/{cable}/disable_ipv6").write_text("0")
        _run("ip", "addr", "add", f"{self.node}/30", "dev", cable)
        _run("ip", "addr", "add", f"{self.node6}/64", "dev", cable, "nodad")
        _run("ip", "link", "set", cable, "up")
        for words in (
            ["ip", "addr", "add", f"{self.address}/30", "dev", "eth0"],
            ["ip", "addr", "add", f"{self.address6}/64", "dev", "eth0", "nodad"],
            ["ip", "link", "set", "lo", "up"],
            ["ip", "link", "set", "eth0", "up"],
        ):
            self.run(*words)

    def run(self, *words: str) -> None:
        """A command of the node's root in the pod's network, as an init container is."""
        _run("nsenter", f"--net=/proc/{self.pid}/ns/net", *words)

    def close(self) -> None:
        """Take the namespace away."""
        self._pause.communicate()


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


@contextmanager
def relay(host: str, port: int) -> Iterator[int]:
    """A port of ``host`` that leads to loopback's ``port``."""
    command = [sys.executable, "-m", "tests.system.relay", host, str(port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as running:
        assert running.stdout is not None
        yield int(running.stdout.readline())
        running.communicate()


class Pod:
    """A pod whose central services and provider are reached over the node."""

    def __init__(
        self, directory: Path, services: Central, workload: Workload, running: ExitStack
    ) -> None:
        self.services = services
        self.directory = directory
        self.workload = workload
        self._running = running
        self._containers = itertools.count()
        directory.mkdir()
        self.network = Network()
        running.callback(self.network.close)
        node, node6 = self.network.node, self.network.node6
        provider = services.ends.provider.port
        self.provider = f"{node},{running.enter_context(relay(node, provider))}"
        self.provider6 = f"{node6},{running.enter_context(relay(node6, provider))}"
        central = running.enter_context(relay(node, int(services.url.rpartition(":")[2])))
        self._central = f"http://{node}:{central}"
        for name, make in workload.volumes.items():
            make(self.volume(name))
        key = services.ends.key_file.read_text()
        self.write("gatepost-credentials", "openai.key", key, 0o440)
        self.write("gatepost-enrol", "token", services.home.one_time_token.read_text(), 0o440)
        self.configure()

    def configure(self, **changed: str) -> None:
        """Write the daemon's configuration; ``changed``: settings with other values."""
        text = config_text(
            central=self._central,
            root=self.services.home.root_fingerprint,
            provider=self.provider,
            provider6=self.provider6,
        )
        self.write("gatepost-config", "sidecar.toml", replaced(**changed)(text), 0o644)

    def volume(self, name: str) -> Path:
        """Where a volume lies on the node."""
        return self.directory / f"volume-{name}"

    def write(self, volume: str, name: str, text: str, mode: int) -> None:
        """A file of a ConfigMap or Secret, as the kubelet lays it down."""
        place = self.volume(volume) / name
        place.write_text(text)
        os.chown(place, 0, FS_GROUP)
        place.chmod(mode)

    def container(
        self, user: User, mounts: Sequence[Mount], command: Sequence[str], of: int | None = None
    ) -> Container:
        """Start a container; it ends with the pod at the latest."""
        tree = self.directory / f"tree-{next(self._containers)}"
        return self._running.enter_context(
            Container(self.network.pid, tree, user, mounts, command, processes_of=of)
        )

    def mounts(self, container: str) -> list[Mount]:
        """Of ``gatepost`` or ``agent``, as the manifest has them."""
        return [
            Mount(self.volume(name), path, read_only=read_only)
            for name, path, read_only in self.workload.mounts(container)
        ]

    def gatepost(self, *arguments: str) -> Container:
        """A container of the daemon's image with these arguments."""
        command = [sys.executable, "-P", "-m", "gatepost", *arguments]
        return self.container(DAEMON, self.mounts("gatepost"), command)

    def begin(self, user: User, mounts: Sequence[Mount], *deeds: str) -> Container:
        """Start a container that tries ``deeds``."""
        command = [sys.executable, "-m", "tests.system.deeds", *deeds]
        return self.container(user, mounts, command)

    def attempt(
        self, user: User, *deeds: str, mounts: Sequence[Mount] | None = None, of: int | None = None
    ) -> list[Outcome]:
        """Let ``user`` try ``deeds`` with the agent's mounts, or others; what came of each."""
        where = self.mounts("agent") if mounts is None else mounts
        command = [sys.executable, "-m", "tests.system.deeds", *deeds]
        with self.container(user, where, command, of) as tried:
            outcomes = [msgspec.json.decode(line, type=Outcome) for line in tried.rest()]
            code = tried.wait()
        assert len(outcomes) * 2 == len(deeds), tried.errors()
        assert code == 0
        return outcomes

    def probe(self, path: str) -> int:
        """The status that the kubelet gets, from the node; 0 where nobody answers."""
        try:
            url = f"http://{self.network.address}:{PROBE_PORT}{path}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def start(self) -> Sidecar:
        """Start the daemon and wait, as the kubelet does, until the startup probe passes."""
        sidecar = Sidecar(self, self.gatepost("run", "--config", "/etc/gatepost/sidecar.toml"))
        eventually(
            lambda: self.probe("/readyz") == 200 or not sidecar.container.running, "readiness"
        )
        assert sidecar.container.running, sidecar.container.errors()
        return sidecar


class Sidecar:
    """A daemon that runs in a pod."""

    def __init__(self, pod: Pod, container: Container) -> None:
        self.pod = pod
        self.container = container
        line = container.line()
        assert line, container.errors()
        self.instance = str(msgspec.json.decode(line)["instance"])


@contextmanager
def pod_in_a_box(directory: Path, services: Central, manifest: str = DEPLOYMENT) -> Iterator[Pod]:
    """A pod of ``manifest`` without containers yet, its egress locked by the rules that an init
    container loads."""
    with ExitStack() as running:
        pod = Pod(directory, services, Workload(manifest), running)
        pod.network.run("nft", "-f", str(RULES))
        yield pod
