"""``gatepost up``: a whole system on this machine, in the foreground, until interrupted.

Owns: a development home in ``.gatepost/``, made once, and the processes on fixed ports. Refuses:
production (the root's custody is ``development``, and says so to every verifier) and taking a
port from somebody.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console

from gatepost.faults import InputOutputError
from gatepost.home import BUNDLE_LIFE_US, Home
from gatepost.process import Children, Interrupted, StartFailed
from gatepost.samples import sample
from gatepost.stack import (
    FAR_END_KEY,
    Ports,
    Refresh,
    Upstreams,
    newest_version,
    publish,
    start_central,
    start_daemon,
    start_far_end,
    write_sidecar,
)
from gateway.errors import UNREADABLE
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy
from gateway.ports import WallClock
from gateway.seal import sha256_text
from sidecar.config import CALL_PORT, PROBE_PORT

CENTRAL_PORT: Final = 4143
PORT: Final = click.IntRange(0, 65_535)
"""0 lets the kernel choose."""
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_OPENAI_URL: Final = "https://api.openai.com"
_ANTHROPIC_URL: Final = "https://api.anthropic.com"


class Published(msgspec.Struct, frozen=True):
    """The newest policy that this home published: digest of the file, and when."""

    policy_sha256: str
    published_us: int


@click.command()
@click.option(
    "--home",
    "directory",
    type=click.Path(path_type=Path),
    default=Path(".gatepost"),
    show_default=True,
    help="Where keys, policy, records and configurations are kept.",
)
@click.option(
    "--openai-key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with a real OpenAI key; without it a stand-in provider answers.",
)
@click.option(
    "--anthropic-key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with a real Anthropic key; without it a stand-in provider answers.",
)
@click.option("--port", type=PORT, default=CALL_PORT, show_default=True, help="Loopback calls.")
@click.option(
    "--probe-port", type=PORT, default=PROBE_PORT, show_default=True, help="Probes and metrics."
)
@click.option(
    "--central-port", type=PORT, default=CENTRAL_PORT, show_default=True, help="Central services."
)
def up(
    directory: Path,
    openai_key_file: Path | None,
    anthropic_key_file: Path | None,
    port: int,
    probe_port: int,
    central_port: int,
) -> None:
    """Keep a whole system running on this machine until interrupted."""
    console = Console(stderr=True)
    _warn(console)
    ports = Ports(central=central_port, tcp=port, probe=probe_port)
    _refuse_taken(ports)
    clock = SystemClock()
    home = Home(directory)
    if not home.made:
        home.make(SystemEntropy(), clock.wall_us(), sample("policy.json"))
        console.print(f"made keys, root and policy in {home.directory}")
    home.draw_tokens(SystemEntropy())
    try:
        with Children(home.logs) as children, _ended_by_signals(children, console):
            _run(children, home, ports, openai_key_file, anthropic_key_file, clock, console)
    except StartFailed as failed:
        raise click.ClickException(str(failed)) from failed


@contextmanager
def _ended_by_signals(children: Children, console: Console) -> Iterator[None]:
    """SIGINT and SIGTERM end the block, however far it got, so that no child is left behind."""

    def stop(*_: object) -> None:
        # One is enough: a second must not interrupt the end of the children.
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        children.interrupt()

    for number in _STOP_SIGNALS:
        signal.signal(number, stop)
    with suppress(Interrupted):
        yield
    console.print("stopping: open calls end, records are shipped")


def _run(
    children: Children,
    home: Home,
    ports: Ports,
    openai_key: Path | None,
    anthropic_key: Path | None,
    clock: WallClock,
    console: Console,
) -> None:
    central = start_central(children, home, ports.central)
    upstreams = _upstreams(children, home, openai_key, anthropic_key)
    _publish_if_new(home, central, clock, console)
    write_sidecar(home, central, upstreams, ports, Refresh())
    daemon = start_daemon(children, home)
    console.print(
        f"calls     http://127.0.0.1:{daemon.tcp_port}  and  {home.agent_socket}\n"
        f"probes    http://127.0.0.1:{daemon.probe_port}/readyz\n"
        f"central   {central}  (tokens: {home.operator_token}, {home.auditor_token})\n"
        f"root      {home.root_fingerprint}\n"
        f"policy    {home.policy_json}  (edit it and start again to publish)\n"
        f"logs      {home.logs}\n\n"
        f'in the agent\'s shell:  eval "$(gatepost env --config {home.sidecar_toml})"\n'
        f"to watch:              gatepost tail --config {home.sidecar_toml}\n"
        "to stop:               Ctrl-C",
        highlight=False,
        soft_wrap=True,  # to be copied: a line break inside a command would change it
    )
    while True:
        for child in children.dead():
            raise StartFailed(f"{child.name} ended with {child.returncode}: {child.last_words()}")
        time.sleep(1.0)


def _upstreams(
    children: Children, home: Home, openai_key: Path | None, anthropic_key: Path | None
) -> Upstreams:
    stand_in_key = home.keys / "far-end.key"
    if not stand_in_key.exists():
        stand_in_key.touch(mode=0o600)
        stand_in_key.write_text(FAR_END_KEY)
    stand_in = start_far_end(children, "provider", ["--key-file", str(stand_in_key)]).url
    tools = start_far_end(children, "tools", [])
    return Upstreams(
        openai_url=stand_in if openai_key is None else _OPENAI_URL,
        openai_key=(openai_key or stand_in_key).absolute(),
        anthropic_url=stand_in if anthropic_key is None else _ANTHROPIC_URL,
        anthropic_key=(anthropic_key or stand_in_key).absolute(),
        tools_url=f"{tools.url}/mcp",
    )


def _publish_if_new(home: Home, central: str, clock: WallClock, console: Console) -> None:
    """Publish ``policy.json`` under the next version if it changed, or before it runs out."""
    note, now_us = home.directory / "published.json", clock.wall_us()
    try:
        digest = sha256_text(home.policy_json.read_bytes())
    except OSError as error:
        raise InputOutputError(f"{home.policy_json}: {error.strerror}") from error
    last = _last_published(note)
    if last.policy_sha256 == digest and now_us < last.published_us + BUNDLE_LIFE_US // 2:
        return
    # The service knows the version better than the note: between the two this may have ended.
    version = newest_version(home, central) + 1
    publish(home, central, version, clock)
    note.write_bytes(msgspec.json.encode(Published(policy_sha256=digest, published_us=now_us)))
    console.print(f"published policy version {version} (here nobody else has to approve it)")


def _last_published(note: Path) -> Published:
    try:
        return msgspec.json.decode(note.read_bytes(), type=Published)
    except (OSError, *UNREADABLE):
        return Published(policy_sha256="", published_us=0)


def _refuse_taken(ports: Ports) -> None:
    """Say which port is taken, before anything is started.

    Raises InputOutputError, and UsageError for one port under two options.
    """
    chosen: dict[int, str] = {}
    for option, port in (
        ("--port", ports.tcp),
        ("--probe-port", ports.probe),
        ("--central-port", ports.central),
    ):
        if port == 0:
            continue
        if port in chosen:
            raise click.UsageError(f"{chosen[port]} and {option} are both {port}")
        chosen[port] = option
        _refuse_taken_on(socket.AF_INET, "127.0.0.1", port, option)
        if option == "--port" and socket.has_ipv6:
            _refuse_taken_on(socket.AF_INET6, "::1", port, option)


def _refuse_taken_on(family: socket.AddressFamily, host: str, port: int, option: str) -> None:
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return  # no IPv6 here
        if error.errno == errno.EADDRINUSE:
            raise InputOutputError(
                f"port {port} is taken on {host}; stop what listens there, "
                f"or choose another with {option}"
            ) from error
        raise InputOutputError(
            f"port {port} cannot be used on {host} ({error.strerror}); choose another with {option}"
        ) from error


def _warn(console: Console) -> None:
    uid = os.getuid()
    console.print(f"running as uid {uid}")
    if uid == 0:
        console.print("[yellow]warning: uid 0 can read every key and spool here[/yellow]")
