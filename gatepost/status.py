"""``gatepost status``: one look at a daemon, as a table or as JSON.

Owns: presentation and the exit code (0 ready, 1 not). Refuses: judging; the daemon says itself
why it is not ready and which alarms are up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatepost import config_file
from gatepost.admin_socket import ask, decode
from gatepost.terminal import cell, table_console
from policy_cache.status import PolicyStatus
from sidecar.recovery import RecoveryStatus
from sidecar.status import DaemonStatus, InstanceStatus
from spool.status import ShipStatus, SpoolStatus


def socket_of(config: Path | None, socket: str | None) -> str:
    """The admin socket to ask: named, or that of a configuration. Raises InputOutputError."""
    if socket is not None:
        return socket
    return config_file.load(config or config_file.DEFAULT).listen.admin_socket


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The daemon's configuration.")
@click.option("--socket", help="The daemon's admin socket, instead of --config.")
@click.option("--json", "as_json", is_flag=True, help="The daemon's own JSON.")
def status(config: Path | None, socket: str | None, as_json: bool) -> None:
    """Show a daemon's state: exit 0 if it is ready to decide, 1 if not."""
    path = socket_of(config, socket)
    body = ask(path, "/status")
    seen = decode(path, body, DaemonStatus)
    if as_json:
        click.echo(body.strip())
    else:
        show(seen, table_console())
    raise SystemExit(0 if seen.ready else 1)


def show(seen: DaemonStatus, console: Console) -> None:
    """Print ``seen`` as a table."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows(seen):
        table.add_row(f"[bold]{name}[/bold]", value)
    console.print(table)


def rows(seen: DaemonStatus) -> Iterator[tuple[str, Text]]:
    """Label and text of each line; what needs attention comes in red or yellow."""
    instance, spool, shipping = seen.instance, seen.spool, seen.shipping
    yield "state", cell("ready", "green") if seen.ready else cell("; ".join(seen.not_ready), "red")
    yield (
        "instance",
        cell(f"{instance.id}  {instance.tenant}/{instance.region}  uid {seen.uid}"),
    )
    yield "certificate", _certificate(instance)
    yield from _policy(seen.policy)
    decided = _counts(seen.counters.decisions) or "none decided yet"
    yield "calls", cell(f"{seen.calls_in_flight} in flight; {decided}")
    turned_away = {code: sum(one.values()) for code, one in seen.counters.turned_away.items()}
    if turned_away:
        yield "turned away", cell(_counts(turned_away))
    yield "spool", cell(_spool(spool))
    yield "shipping", cell(_shipping(shipping))
    yield "log", _log(shipping)
    for listener in seen.listeners:
        yield "listening", cell(f"{listener.name}  {listener.address}")
    yield from _recovery(seen.recovery)
    for alarm in seen.alarms:
        yield "alarm", cell(alarm, "red")
    for credential in seen.credentials:
        if credential.problem or credential.warning:
            yield (
                f"credential {credential.id}",
                cell(credential.problem or credential.warning or ""),
            )


def _log(shipping: ShipStatus) -> Text:
    if shipping.unproven is not None:
        return cell(shipping.unproven, "red")
    if shipping.log_seen is None:
        return cell("no checkpoint seen yet", "yellow")
    return cell(f"{shipping.log_seen.size} leaves proved of {shipping.log_seen.origin}")


def _certificate(instance: InstanceStatus) -> Text:
    if instance.certificate_until is not None and instance.uncertified_seconds == 0:
        return cell(f"until {instance.certificate_until}")
    text = f"none for {instance.uncertified_seconds:.0f} s"
    if instance.enrolment_error is not None:
        text += f": {instance.enrolment_error}"
    return cell(text, "yellow")


def _policy(policy: PolicyStatus) -> Iterator[tuple[str, Text]]:
    version = "none" if policy.version is None else f"version {policy.version}"
    yield "policy", cell(f"{policy.state}  {version}  {policy.digest or ''}".rstrip())
    if policy.lock_reason is not None:
        yield "locked", cell(policy.lock_reason, "red")
    if policy.failures_in_a_row and policy.last_error is not None:
        yield "policy error", cell(policy.last_error, "yellow")


def _spool(spool: SpoolStatus) -> str:
    return (
        f"{spool.state}  {spool.bytes_used / 2**20:.1f} of {spool.bytes_max / 2**20:.0f} MiB, "
        f"durable {spool.durable_seq}, acknowledged {spool.acked_seq}, "
        f"{spool.backlog_records} to ship ({spool.backlog_bytes / 1024:.0f} KiB)"
    )


def _shipping(shipping: ShipStatus) -> str:
    text = f"{shipping.state}  circuit {shipping.circuit}"
    if shipping.next_attempt_seconds is not None:
        text += f" for {shipping.next_attempt_seconds:.0f} s"
    if shipping.drain_seconds_left is not None:
        text += f"  drains for {shipping.drain_seconds_left:.0f} s more"
    return f"{text}  {shipping.last_error or 'no error'}"


def _recovery(recovery: RecoveryStatus) -> Iterator[tuple[str, Text]]:
    """What was left by others; nothing where there was nothing."""
    if recovery.instances:
        yield (
            "recovered",
            cell(
                f"{recovery.instances} instances, {recovery.records} records, "
                f"{recovery.cut_bytes} bytes cut, {recovery.gaps} gaps"
            ),
        )
    for one in recovery.violations:
        where = "" if one.first_seq is None else f" from seq {one.first_seq}"
        yield "integrity", cell(f"{one.instance}: {one.rule}{where}", "red")
    for left in recovery.left_alone:
        yield "left alone", cell(f"{left.instance}: {left.why}", "red")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items())
