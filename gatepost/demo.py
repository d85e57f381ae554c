"""``gatepost demo``: the whole system at work on this machine, checked as it goes.

Owns: the script of the demonstration and its verdict: exit 0 only if every call, record and
proof was as it should be. Refuses: pretending; every process is the real one, and only the model
provider at the far end is a stand-in, because the real ones cost money.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console

from gatepost import demo_report as report
from gatepost.central_client import CentralClient
from gatepost.config_file import load
from gatepost.delegation import DemoIssuer
from gatepost.demo_outcome import Outcome
from gatepost.env import variables
from gatepost.home import REGION, TENANT, Home
from gatepost.process import Children, StartFailed
from gatepost.samples import sample
from gatepost.stack import (
    AGENT,
    AUDIENCE,
    FAR_END_KEY,
    ISSUER,
    FarEnd,
    Ports,
    Refresh,
    Upstreams,
    operator,
    publish,
    start_central,
    start_daemon,
    start_far_end,
    write_sidecar,
)
from gatepost.terminal import table_console
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy
from gateway.ports import WallClock

PERSON: Final = "alice@acme.example"
PINNED: Final = "checkpoint.txt"
_SHIP_SECONDS_MAX: Final = 20.0
_CALL_SECONDS_MAX: Final = 60.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One call with what the far end counted meanwhile."""

    call: Outcome
    upstream_requests: int

    @property
    def as_it_should_be(self) -> bool:
        counted = self.upstream_requests == (1 if self.call.expected == "allowed" else 0)
        return self.call.as_expected and counted


class Verdict(msgspec.Struct, kw_only=True):
    """What the demonstration found; all must hold."""

    rows: list[Row] = msgspec.field(default_factory=list)
    records: list[dict[str, object]] = msgspec.field(default_factory=list)
    daemon_exit: int | None = None
    verified_exit: int | None = None
    verified: dict[str, object] | None = None
    flipped_exit: int | None = None

    @property
    def problems(self) -> list[str]:
        """What was not as it should be, in words."""
        found = [f"call {row.call.name!r}" for row in self.rows if not row.as_it_should_be]
        decided = {record.get("id") for record in self.records if record.get("kind") == "decision"}
        if len(decided) < len(self.rows):
            found.append(f"{len(decided)} decisions in the store for {len(self.rows)} calls")
        if self.daemon_exit != 0:
            found.append(f"the daemon ended with {self.daemon_exit}")
        if self.verified_exit != 0:
            found.append(f"the verifier ended with {self.verified_exit}")
        if self.flipped_exit != 1:
            found.append(f"a flipped byte: the verifier ended with {self.flipped_exit}")
        return found


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the export in this directory.")
def demo(as_json: bool, keep: Path | None) -> None:
    """Show the whole system at work, and check it: exit 0 only if all was as it should be."""
    console = table_console(stderr=as_json)
    uid = os.getuid()
    console.print(f"running as uid {uid}")
    if uid == 0:
        console.print(
            "[yellow]warning: uid 0 can read every key and spool of this demonstration; "
            "a real agent and its gateway run as two other users[/yellow]"
        )
    with tempfile.TemporaryDirectory(prefix="gatepost-demo-") as directory:
        place = Path(directory)
        try:
            verdict = _play(place, console)
        except StartFailed as failed:
            raise click.ClickException(str(failed)) from failed
        if keep is not None:
            shutil.copytree(place / "audit", keep, dirs_exist_ok=True)
    if as_json:
        click.echo(msgspec.json.encode({"ok": not verdict.problems, "verdict": verdict}))
    problems = verdict.problems
    for problem in problems:
        console.print(f"[red]not as it should be:[/red] {problem}")
    if not problems:
        console.print("[green]everything was as it should be[/green]")
        report.next_steps(console)
    raise SystemExit(1 if problems else 0)


def _play(place: Path, console: Console) -> Verdict:
    clock = SystemClock()
    home = Home(place / "home")
    audit = place / "audit"
    audit.mkdir()
    verdict = Verdict()
    home.make(SystemEntropy(), clock.wall_us(), sample("policy.json"))
    fingerprint = home.root_fingerprint
    with Children(home.logs) as children, console.status("starting") as status:
        central = start_central(children, home, 0)
        key_file = home.keys / "far-end.key"
        key_file.write_text(FAR_END_KEY)
        key_file.chmod(0o600)
        provider = start_far_end(children, "provider", ["--key-file", str(key_file)])
        tools = start_far_end(children, "tools", [])
        publish(home, central, 1, clock)
        issuer = DemoIssuer(ISSUER, AUDIENCE)
        jwks = home.directory / "jwks.json"
        jwks.write_bytes(issuer.jwks())
        write_sidecar(
            home, central, _upstreams(provider, tools, key_file), Ports(), Refresh(), jwks
        )
        daemon = start_daemon(children, home)
        status.update("calling")
        agent = _environment(home, daemon.tcp_port, issuer, clock)
        verdict.rows = _call(home, agent, daemon.tcp_port, provider, tools)
        status.update("shipping")
        client = operator(home, central)
        verdict.records = _records(client, len(verdict.rows))
        # An auditor's first look. What is logged after it must leave it true.
        client.save(f"/log/{TENANT}/{REGION}/1/checkpoint", audit / PINNED)
        verdict.daemon_exit = daemon.child.stop()
        client.save("/v1/exports?complete=1", audit / "export.ndjson")
    # The verifier gets the export and the fingerprint; store and spool are gone.
    shutil.rmtree(home.directory)
    report.calls(console, verdict.rows)
    report.records(console, verdict.records)
    _verify(verdict, audit, fingerprint)
    report.verdict(console, verdict.verified, verdict.flipped_exit)
    return verdict


def _upstreams(provider: FarEnd, tools: FarEnd, key_file: Path) -> Upstreams:
    return Upstreams(
        openai_url=provider.url,
        openai_key=key_file,
        anthropic_url=provider.url,
        anthropic_key=key_file,
        tools_url=f"{tools.url}/mcp",
    )


def _environment(home: Home, port: int, issuer: DemoIssuer, clock: WallClock) -> dict[str, str]:
    """What an agent's shell would hold after ``eval "$(gatepost env)"``, and a token."""
    config = load(home.sidecar_toml)
    token = issuer.token(PERSON, AGENT, clock.wall_us() // 1_000_000)
    return {**os.environ, **variables(config, port), "GATEPOST_DEMO_DELEGATION": token}


def _call(
    home: Home, environment: dict[str, str], port: int, provider: FarEnd, tools: FarEnd
) -> list[Row]:
    """Let the agent make its calls one by one, counting at the far ends in between."""
    log = (home.logs / "clients.log").open("wb")
    arguments = [str(home.agent_socket), f"http://127.0.0.1:{port}/mcp/orders"]
    rows: list[Row] = []
    with (
        log,
        subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-P", "-m", "gatepost.demo_clients", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        ) as agent,
    ):
        assert agent.stdin is not None
        assert agent.stdout is not None
        while agent.poll() is None:
            before = _counted(provider, tools)
            agent.stdin.write(b"\n")
            agent.stdin.flush()
            line = agent.stdout.readline()
            if not line:
                break
            outcome = msgspec.json.decode(line, type=Outcome)
            counted = _counted(provider, tools) - before
            rows.append(Row(call=outcome, upstream_requests=counted))
    return rows


def _counted(provider: FarEnd, tools: FarEnd) -> int:
    """Model requests that reached the provider, and tools that ran."""
    ran = sum(n for name, n in tools.counts().items() if name.startswith("tool:"))
    return sum(provider.counts().values()) + ran


def _records(client: CentralClient, calls: int) -> list[dict[str, object]]:
    """Decisions in the store, once every call's is there."""
    deadline = time.perf_counter() + _SHIP_SECONDS_MAX
    while True:
        body = client.get("/v1/records", {"kind": "decision", "limit": 200, "order": "oldest"})
        items: list[dict[str, object]] = msgspec.json.decode(body)["items"]
        if len(items) >= calls or time.perf_counter() > deadline:
            return items
        time.sleep(0.2)


def _verify(verdict: Verdict, audit: Path, fingerprint: str) -> None:
    """Run the verifier as its own process, then again on a copy with one byte flipped."""
    good = _verifier(audit / "export.ndjson", fingerprint)
    verdict.verified_exit = good.returncode
    verdict.verified = msgspec.json.decode(good.stdout) if good.stdout else None
    data = bytearray((audit / "export.ndjson").read_bytes())
    data[len(data) // 2] ^= 1
    flipped = audit / "flipped.ndjson"
    flipped.write_bytes(data)
    verdict.flipped_exit = _verifier(flipped, fingerprint).returncode


def _verifier(export: Path, fingerprint: str) -> subprocess.CompletedProcess[bytes]:
    options = ["--root", fingerprint, "--pin", PINNED, "--json"]
    return subprocess.run(  # noqa: S603 - our own module, no shell
        [sys.executable, "-P", "-m", "gatepost", "verify", str(export), *options],
        cwd=export.parent,
        capture_output=True,
        check=False,
        timeout=_CALL_SECONDS_MAX,
    )
