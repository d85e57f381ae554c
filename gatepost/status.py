"""``gatepost status``: one look at a daemon, as a table or as JSON.

Owns: presentation and the exit code (0 ready, 1 not). Refuses: judging; the daemon says itself
why it is not ready and which alarms are up.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gatepost.admin_socket import ask
from gatepost.faults import InputOutputError
from gateway.errors import ConfigInvalid
from sidecar.config import parse
from sidecar.status import DaemonStatus
from spool.status import SpoolStatus


def socket_of(config: Path | None, socket: str | None) -> str:
    """The admin socket to ask: named, or that of a configuration."""
    if socket is not None:
        return socket
    path = config or Path(".gatepost/sidecar.toml")
    try:
        return parse(path.read_text(), str(path)).listen.admin_socket
    except OSError as error:
        raise InputOutputError(
            f"{path}: {error.strerror}; name the daemon's configuration with --config, "
            "or its admin socket with --socket"
        ) from error
    except ConfigInvalid as error:
        raise InputOutputError(str(error)) from error


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The daemon's configuration.")
@click.option("--socket", help="The daemon's admin socket, instead of --config.")
@click.option("--json", "as_json", is_flag=True, help="The daemon's own JSON.")
def status(config: Path | None, socket: str | None, as_json: bool) -> None:
    """Show a daemon's state: exit 0 if it is ready to decide, 1 if not."""
    body = ask(socket_of(config, socket), "/status")
    seen = msgspec.json.decode(body, type=DaemonStatus)
    if as_json:
        click.echo(body.strip())
    else:
        show(seen, Console())
    raise SystemExit(0 if seen.ready else 1)


def show(seen: DaemonStatus, console: Console) -> None:
    """Print ``seen`` as a table."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows(seen):
        table.add_row(f"[bold]{name}[/bold]", value)
    console.print(table)


def rows(seen: DaemonStatus) -> list[tuple[str, str]]:
    """Label and text of each line; what needs attention comes in red."""
    instance, policy, spool, shipping = seen.instance, seen.policy, seen.spool, seen.shipping
    state = "[green]ready[/green]" if seen.ready else f"[red]{'; '.join(seen.not_ready)}[/red]"
    if seen.draining:
        state += " (draining)"
    certificate = instance.certificate_until or (
        f"[yellow]none for {instance.uncertified_seconds:.0f} s[/yellow]"
        + (f": {instance.enrolment_error}" if instance.enrolment_error else "")
    )
    found = [
        ("state", state),
        ("instance", f"{instance.id}  {instance.tenant}/{instance.region}  uid {seen.uid}"),
        ("certificate until", certificate),
        (
            "policy",
            f"{policy.state}  version {policy.version}  {policy.digest or ''}",
        ),
        ("calls", f"{seen.calls_in_flight} in flight; {_counts(seen.counters.decisions)}"),
        ("spool", _spool(spool)),
        ("shipping", f"{shipping.state}  {shipping.last_error or 'no error'}"),
    ]
    if not seen.require_checkpoint:
        found.append(("checkpoints", "[yellow]not required: the store's word is trusted[/yellow]"))
    found.extend(("listening", f"{one.name}  {one.address}") for one in seen.listeners)
    alarms = [*spool.alarms, *shipping.alarms, *(["clock_suspect"] if seen.clock_suspect else [])]
    found.extend(("alarm", f"[red]{alarm}[/red]") for alarm in alarms)
    found.extend(
        (f"credential {one.id}", one.problem or one.warning or "")
        for one in seen.credentials
        if one.problem or one.warning
    )
    return found


def _spool(spool: SpoolStatus) -> str:
    return (
        f"{spool.state}  {spool.bytes_used / 2**20:.1f} of {spool.bytes_max / 2**20:.0f} MiB, "
        f"durable {spool.durable_seq}, acknowledged {spool.acked_seq}, "
        f"{spool.backlog_records} to ship"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items()) or "none decided yet"
