"""Direct, through the daemon with everything on, and through it with recording off, in one run.

Owns: the comparison. Refuses: absolute promises; on a shared machine only ratios and CPU per
call mean something, and the disk's own figure stands beside every latency.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.disk import fdatasync_p50_us
from bench.load import Measured, Plan
from bench.stage import HERE, Stage, stage
from bench.volume import bench_directory
from gatepost.home import Home
from gatepost.process import Child, Children

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WARM_CALLS = 400


class Row(msgspec.Struct):
    """One way of one shape of load."""

    way: str
    in_flight: int
    calls_per_second: float
    p50_us: int
    p99_us: int
    cpu_us_per_call: float | None
    failures: int


class Result(msgspec.Struct):
    """Everything that one run measured."""

    rows: list[Row]
    stream_cpu_us_per_chunk: dict[str, float]
    fdatasync_p50_us: int
    start_seconds_cold: float
    start_seconds_warm: float
    rss_mib: dict[str, float]


def cpu_us(pid: int) -> float:
    """User and system time of ``pid`` so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS * 1e6


def rss_mib(pid: int) -> float:
    """Resident memory of ``pid``."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


def load(plan: Plan) -> Measured:
    """Run the generator in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", msgspec.json.encode(plan).decode()],
        capture_output=True,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Measured)


def measure(way: str, plan: Plan, pid: int | None) -> Row:
    """Warm up, then measure ``plan``."""
    load(msgspec.structs.replace(plan, calls=_WARM_CALLS))
    before = 0.0 if pid is None else cpu_us(pid)
    measured = load(plan)
    spent = None if pid is None else (cpu_us(pid) - before) / len(measured.latencies_us)
    latencies = measured.latencies_us
    return Row(
        way=way,
        in_flight=plan.connections,
        calls_per_second=len(latencies) / measured.seconds,
        p50_us=latencies[len(latencies) // 2],
        p99_us=latencies[len(latencies) * 99 // 100],
        cpu_us_per_call=spent,
        failures=measured.failures,
    )


def stream_cost(plan: Plan, pid: int) -> float:
    """CPU per chunk of streamed answers."""
    before = cpu_us(pid)
    measured = load(plan)
    return (cpu_us(pid) - before) / (len(measured.latencies_us) * 33)


def run(calls: int, console: Console) -> Result:
    """The whole comparison on a fresh development home."""
    with bench_directory() as directory, stage(directory) as ready:
        return _run(ready, calls, console)


def _run(ready: Stage, calls: int, console: Console) -> Result:
    home, children = ready.home, ready.children
    result = Result([], {}, fdatasync_p50_us(home.directory), 0.0, 0.0, {})
    direct = Plan(ready.provider, "/v1/chat/completions", 1, calls)
    through = msgspec.structs.replace(
        direct, target=f"unix:{home.agent_socket}", path="/openai/v1/chat/completions"
    )
    for in_flight in (1, 8):
        console.print(f"direct, {in_flight} in flight")
        plan = msgspec.structs.replace(direct, connections=in_flight)
        result.rows.append(measure("direct", plan, None))
    result.start_seconds_cold, daemon = _start(children, home, "gatepost", ["run", "--config"])
    daemon.stop()
    result.start_seconds_warm, daemon = _start(children, home, "gatepost", ["run", "--config"])
    _through("through", through, daemon, result, console)
    daemon.stop()
    _, daemon = _start(children, home, "bench.unrecorded", [])
    _through("recording off", through, daemon, result, console)
    return result


def _start(
    children: Children, home: Home, module: str, arguments: list[str]
) -> tuple[float, Child]:
    began = time.perf_counter()
    child = children.start("daemon", module, [*arguments, str(home.sidecar_toml)], environment=HERE)
    child.wait_ready()
    return time.perf_counter() - began, child


def _through(way: str, plan: Plan, daemon: Child, result: Result, console: Console) -> None:
    for in_flight in (1, 8):
        console.print(f"{way}, {in_flight} in flight")
        shaped = msgspec.structs.replace(plan, connections=in_flight)
        result.rows.append(measure(way, shaped, daemon.pid))
    streamed = msgspec.structs.replace(plan, connections=8, calls=200, stream=True)
    result.stream_cpu_us_per_chunk[way] = stream_cost(streamed, daemon.pid)
    result.rss_mib[way] = rss_mib(daemon.pid)


def show(result: Result, console: Console) -> None:
    """Print ``result`` as tables; ratios are to ``direct`` of the same load."""
    table = Table(
        "way",
        "in flight",
        "calls/s",
        "p50 µs",
        "p99 µs",
        "added p50 µs",
        "added p99 µs",
        "CPU µs/call",
        title="Calls, 4 KB prompt, Unix socket",
    )
    direct = {row.in_flight: row for row in result.rows if row.way == "direct"}
    for row in result.rows:
        base = direct[row.in_flight]
        table.add_row(
            row.way,
            str(row.in_flight),
            f"{row.calls_per_second:.0f}",
            str(row.p50_us),
            str(row.p99_us),
            str(row.p50_us - base.p50_us),
            str(row.p99_us - base.p99_us),
            "-" if row.cpu_us_per_call is None else f"{row.cpu_us_per_call:.0f}",
        )
    console.print(table)
    costs = {(row.way, row.in_flight): row.cpu_us_per_call or 0.0 for row in result.rows}
    for in_flight in (1, 8):
        off = costs["recording off", in_flight]
        more = costs["through", in_flight] / off - 1
        console.print(f"recording costs {more:.0%} CPU at {in_flight} in flight")
    console.print(
        f"fdatasync p50 of this run's volume: {result.fdatasync_p50_us} µs\n"
        f"start: {result.start_seconds_cold:.2f} s, warm {result.start_seconds_warm:.2f} s\n"
        + "".join(f"RSS after load, {way}: {mib:.0f} MiB\n" for way, mib in result.rss_mib.items())
        + "".join(
            f"CPU per streamed chunk, {way}: {cost:.0f} µs\n"
            for way, cost in result.stream_cpu_us_per_chunk.items()
        )
    )
