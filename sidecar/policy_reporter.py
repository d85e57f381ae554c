"""Tells the policy service which policy is in force here: after each change, and as a sign of life.

Owns: when a report is due, the connection it goes over, and trying again with jitter. Refuses:
delaying anything: a service that is away only makes its view of the fleet older. There is no queue;
what is sent is what holds at that moment, so the latest always wins.
"""

from __future__ import annotations

from typing import Final

import anyio
import msgspec

from gateway.documents import Envelope
from gateway.policy_report import PolicyReport, RefusedPolicy, ReportBody, reports_path
from gateway.ports import Entropy, Service, ServiceUnreachable
from gateway.shipping import refusal_code
from gateway.timestamp import time_text
from gateway.vocabulary import PolicyState
from policy_cache.cache import PolicyCache
from policy_cache.progress import Refusal
from sidecar.eventlog import EventLog
from sidecar.instance import Instance

_RETRY_SECONDS: Final = 1.0
_LOOK_SECONDS_MIN: Final = 1.0
_LEAVE_SECONDS_MAX: Final = 1.0
_TAKES_NONE: Final = frozenset({403, 404, 405, 410, 501})
"""What a plain web server, or a policy service of before reports, answers to a POST."""


class PolicyReporter:
    """``seconds``: between two signs of life, at most; 0 reports nothing."""

    def __init__(
        self,
        *,
        instance: Instance,
        policy: PolicyCache,
        scope: str,
        service: Service,
        seconds: float,
        entropy: Entropy,
        log: EventLog,
    ) -> None:
        self._instance = instance
        self._policy = policy
        self._path = reports_path(scope)
        self._service = service
        self._seconds = seconds
        self._entropy = entropy
        self._log = log
        self._told = False
        self._leaving = False

    async def run(self) -> None:
        """Report for ever, once certified: the certificate is the credential."""
        if not self._seconds:
            return
        await self._instance.certified.wait()
        failures = 0
        while True:
            news, state = self._policy.progress.news, self._state()
            if await self._post():
                failures = 0
                await self._wait(news, state)
            else:
                failures += 1
                await anyio.sleep(self._retry_seconds(failures))

    async def leave(self) -> None:
        """Say that this instance ends, so that nobody waits for it; beside the end itself."""
        self._leaving = True
        if self._told:
            with anyio.move_on_after(_LEAVE_SECONDS_MAX):
                await self._post()

    async def _wait(self, news: anyio.Event, state: PolicyState) -> None:
        """Until there is news, or the state changed by time alone, or a sign of life is due."""
        # Never in step with the rest of the fleet, and never later than was promised.
        due = anyio.current_time() + self._seconds * (0.5 + 0.5 * self._entropy.fraction())
        while (left := due - anyio.current_time()) > 0 and self._state() == state:
            with anyio.move_on_after(min(left, self._seconds_to_change())):
                await news.wait()
                return

    def _state(self) -> PolicyState:
        return self._policy.status().state

    def _seconds_to_change(self) -> float:
        """Until the snapshot grows stale or expires, as its signed times say."""
        snapshot = self._policy.current()
        if snapshot is None:
            return self._seconds
        now_us = self._policy.now_us()
        ends = (snapshot.fresh_until_us, snapshot.expires_us)
        left = [(end_us - now_us) / 1e6 for end_us in ends if end_us > now_us]
        return max(_LOOK_SECONDS_MIN, min(left, default=self._seconds))

    def _retry_seconds(self, failures: int) -> float:
        """Full jitter: a fleet that lost its policy service must not come back in step."""
        ceiling = min(self._seconds, _RETRY_SECONDS * 2.0 ** min(failures, 10))
        return _RETRY_SECONDS + ceiling * self._entropy.fraction()

    async def _post(self) -> bool:
        """Whether it was taken, or nobody here takes any."""
        certificate = self._instance.certificate_envelope
        assert certificate is not None
        body = msgspec.json.encode(self._body(certificate))
        headers = {"content-type": "application/json"}
        try:
            answer = await self._service.call("POST", self._path, headers=headers, body=body)
        except ServiceUnreachable as unreachable:
            self._log.warning("policy_report_failed", reason=unreachable.kind)
            return False
        if answer.status < 300:
            self._told = True
            return True
        code = refusal_code(answer.body)
        self._log.warning("policy_report_failed", status=answer.status, code=code)
        return answer.status in _TAKES_NONE

    def _body(self, certificate: Envelope) -> ReportBody:
        snapshot, progress = self._policy.current(), self._policy.progress
        return ReportBody(
            report=PolicyReport(
                channel=progress.channel,
                state=self._state(),
                head_version=None if snapshot is None else snapshot.head_version,
                version=None if snapshot is None else snapshot.version,
                digest=None if snapshot is None else snapshot.digest,
                received=_text(progress.received_us),
                verified=_text(progress.verified_us),
                activated=_text(progress.activated_us),
                refused=None if progress.refused is None else _refused(progress.refused),
                leaving=self._leaving,
            ),
            certificate=certificate,
        )


def _text(time_us: int | None) -> str | None:
    return None if time_us is None else time_text(time_us)


def _refused(refusal: Refusal) -> RefusedPolicy:
    return RefusedPolicy(
        code=refusal.code,
        time=time_text(refusal.time_us),
        head_version=refusal.head_version,
        version=refusal.version,
        digest=refusal.digest,
    )
