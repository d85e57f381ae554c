"""What operators see of a daemon: one frozen document, built from the parts' own statuses.

Owns: putting them together, and whether the daemon is ready. Refuses: measuring; each part
counts for itself.
"""

from __future__ import annotations

import msgspec

from gateway.documents import Counters
from gateway.io.credentials import CredentialStatus
from policy_cache.status import PolicyStatus
from sidecar.recovery import RecoveryStatus
from spool.status import ShipStatus, SpoolStatus


class InstanceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``certificate_until`` and the rest are null before the first certificate."""

    id: str
    kid: str
    tenant: str
    region: str
    topology: str
    started: str
    certificate_serial: str | None
    certificate_until: str | None
    uncertified_seconds: float
    enrolment_error: str | None


class ListenerStatus(msgspec.Struct, frozen=True):
    """``address``: socket path or host:port."""

    name: str
    address: str


class SpoolReport(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``GET /spool/status``, and one line of it per change with ``?follow=1``.

    ``alarms``: all of the daemon, a word each (``sidecar.alarms``).
    """

    spool: SpoolStatus
    shipping: ShipStatus
    recovery: RecoveryStatus
    alarms: tuple[str, ...]


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``GET /status``. ``not_ready`` says why, empty when ready; ``alarms`` are words
    of ``sidecar.alarms``, those of spool and shipping among them."""

    version: str
    ready: bool
    not_ready: tuple[str, ...]
    alarms: tuple[str, ...]
    draining: bool
    clock_suspect: bool
    uid: int
    calls_in_flight: int
    instance: InstanceStatus
    listeners: tuple[ListenerStatus, ...]
    counters: Counters
    policy: PolicyStatus
    spool: SpoolStatus
    shipping: ShipStatus
    recovery: RecoveryStatus
    credentials: tuple[CredentialStatus, ...]
