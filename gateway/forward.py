"""Forwards a permitted call and records how it ended.

Owns: trying the permit's upstreams in order (law 11: again only when no byte of the request was
sent, or the route is idempotent), cancelling the upstream's call when the application hangs up,
when all calls are cut or when the record cannot be made durable, and the completion record.
Refuses: any upstream that the permit does not name, repeating a call that an upstream may have
read, and the answer itself (``relay.py``).
"""

from __future__ import annotations

from typing import Final

import anyio

from gateway import headers, limits
from gateway.call import Upstream
from gateway.decide import Permit
from gateway.errors import TurnAway, UpstreamFailed
from gateway.lineage import PARENT_HEADER, hops_from
from gateway.ports import Commit, Reservation
from gateway.record import Attempt
from gateway.recording import Finding
from gateway.relay import Relay
from gateway.routes import upstream_target
from gateway.ruling import Rulings
from gateway.server_stage import ServerBlocked
from gateway.understanding import Understood
from gateway.wire import ApplicationGone, OutgoingRequest, UpstreamCall
from gateway.world import Context

_INTERRUPTED: Final = "shutdown"
"""What a completion says unless the call reached an end of its own."""
_CODE_OF_CUT: Final = {"response_blocked": "policy_locked", "shutdown": "draining"}
"""Outcome with which all calls were cut → what one is told whose answer has not begun."""


class Forwarding:
    """One permitted exchange on its way to an upstream."""

    def __init__(
        self,
        context: Context,
        known: Understood,
        rulings: Rulings,
        commit: Commit,
        finding: Finding,
    ) -> None:
        first = rulings.each[0]
        assert isinstance(first.verdict, Permit)
        assert first.call is not None
        self.relay = Relay(context, known, first.call, first.draft.id, commit, finding)
        self._context = context
        self._known = known
        self._permit = first.verdict
        self._body = known.body if first.verdict.body is None else first.verdict.body
        self._commit = commit
        self._finding = finding
        self._upload = None if self._body is not None else context.world.scribe.body_digest()
        self._trying: anyio.CancelScope | None = None
        self._lost: TurnAway | None = None
        self._may_repeat = True

    async def run(self) -> None:
        """Forward and pass back; every end but cancellation is in the finding afterwards."""
        try:
            if self._trying is None:
                await self._try_upstreams()
            else:
                await self._try_unless_lost(self._trying)
        except ApplicationGone:
            self.relay.lose_application()
        except ServerBlocked:
            self._finding.outcome = "response_blocked"
            self.relay.abort()
        except UpstreamFailed as failed:
            await self.relay.fail(failed)
        except _UploadFailed as failed:
            await self.relay.withhold(failed.turned_away, "client_abort")
        except TurnAway as withheld:
            await self.relay.withhold(withheld)
        except Exception as error:  # a fault of ours: the answer must not end cleanly
            self._context.world.report("forward_failed", error)
            await self.relay.withhold(TurnAway("internal_error"))

    async def run_beside_commit(self) -> None:
        """``run`` while the record is on its way to the disk; over at once if it is lost."""
        self._trying = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_commit, self._trying)
            await self.run()
            group.cancel_scope.cancel()

    async def _watch_commit(self, trying: anyio.CancelScope) -> None:
        try:
            await self._commit.wait()
        except TurnAway as lost:
            self._lost = lost
            trying.cancel()

    async def _try_unless_lost(self, trying: anyio.CancelScope) -> None:
        with trying:
            await self._try_upstreams()
        if self._lost is not None:
            raise self._lost

    # -- upstreams ----------------------------------------------------------------------------

    async def _try_upstreams(self) -> None:
        failed = UpstreamFailed("upstream_unreachable", "the permit names no upstream")
        for upstream in self._permit.upstreams:
            try:
                await self._attempt(upstream)
                return
            except UpstreamFailed as error:
                if not self._may_repeat:
                    raise
                failed = error
        raise failed

    async def _attempt(self, upstream: Upstream) -> None:
        """One try, written down however it ends: cancellation included."""
        finding, began_us = self._finding, self._context.world.clock.mono_us()
        code: str | None = None
        try:
            call = await self._open(upstream)
            finding.upstream = upstream.name
            async with call:
                await self._exchange(call)
        except UpstreamFailed as error:
            code = error.code
            raise
        finally:
            finding.upstream_us = self._context.micros_since(began_us)
            finding.attempts.append(
                Attempt(
                    upstream=upstream.name,
                    region=upstream.region,
                    status=finding.status,
                    code=code,
                    latency_us=finding.upstream_us,
                )
            )

    async def _open(self, upstream: Upstream) -> UpstreamCall:
        route = self._context.route
        return await self._context.world.upstreams.open(
            upstream,
            self._outgoing(upstream),
            first_byte_seconds_max=route.first_byte_seconds_max,
            idle_seconds_max=route.stream_idle_seconds_max,
        )

    async def _exchange(self, call: UpstreamCall) -> None:
        finding = self._finding
        try:
            await self._send_body(call)
            head = await call.receive_head()
            finding.first_byte_us = self._context.micros_since(self._context.started_us)
            finding.status = head.status
            await self.relay.pass_back(call, head)
        finally:
            self._may_repeat = self._is_repeatable(call)
        finding.outcome = "ok" if head.status < 400 else "upstream_error"

    def _is_repeatable(self, call: UpstreamCall) -> bool:
        if self.relay.begun or self._body is None:
            return False
        return self._context.route.idempotent or not call.sent_any

    # -- the request --------------------------------------------------------------------------

    def _outgoing(self, upstream: Upstream) -> OutgoingRequest:
        context = self._context
        head, body = context.incoming.head, self._body
        if body is not None:
            content_length: int | None = len(body)
        else:
            content_length = None if head.chunked else head.content_length or 0
        extra = context.world.credentials(upstream.credential_id) + self._parent(upstream)
        return OutgoingRequest(
            method=head.method,
            target=upstream_target(context.route, upstream, head),
            headers=headers.outgoing_headers(head, context.route.request_headers, extra),
            content_length=content_length,
        )

    def _parent(self, upstream: Upstream) -> headers.Headers:
        """The link to our decision, for another gateway. It is made for bytes that are known, so
        a streamed upload has none. Of a batch it names the first decision."""
        if not upstream.gateway or self._body is None:
            return ()
        hops = hops_from(self._known.parent)
        value = self._context.world.parent_header(self._commit.receipts[0], self._body, hops)
        return () if value is None else ((PARENT_HEADER, value),)

    async def _send_body(self, call: UpstreamCall) -> None:
        if self._body is None:
            await self._send_upload(call)
        elif self._body:
            await call.send(self._body)
        await call.end()

    async def _send_upload(self, call: UpstreamCall) -> None:
        assert self._upload is not None
        incoming = self._context.incoming
        while True:
            try:
                chunk = await incoming.read_chunk()
            except TurnAway as broken:
                raise _UploadFailed(broken) from broken
            if not chunk:
                return
            self._upload.feed(chunk)
            await call.send(chunk)

    @property
    def interrupted(self) -> bool:
        """Whether it has reached no end of its own yet."""
        return self._finding.outcome == _INTERRUPTED

    def close(self) -> None:
        """Write down the sums of the call."""
        self._finding.request = None if self._upload is None else self._upload.text()
        self.relay.close()


class _UploadFailed(Exception):
    """The application's body stopped or broke while it was streamed on."""

    def __init__(self, turned_away: TurnAway) -> None:
        super().__init__(turned_away.code)
        self.turned_away = turned_away


async def forward(
    context: Context,
    known: Understood,
    rulings: Rulings,
    commit: Commit,
    reservation: Reservation,
    finding: Finding,
    *,
    durable: bool,
) -> None:
    """Forward one permitted exchange and record its end. ``durable``: ``commit`` is over.

    The completion is submitted whatever happens, cancellation included: submitting is
    synchronous, so it cannot be interrupted.
    """
    finding.outcome = _INTERRUPTED
    forwarding = Forwarding(context, known, rulings, commit, finding)
    try:
        await _run(context, forwarding, since=rulings.moment.cuts, durable=durable)
    finally:
        if forwarding.interrupted:
            forwarding.relay.abort()
        forwarding.close()
        _record_end(context, rulings, reservation, finding)


async def _run(context: Context, forwarding: Forwarding, *, since: int, durable: bool) -> None:
    """Run to an end: the call's own, or the cut of this call or all calls, or its deadline."""
    # One scope for all of these: each would cost more than the rest of this function.
    deadline = anyio.current_time() + context.route.call_seconds_max
    in_flight, relay = context.world.in_flight, forwarding.relay
    with anyio.CancelScope(deadline=deadline) as scope, in_flight.cuttable(scope, since) as call:
        if call.outcome is None:
            call.watch(context.incoming.hung_up)
            await (forwarding.run() if durable else forwarding.run_beside_commit())
    if call.outcome is not None and forwarding.interrupted:
        await _end_cut(relay, call.outcome)
    elif scope.cancelled_caught and forwarding.interrupted:
        await relay.fail(UpstreamFailed("upstream_timeout"))
    elif scope.cancelled_caught:
        relay.abort()  # while it was answered: what is left of that answer makes no sense


async def _end_cut(relay: Relay, outcome: str) -> None:
    """End a call that was cut. Whose answer has not begun is told why, if it takes it at once."""
    code = _CODE_OF_CUT.get(outcome)
    if code is None:
        relay.lose_application()
        return
    with anyio.move_on_after(limits.CUT_ANSWER_SECONDS_MAX) as scope:
        await relay.refuse(code, outcome)
    if scope.cancelled_caught:
        relay.abort()


def _record_end(
    context: Context, rulings: Rulings, reservation: Reservation, finding: Finding
) -> None:
    world = context.world
    wall_us = world.clock.wall_us()
    drafts = [world.scribe.completion(one.draft.id, wall_us, finding) for one in rulings.each]
    try:
        world.log.submit(reservation, *drafts, unhurried=True)
    except TurnAway as failed:
        # The disk failed after the answer: the decision stays, its outcome is unknown.
        world.report("completion_lost", failed)
        return
    for _ in drafts:
        world.tally.completed(finding.outcome)
