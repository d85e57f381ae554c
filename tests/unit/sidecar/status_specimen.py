"""A daemon's status, as of one that is ready and did a little of everything."""

from __future__ import annotations

from typing import Final

from gateway.documents import Counters
from gateway.io.credentials import CredentialStatus
from policy_cache.cache import PolicyStatus
from sidecar.status import DaemonStatus, InstanceStatus, ListenerStatus
from spool.status import CommitStatus, ShipStatus, SpoolStatus

INSTANCE: Final = "ajnc4cq5yi53ukxsvvfqzmmvjy"

POLICY: Final = PolicyStatus(
    scope="acme/prod",
    state="fresh",
    version=7,
    digest="sha256:" + "1" * 64,
    age_ms=12_500,
    expires="2026-11-24T00:00:00.000000Z",
    head_version=70,
    root_version=1,
    lock_reason=None,
    last_success="2026-11-23T00:00:00.000000Z",
    last_error=None,
    last_error_time=None,
    failures_in_a_row=0,
    counters={"refreshed": 3},
    persist_degraded=False,
    clock_suspect=False,
    freeze_suspected=False,
    equivocation=False,
    update_required=False,
)
SPOOL: Final = SpoolStatus(
    state="ok",
    reason=None,
    instance=INSTANCE,
    last_seq=41,
    durable_seq=41,
    durable_hash="sha256:" + "2" * 64,
    acked_seq=39,
    backlog_records=2,
    oldest_unsent_seconds=0.5,
    bytes_used=8 * 2**20,
    bytes_max=256 * 2**20,
    bytes_reserved=0,
    bytes_quarantined=0,
    bytes_dead=0,
    segments=1,
    segments_prepared=1,
    may_grow=True,
    damaged_records=0,
    commit=CommitStatus(records=42, batches=40, p50_us=900, p99_us=2_000, slow_over_1s=0),
    refused={},
    trim_blocked=None,
    alarms=[],
    changes=5,
)
SHIPPING: Final = ShipStatus(
    state="idle",
    backlog_records=2,
    last_success_seconds_ago=1.0,
    last_error=None,
    last_status=200,
    consecutive_failures=0,
    next_attempt_seconds=None,
    resolved=40,
    duplicates=0,
    rejected=0,
    forks=0,
    sealed=0,
    set_aside=0,
    resent=0,
    lost=0,
    batch_records_max=500,
    dead=[],
    alarms=[],
)
STATUS: Final = DaemonStatus(
    version="0.1.0",
    ready=True,
    not_ready=(),
    draining=False,
    clock_suspect=False,
    uid=65_532,
    calls_in_flight=3,
    instance=InstanceStatus(
        id=INSTANCE,
        kid="ed25519:" + "3" * 64,
        tenant="acme",
        region="eu-west-1",
        topology="sidecar",
        started="2026-11-23T00:00:00.000000Z",
        certificate_serial="019a0c6e-0000-7000-8000-000000000001",
        certificate_until="2026-11-24T00:00:00.000000Z",
        uncertified_seconds=0.0,
        enrolment_error=None,
    ),
    listeners=(
        ListenerStatus("one", "/run/gatepost/agent/agent.sock"),
        ListenerStatus("tcp", "127.0.0.1:4141"),
        ListenerStatus("tcp", "[::1]:4141"),
        ListenerStatus("admin", "/run/gatepost/admin/admin.sock"),
        ListenerStatus("probe", "0.0.0.0:4142"),
    ),
    counters=Counters(
        decisions={"allow": 20, "deny": 2},
        completions={"ok": 19},
        turned_away={"unknown_route": {"one": 4, "tcp": 1}},
    ),
    policy=POLICY,
    spool=SPOOL,
    shipping=SHIPPING,
    credentials=(CredentialStatus(id="openai", path="/key", problem=None, warning=None),),
    require_checkpoint=False,
)
