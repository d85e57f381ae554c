"""What the application gets after a permit: the upstream's answer as it comes, or ours instead.

Owns: that no byte leaves before the record is durable (law 1), the end of an answer (clean only
if the upstream's was, law 9), and what the completion says about it. Refuses: buffering, except
where a tool server's requests must be decided first (``server_stage.py``), and choosing upstreams
(``forward.py``).
"""

from __future__ import annotations

from typing import Final

from gateway import headers, refusal
from gateway.call import CallView
from gateway.errors import CODES, TurnAway, UpstreamFailed
from gateway.ports import Commit
from gateway.protocols.observe import Observer, observer_for
from gateway.recording import Finding
from gateway.server_stage import ServerGate
from gateway.understanding import Understood
from gateway.wire import Answer, ApplicationGone, UpstreamCall, UpstreamHead
from gateway.world import Context

DECISION_ID_HEADER: Final = "x-gatepost-decision-id"
OVERHEAD_HEADER: Final = "x-gatepost-overhead-us"


class Relay:
    """The answer of one permitted exchange. ``begun``: its head may have left already.

    Everything it does stands in ``finding``; of what passed by only digest and size are kept.
    """

    def __init__(
        self,
        context: Context,
        known: Understood,
        call: CallView,
        decision_id: str,
        commit: Commit,
        finding: Finding,
    ) -> None:
        self.begun = False
        self._context = context
        self._known = known
        self._call = call
        self._decision_id = decision_id
        self._commit = commit
        self._finding = finding
        self._digest = context.world.scribe.body_digest()
        self._overhead_us = context.micros_since(context.started_us)

    # -- the upstream's answer ----------------------------------------------------------------

    async def pass_back(self, call: UpstreamCall, head: UpstreamHead) -> None:
        """Pass the answer on, chunk by chunk, to its end.

        Raises UpstreamFailed where it was cut, TurnAway where the record can't be made durable,
        ApplicationGone, and ServerBlocked.
        """
        await self._until_durable()
        context = self._context
        observer = observer_for(context.route, self._call)
        observer.head(head.status, head.headers)
        gate = ServerGate.for_answer(context, self._known, head)
        length = None if gate is not None and gate.may_drop else _length(head)
        passed = headers.returned_headers(head, context.route.response_headers)
        self.begun = True
        await context.incoming.send_head(head.status, (*passed, *self._own_headers()), length)
        try:
            await self._pass_body(call, observer, gate)
        finally:
            complete = self._note(observer)
        if not complete:
            # Cut (law 9), however cleanly the connection closed.
            raise UpstreamFailed("upstream_invalid", "the stream ended without its last event")
        await context.incoming.end()

    async def _until_durable(self) -> None:
        """Law 1; over at once unless the policy said ``before_response``."""
        began_us = self._context.world.clock.mono_us()
        await self._commit.wait()
        waited_us = self._context.micros_since(began_us)
        self._finding.commit_us += waited_us
        self._overhead_us += waited_us

    def _own_headers(self) -> tuple[tuple[str, str], ...]:
        decision_id = (DECISION_ID_HEADER, self._decision_id)
        if not self._context.world.overhead_header:
            return (decision_id,)
        return (decision_id, (OVERHEAD_HEADER, str(self._overhead_us)))

    async def _pass_body(
        self, call: UpstreamCall, observer: Observer, gate: ServerGate | None
    ) -> None:
        while chunk := await call.receive():
            observer.feed(chunk)
            if gate is None:
                await self._send(chunk)
            else:
                await gate.feed(chunk, self._send)
        if gate is not None:
            await gate.finish(self._send)

    async def _send(self, data: bytes) -> None:
        await self._context.incoming.send(data)
        self._digest.feed(data)

    def _note(self, observer: Observer) -> bool:
        """Write down what was seen, also of an answer that was cut; whether it was whole."""
        finding, seen = self._finding, observer.finish()
        finding.served = seen.served
        finding.usage = seen.usage
        finding.finish_reasons = seen.finish_reasons
        finding.upstream_request_id = seen.request_id
        return seen.complete

    # -- ours instead -------------------------------------------------------------------------

    async def fail(self, failed: UpstreamFailed) -> None:
        """Answer with the upstream's failure; an answer that has begun ends as an error."""
        outcome = "timeout" if failed.code == "upstream_timeout" else "upstream_error"
        await self.refuse(failed.code, outcome)

    async def refuse(self, code: str, outcome: str) -> None:
        """End the call with the refusal ``code`` and this outcome, after its record is durable."""
        self._finding.outcome = outcome
        if self.begun:
            self.abort()
            return
        try:
            await self._commit.wait()
        except TurnAway as withheld:
            await self.withhold(withheld)
            return
        answer = refusal.refuse(
            code,
            self._call.protocol,
            decision_id=self._decision_id,
            call=self._call,
            batch=self._known.batch,
        )
        await self._give(answer, CODES[code].status)

    async def withhold(self, turned_away: TurnAway, outcome: str = "response_blocked") -> None:
        """End the call with a turn-away: there is no durable record to answer under."""
        listener = self._context.incoming.peer.listener
        self._finding.outcome = outcome
        self._context.world.tally.turned_away(turned_away.code, listener)
        if self.begun:
            self.abort()
        else:
            answer = refusal.turn_away(turned_away.code, self._call.protocol)
            await self._give(answer, turned_away.spec.status)

    async def _give(self, answer: Answer, status: int) -> None:
        self._finding.status = status
        try:
            await self._context.incoming.answer(answer)
        except ApplicationGone:
            self.lose_application()

    def lose_application(self) -> None:
        """The application went away before its answer ended."""
        self._finding.outcome = "client_abort"
        self.abort()

    def abort(self) -> None:
        """End the answer as an error, whatever of it has left."""
        self._context.incoming.abort()

    def close(self) -> None:
        """Write down the sums; the digest is of what was passed on, null where nothing was."""
        finding, incoming = self._finding, self._context.incoming
        finding.bytes_in = incoming.bytes_in
        finding.bytes_out = incoming.bytes_out
        finding.response = self._digest.text() if self.begun else None
        finding.total_us = self._context.micros_since(self._context.started_us)


def _length(head: UpstreamHead) -> int | None:
    """The body length that the upstream stated; its framing is never copied, only this number."""
    text = head.get("content-length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
