"""From a publication to its enforcement, over many sidecar processes on one machine.

Owns: starting them, publishing, and the figures: the policy service's own, from the publication to
the first report of it, so they hold the report's way too. Refuses: speaking of networks; everything
is on loopback, and all processes share the machine's cores.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from central.policy_service.fleet import Fleet
from gatepost import stack
from gatepost.home import SCOPE, Home
from gatepost.process import Child, Children
from gatepost.samples import sample
from gatepost.stack import Ports, Refresh, Upstreams
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy

_PATH: Final = f"/v1/policy/{SCOPE.replace('/', '%2F')}"
_STARTED_TOGETHER: Final = 4
"""More starts at once than the machine has cores for would not be quicker, only later to answer."""
_LOOK_SECONDS: Final = 0.5
_SECONDS_MAX: Final = 300.0
_SERVE: Final = (
    "import functools, http.server as h, sys\n"
    "handler = functools.partial(h.SimpleHTTPRequestHandler, directory=sys.argv[1])\n"
    "server = h.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n"
    "print(server.server_port, flush=True)\n"
    "server.serve_forever()\n"
)


class FleetRow(msgspec.Struct, frozen=True, kw_only=True):
    """``source``: where the daemons take policy from. Milliseconds."""

    source: str
    instances: int
    p50_ms: int
    p95_ms: int
    max_ms: int


def run(count: int, console: Console) -> list[FleetRow]:
    """Measure ``count`` sidecars on the policy service, then on a web server's directory."""
    with tempfile.TemporaryDirectory(prefix="gatepost-bench-") as place:
        base = Path(place)
        home = Home(base / "home")
        home.make(SystemEntropy(), SystemClock().wall_us(), sample("policy.json"))
        with Children(home.logs) as children:
            central = stack.start_central(children, home, 0)
            stack.publish(home, central, 1, SystemClock())
            rows = [_measured("policy service", base / "s", home, central, count, None, console)]
            files = base / "files"
            _export(home, central, files)
            server = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(files)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            try:
                assert server.stdout is not None
                url = f"http://127.0.0.1:{int(server.stdout.readline())}"
                rows.append(
                    _measured("web server", base / "w", home, central, count, (url, files), console)
                )
            finally:
                server.terminate()
                server.communicate()
    return rows


def _measured(
    source: str,
    place: Path,
    home: Home,
    central: str,
    count: int,
    files: tuple[str, Path] | None,
    console: Console,
) -> FleetRow:
    console.print(f"starting {count} sidecars on the {source}")
    place.mkdir(mode=0o700)
    with Children(home.logs) as children:
        for first in range(0, count, _STARTED_TOGETHER):
            numbers = range(first, min(first + _STARTED_TOGETHER, count))
            started = [_start(children, place, home, central, number, files) for number in numbers]
            for child in started:
                child.wait_ready()
        _wait(home, central, count)
        version = stack.newest_version(home, central) + 1
        stack.publish(home, central, version, SystemClock())
        if files is not None:
            _export(home, central, files[1])
        seen = _wait(home, central, count)
    reach = seen.reach
    assert reach.p50_ms is not None
    assert reach.p95_ms is not None
    assert reach.max_ms is not None
    return FleetRow(
        source=source,
        instances=reach.instances,
        p50_ms=reach.p50_ms,
        p95_ms=reach.p95_ms,
        max_ms=reach.max_ms,
    )


def _start(
    children: Children,
    place: Path,
    home: Home,
    central: str,
    number: int,
    files: tuple[str, Path] | None,
) -> Child:
    """One sidecar of its own, told apart from the others of the host key by its worker."""
    own = Home(place / str(number))
    own.directory.mkdir()
    (own.directory / "run").mkdir()
    own.keys, own.roots, own.host_key = home.keys, home.roots, home.host_key
    own.one_time_token = home.one_time_token
    key = home.keys / "far-end.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(stack.FAR_END_KEY)
    nowhere = "http://127.0.0.1:9"
    upstreams = Upstreams(
        openai_url=nowhere,
        openai_key=key,
        anthropic_url=nowhere,
        anthropic_key=key,
        tools_url=f"{nowhere}/mcp",
    )
    stack.write_sidecar(own, central, upstreams, Ports(), Refresh())
    text = own.sidecar_toml.read_text()
    text = text.replace("[enrolment]\n", f"[enrolment]\nworker = {number}\n")
    if files is not None:
        text = text.replace("[policy]\n", f'[policy]\nfiles_url = "{files[0]}"\n')
    own.sidecar_toml.write_text(text)
    return children.start(
        f"sidecar-{number}", "gatepost", ["run", "--config", str(own.sidecar_toml)]
    )


def _export(home: Home, central: str, files: Path) -> None:
    command = [sys.executable, "-m", "gatepost", "policy", "export", str(files)]
    command += ["--central", central, "--scope", SCOPE, "--root", home.root_fingerprint]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _wait(home: Home, central: str, count: int) -> Fleet:
    """Until ``count`` instances report what is published."""
    client = stack.operator(home, central)
    for _ in range(round(_SECONDS_MAX / _LOOK_SECONDS)):
        seen = msgspec.json.decode(client.get(f"{_PATH}/fleet", {"limit": 0}), type=Fleet)
        if seen.current >= count and not seen.behind:
            return seen
        time.sleep(_LOOK_SECONDS)
    raise SystemExit(f"not all of {count} sidecars came within {_SECONDS_MAX:.0f} s")


def show(rows: list[FleetRow], console: Console) -> None:
    """A table of the rows."""
    table = Table(title="from publication to the report of it")
    for name in ("policy from", "sidecars", "median", "95 %", "longest"):
        table.add_column(name, justify="right")
    for row in rows:
        seconds = [f"{one / 1_000:.2f} s" for one in (row.p50_ms, row.p95_ms, row.max_ms)]
        table.add_row(row.source, str(row.instances), *seconds)
    console.print(table)
