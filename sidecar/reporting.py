"""Builds the status document from the parts of a running daemon.

Owns: readiness and its reasons. Refuses: keeping state.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from gateway import __version__
from gateway.io.credentials import CredentialStatus
from gateway.timestamp import time_text
from sidecar import alarms
from sidecar.config import SidecarConfig
from sidecar.outside import Listening
from sidecar.parts import Parts
from sidecar.status import DaemonStatus, InstanceStatus, ListenerStatus


def daemon_status(
    config: SidecarConfig,
    parts: Parts,
    listening: Sequence[tuple[str, Listening]],
    *,
    credentials: tuple[CredentialStatus, ...] = (),
    decides: bool = True,
) -> DaemonStatus:
    """The whole state now. ``listening``: name and socket of each listener.

    ``decides``: whether calls are decided here, for which a policy must be in force.
    """
    policy, spool = parts.policy.status(), parts.spool.status()
    instance, certificate = parts.instance, parts.instance.certificate
    uncertified = instance.uncertified_seconds(parts.outside.clock.wall_us())
    suspect = parts.clock_suspect or policy.clock_suspect
    not_ready = [
        why
        for why, holds in (
            ("starting: the first record is not durable yet", not parts.started.is_set()),
            (f"policy is {policy.state}", decides and policy.state not in ("fresh", "stale")),
            (f"spool is {spool.state}", spool.state not in ("ok", "pressure")),
            ("the key has been without a certificate too long", not parts.key_usable()),
            ("the clock is suspect", suspect),
            ("draining", parts.in_flight.draining),
        )
        if holds
    ]
    shipping = parts.shipper.status()
    return DaemonStatus(
        version=__version__,
        ready=not not_ready,
        not_ready=tuple(not_ready),
        alarms=alarms.raised(
            spool,
            shipping,
            parts.recovery,
            clock_suspect=suspect,
            conflict=parts.enroller.conflict,
            policy=policy.alarms,
        ),
        draining=parts.in_flight.draining,
        clock_suspect=suspect,
        uid=os.getuid(),
        calls_in_flight=parts.in_flight.calls,
        instance=InstanceStatus(
            id=instance.id,
            kid=instance.signer.kid,
            tenant=config.tenant,
            region=config.region,
            topology=config.topology,
            started=time_text(instance.started_us),
            certificate_serial=None if certificate is None else certificate.serial,
            certificate_until=None if certificate is None else certificate.not_after,
            uncertified_seconds=uncertified,
            enrolment_error=parts.enroller.last_error,
        ),
        listeners=tuple(ListenerStatus(name, one.address) for name, one in listening),
        counters=parts.tally.counters(),
        policy=policy,
        spool=spool,
        shipping=shipping,
        recovery=parts.recovery,
        credentials=credentials,
    )
