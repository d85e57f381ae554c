"""Forwards a permitted call and streams the answer back.

Owns: trying the permit's upstreams in order (law 11: again only when no byte of the request was
sent, or the route is idempotent), passing the answer on chunk by chunk, ending it as an error
when the upstream is cut (law 9), and the completion record. Refuses: any upstream that the
permit does not name, buffering an answer, and repeating a call that an upstream may have read.
"""

from __future__ import annotations

from typing import Final

import anyio

from gateway import headers, refusal
from gateway.call import Upstream
from gateway.decide import Permit
from gateway.errors import TurnAway, UpstreamFailed
from gateway.inflight import Cuttable
from gateway.ports import Commit, Reservation
from gateway.protocols.observe import Observer, observer_for
from gateway.record import Attempt
from gateway.recording import Finding
from gateway.routes import upstream_target
from gateway.ruling import Rulings
from gateway.server_stage import ServerBlocked, ServerGate
from gateway.understanding import Understood
from gateway.wire import (
    ApplicationGone,
    Incoming,
    OutgoingRequest,
    UpstreamCall,
    UpstreamHead,
)
from gateway.world import Context

DECISION_ID_HEADER: Final = "x-gatepost-decision-id"
_INTERRUPTED: Final = "shutdown"
"""What a completion says unless the call reached an end of its own."""


class Forwarding:
    """One permitted exchange on its way to an upstream and back."""

    def __init__(
        self, context: Context, known: Understood, rulings: Rulings, commit: Commit
    ) -> None:
        first = rulings.each[0]
        assert isinstance(first.verdict, Permit)
        assert first.call is not None
        self._context = context
        self._known = known
        self._permit = first.verdict
        self._call = first.call
        self._commit = commit
        self._decision_id = first.draft.id
        self._digest = context.world.scribe.body_digest()
        self._upload = None if known.body is not None else context.world.scribe.body_digest()
        self._head_sent = False

    async def run(self, finding: Finding) -> None:
        """Forward and pass back; every end but cancellation is in ``finding`` afterwards."""
        incoming = self._context.incoming
        try:
            with anyio.fail_after(self._context.route.call_seconds_max):
                await self._try_upstreams(finding)
        except ApplicationGone:
            finding.outcome = "client_abort"
            incoming.abort()
        except ServerBlocked:
            finding.outcome = "response_blocked"
            incoming.abort()
        except TimeoutError:
            await self._fail(finding, UpstreamFailed("upstream_timeout"))
        except UpstreamFailed as failed:
            await self._fail(finding, failed)
        except TurnAway as withheld:
            # before_response: the record could not be made durable, so no answer is given.
            finding.outcome = "response_blocked"
            await self._withhold(withheld)
        except Exception as error:  # a fault of ours: the answer must not end cleanly
            self._context.world.report("forward_failed", error)
            finding.outcome = "response_blocked"
            await self._withhold(TurnAway("internal_error"))

    async def _try_upstreams(self, finding: Finding) -> None:
        failed = UpstreamFailed("upstream_unreachable", "the permit names no upstream")
        route = self._context.route
        repeatable = route.idempotent and self._known.body is not None
        for upstream in self._permit.upstreams:
            began_us = self._context.world.clock.mono_us()
            try:
                call = await self._open(upstream)
            except UpstreamFailed as error:  # no byte was sent: the next one may be tried
                finding.attempts.append(self._attempt(upstream, None, error.code, began_us))
                failed = error
                continue
            finding.upstream = upstream.name
            try:
                async with call:
                    await self._exchange(call, finding)
            except UpstreamFailed as error:
                finding.attempts.append(
                    self._attempt(upstream, finding.status, error.code, began_us)
                )
                if self._head_sent or not repeatable:
                    raise
                failed = error
                continue
            finding.attempts.append(self._attempt(upstream, finding.status, None, began_us))
            finding.upstream_us = self._context.micros_since(began_us)
            return
        raise failed

    def _attempt(
        self, upstream: Upstream, status: int | None, code: str | None, began_us: int
    ) -> Attempt:
        return Attempt(
            upstream=upstream.name,
            region=upstream.region,
            status=status,
            code=code,
            latency_us=self._context.micros_since(began_us),
        )

    async def _open(self, upstream: Upstream) -> UpstreamCall:
        route = self._context.route
        return await self._context.world.upstreams.open(
            upstream,
            self._outgoing(upstream),
            first_byte_seconds_max=route.first_byte_seconds_max,
            idle_seconds_max=route.stream_idle_seconds_max,
        )

    async def _exchange(self, call: UpstreamCall, finding: Finding) -> None:
        await self._send_body(call)
        head = await call.receive_head()
        finding.first_byte_us = self._context.micros_since(self._context.started_us)
        finding.status = head.status
        await self._pass_back(call, head, finding)
        finding.outcome = "ok" if head.status < 400 else "upstream_error"

    def _outgoing(self, upstream: Upstream) -> OutgoingRequest:
        context = self._context
        head = context.incoming.head
        body = self._known.body
        extra = context.world.credentials(upstream.credential_id)
        return OutgoingRequest(
            method=head.method,
            target=upstream_target(context.route, upstream, head),
            headers=headers.outgoing_headers(head, context.route.request_headers, extra),
            content_length=head.content_length if body is None else len(body),
        )

    async def _send_body(self, call: UpstreamCall) -> None:
        if self._known.body is not None:
            if self._known.body:
                await call.send(self._known.body)
        else:
            assert self._upload is not None
            while chunk := await self._context.incoming.read_chunk():
                self._upload.feed(chunk)
                await call.send(chunk)
        await call.end()

    async def _pass_back(self, call: UpstreamCall, head: UpstreamHead, finding: Finding) -> None:
        incoming = self._context.incoming
        await self._commit.wait()  # law 1; already done unless the policy said before_response
        observer = observer_for(self._context.route, self._call)
        observer.head(head.status, head.headers)
        passed = headers.returned_headers(head, self._context.route.response_headers)
        self._head_sent = True
        await incoming.send_head(
            head.status, (*passed, (DECISION_ID_HEADER, self._decision_id)), _length(head)
        )
        gate = ServerGate.for_answer(self._context, self._known, head)
        while chunk := await call.receive():
            observer.feed(chunk)
            self._digest.feed(chunk)
            if gate is None:
                await incoming.send(chunk)
            else:
                for event in await gate.release(chunk):
                    await incoming.send(event)
        self._observed(observer, finding)
        await incoming.end()

    def _observed(self, observer: Observer, finding: Finding) -> None:
        seen = observer.finish()
        finding.served = seen.served
        finding.usage = seen.usage
        finding.finish_reasons = seen.finish_reasons
        finding.upstream_request_id = seen.request_id
        if not seen.complete:
            # Cut (law 9), however cleanly the connection closed.
            raise UpstreamFailed("upstream_invalid", "the stream ended without its last event")

    async def _fail(self, finding: Finding, failed: UpstreamFailed) -> None:
        finding.outcome = "timeout" if failed.code == "upstream_timeout" else "upstream_error"
        incoming = self._context.incoming
        if self._head_sent:
            incoming.abort()
            return
        finding.status = failed.spec.status
        answer = refusal.refuse(
            failed.code,
            self._call.protocol,
            decision_id=self._decision_id,
            call=self._call,
        )
        try:
            await self._commit.wait()
            await incoming.answer(answer)
        except ApplicationGone:
            finding.outcome = "client_abort"
            incoming.abort()

    async def _withhold(self, turned_away: TurnAway) -> None:
        incoming = self._context.incoming
        self._context.world.tally.turned_away(turned_away.code, incoming.peer.listener)
        if self._head_sent:
            incoming.abort()
            return
        try:
            await incoming.answer(refusal.turn_away(turned_away.code, self._call.protocol))
        except ApplicationGone:
            incoming.abort()

    def close(self, finding: Finding) -> None:
        """Write down the sums of the call; digests only of what passed by."""
        incoming = self._context.incoming
        finding.bytes_in = incoming.bytes_in
        finding.bytes_out = incoming.bytes_out
        finding.response = self._digest.text() if self._head_sent else None
        finding.request = None if self._upload is None else self._upload.text()
        finding.total_us = self._context.micros_since(self._context.started_us)


async def forward(
    context: Context,
    known: Understood,
    rulings: Rulings,
    commit: Commit,
    reservation: Reservation,
    finding: Finding,
) -> None:
    """Forward one permitted exchange, watch for the application hanging up, and record its end.

    The completion is submitted whatever happens, cancellation included: submitting is
    synchronous, so it cannot be interrupted.
    """
    forwarding = Forwarding(context, known, rulings, commit)
    finding.outcome = _INTERRUPTED
    cuttable: Cuttable | None = None
    try:
        async with anyio.create_task_group() as group:
            with context.world.in_flight.cuttable(group.cancel_scope) as cuttable:
                group.start_soon(_cut_when_gone, context.incoming, cuttable)
                await forwarding.run(finding)
            group.cancel_scope.cancel()
    finally:
        if finding.outcome == _INTERRUPTED:
            context.incoming.abort()
            if cuttable is not None and cuttable.outcome is not None:
                finding.outcome = cuttable.outcome
        forwarding.close(finding)
        _record_end(context, rulings, reservation, finding)


def _record_end(
    context: Context, rulings: Rulings, reservation: Reservation, finding: Finding
) -> None:
    world = context.world
    wall_us = world.clock.wall_us()
    drafts = [world.scribe.completion(one.draft.id, wall_us, finding) for one in rulings.each]
    try:
        world.log.submit(reservation, *drafts)
    except TurnAway as failed:
        # The disk failed after the answer: the decision stays, its outcome is unknown.
        world.report("completion_lost", failed)
        return
    for _ in drafts:
        world.tally.completed(finding.outcome)


async def _cut_when_gone(incoming: Incoming, cuttable: Cuttable) -> None:
    await incoming.wait_gone()
    cuttable.cut("client_abort")


def _length(head: UpstreamHead) -> int | None:
    """The body length that the upstream stated; its framing is never copied, only this number."""
    text = head.get("content-length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
