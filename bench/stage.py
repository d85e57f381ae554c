"""The processes around a measured daemon: a home, the central services, a provider.

Owns: starting them in a fresh directory and the daemon's configuration. Refuses: the daemon.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import msgspec

from gatepost.home import Home
from gatepost.process import Child, Children
from gatepost.samples import sample
from gatepost.stack import (
    FAR_END_KEY,
    Ports,
    Refresh,
    Upstreams,
    publish,
    run_central,
    write_central,
    write_sidecar,
)
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy
from sidecar.config import SidecarConfig, parse

HERE: Final = {"PYTHONPATH": str(Path(__file__).parent.parent)}
"""``bench`` is not installed."""


class Stage(msgspec.Struct, frozen=True):
    """What is running. ``provider``: ``host:port``; ``central_url`` of the record store too."""

    home: Home
    children: Children
    central: Child
    central_url: str
    provider: str

    def config(self) -> SidecarConfig:
        """The daemon's configuration, as it reads it."""
        return parse(self.home.sidecar_toml.read_text(), str(self.home.sidecar_toml))

    def event_log(self, name: str) -> TextIO:
        """A file for the lines of a daemon that runs in this process."""
        return (self.home.logs / f"{name}.log").open("a")


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    """A published policy and everything that a daemon talks to; all of it ends with the block."""
    home, clock = Home(directory / "home"), SystemClock()
    home.make(SystemEntropy(), clock.wall_us(), sample("policy.json"))
    # A socket's path must be short, whatever volume is measured.
    with tempfile.TemporaryDirectory() as sockets, Children(home.logs) as children:
        home.agent_socket = Path(sockets) / "agent.sock"
        home.admin_socket = Path(sockets) / "admin.sock"
        provider = children.start("provider", "bench.upstream", environment=HERE)
        address = f"127.0.0.1:{provider.wait_ready()['port']}"
        write_central(home, 0)
        central = run_central(children, home)
        central_url = str(central.wait_ready()["url"])
        publish(home, central_url, 1, clock)
        key = home.keys / "far-end.key"
        key.write_text(FAR_END_KEY)
        key.chmod(0o600)
        url = f"http://{address}"
        upstreams = Upstreams(
            openai_url=url, openai_key=key, anthropic_url=url, anthropic_key=key, tools_url=url
        )
        write_sidecar(home, central_url, upstreams, Ports(), Refresh())
        yield Stage(home, children, central, central_url, address)
