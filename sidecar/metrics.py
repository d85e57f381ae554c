"""Prometheus metrics, read from the parts when they are scraped.

Owns: names and labels (``gatepost_…``). Refuses: labels that a request could choose: codes are
the closed table's, listeners are configuration's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.alarms import ALARMS
from sidecar.status import DaemonStatus


class DaemonCollector(Collector):
    """Turns one ``DaemonStatus`` into metric families."""

    def __init__(self, status: Callable[[], DaemonStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        decisions = CounterMetricFamily(
            "gatepost_decisions", "Rulings by outcome", labels=["outcome"]
        )
        for outcome, count in status.counters.decisions.items():
            decisions.add_metric([outcome], count)
        yield decisions
        completions = CounterMetricFamily(
            "gatepost_completions", "Ends of forwarded calls by outcome", labels=["outcome"]
        )
        for outcome, count in status.counters.completions.items():
            completions.add_metric([outcome], count)
        yield completions
        turned_away = CounterMetricFamily(
            "gatepost_turned_away", "Turn-aways by code and listener", labels=["code", "listener"]
        )
        for code, by_listener in status.counters.turned_away.items():
            for listener, count in by_listener.items():
                turned_away.add_metric([code, listener], count)
        yield turned_away
        alarm = GaugeMetricFamily("gatepost_alarm", "1 while an alarm is up", labels=["name"])
        for name in ALARMS:
            alarm.add_metric([name], float(name in status.alarms))
        yield alarm
        yield from _gauges(status)


def _gauges(status: DaemonStatus) -> Iterator[Metric]:
    spool = status.spool
    gauges: dict[str, tuple[str, float]] = {
        "gatepost_ready": ("1 when calls can be served", float(status.ready)),
        "gatepost_calls_in_flight": ("Calls being served", status.calls_in_flight),
        "gatepost_uncertified_seconds": (
            "Time without a valid certificate",
            status.instance.uncertified_seconds,
        ),
        "gatepost_spool_bytes_used": ("Spool bytes on disk", spool.bytes_used),
        "gatepost_spool_bytes_max": ("Spool quota", spool.bytes_max),
        "gatepost_spool_backlog_records": ("Records not yet acknowledged", spool.backlog_records),
        "gatepost_spool_backlog_bytes": (
            "Bytes of records not yet acknowledged",
            spool.backlog_bytes,
        ),
        "gatepost_spool_oldest_unsent_seconds": (
            "Age of the oldest record not yet acknowledged",
            spool.oldest_unsent_seconds or 0.0,
        ),
        "gatepost_spool_quarantine_files": (
            "Files set aside, by this instance and dead ones",
            spool.quarantine.files + sum(one.quarantine.files for one in status.shipping.dead),
        ),
        "gatepost_spool_durable_seq": ("Newest durable seq", spool.durable_seq),
        "gatepost_spool_acked_seq": ("Newest acknowledged seq", spool.acked_seq),
    }
    if spool.bytes_free is not None:
        gauges["gatepost_spool_volume_bytes_free"] = ("Free on the volume", spool.bytes_free)
    if spool.commit.sync_p99_us is not None:
        gauges["gatepost_spool_sync_p99_seconds"] = (
            "99th percentile of recent fdatasync calls",
            spool.commit.sync_p99_us / 1_000_000,
        )
    if status.policy.age_ms is not None:
        gauges["gatepost_policy_age_seconds"] = (
            "Age of the policy head",
            status.policy.age_ms / 1000,
        )
    if status.policy.version is not None:
        gauges["gatepost_policy_version"] = ("Version of the bundle", status.policy.version)
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(name, text, value=value)


class Metrics:
    """Renders the text exposition format."""

    def __init__(self, status: Callable[[], DaemonStatus]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(DaemonCollector(status))

    def text(self) -> bytes:
        return generate_latest(self._registry)
