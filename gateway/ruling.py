"""Rules on every call of one exchange and drafts the records of the rulings.

Owns: reading the policy snapshot and the time once for all of them, asking ``decide`` once per
call (and once more with the body that it wants), turning an earlier refusal into a ruling,
refusing a whole group for one denial, and the rule that what must be recorded whole is not cut.
Refuses: committing the drafts (``exchange.py``), changing a body (``amending.py``) and the
policy's semantics (``decide.py``).
"""

from __future__ import annotations

import anyio
import msgspec

from gateway import decide, errors
from gateway.amending import amend
from gateway.call import CallView, Label
from gateway.decide import Denial, Permit
from gateway.errors import TurnAway
from gateway.lineage import trace_of
from gateway.obligation import Amendment, Unmet
from gateway.record import Decision
from gateway.recording import Subject
from gateway.snapshot import Snapshot
from gateway.understanding import Understood
from gateway.vocabulary import Stage
from gateway.world import Context

_GROUP_DENIED = "denied"
"""Reason of a call that is refused only because another one of its batch is."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When a ruling is made: the policy in force (read once, law 4) and the time.

    ``wall_us`` is the node's claim and stands in the record; ``now_us`` is the trusted time that
    policy is held against. ``cuts``: ``InFlight.cuts`` at that moment.
    """

    snapshot: Snapshot | None
    wall_us: int
    now_us: int
    cuts: int


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """One call's verdict and the draft that records it. ``detail``: for the caller, what was
    wrong and where; empty where policy alone decided."""

    verdict: Permit | Denial
    draft: Decision
    call: CallView | None
    detail: str = ""


class Rulings(msgspec.Struct, frozen=True, kw_only=True):
    """The rulings of one exchange: one, or one per message of a JSON-RPC batch, in its order."""

    each: tuple[Ruling, ...]
    moment: Moment
    policy_us: int

    @property
    def drafts(self) -> tuple[Decision, ...]:
        return tuple(ruling.draft for ruling in self.each)

    @property
    def denied(self) -> Ruling | None:
        """The ruling to answer with, if anything was denied: the first with a reason of its own."""
        denied = [one for one in self.each if isinstance(one.verdict, Denial)]
        own = (one for one in denied if one.verdict.ruling.reason != _GROUP_DENIED)
        return next(own, denied[0]) if denied else None


async def rule(context: Context, known: Understood, stage: Stage = "request") -> Rulings:
    """Decide and draft; waits only where a body must be changed.

    Raises TurnAway (``too_many_denials``) before anything is recorded.
    """
    bench = _Bench(context, known, stage)
    labels: tuple[Label | None, ...] = known.labels or (None,) * len(known.calls)
    pairs = zip(known.calls, labels, strict=True)
    each = [await bench.rule(call, label) for call, label in pairs]
    if len(each) > 1 and not _go_together(each):
        each = [bench.with_group(one, label) for one, label in zip(each, labels, strict=True)]
    rulings = Rulings(each=tuple(each), moment=bench.moment, policy_us=bench.spent_us)
    if rulings.denied is not None:
        _limit_denials(context, known, len(each))
    return rulings


def _go_together(each: list[Ruling]) -> bool:
    """Whether a batch may be forwarded: it is one request, so it goes to one upstream, and every
    message of it must be permitted there, in the same order of preference."""
    permitted = {one.verdict.upstreams if isinstance(one.verdict, Permit) else None for one in each}
    return None not in permitted and len(permitted) == 1


def _limit_denials(context: Context, known: Understood, records: int) -> None:
    """Every recorded denial costs the agent one of its share: a batch as many as it holds."""
    agent = known.principal.agent_id or f"uid {context.incoming.peer.uid}"
    now = anyio.current_time()
    if not all(context.world.denials.take(agent, now) for _ in range(records)):
        raise TurnAway("too_many_denials")


class _Bench:
    """Rules on calls of one exchange, all at the same moment."""

    def __init__(self, context: Context, known: Understood, stage: Stage) -> None:
        world = context.world
        wall_us = world.clock.wall_us()
        self.moment = Moment(
            snapshot=world.policy(),
            wall_us=wall_us,
            now_us=max(wall_us, world.signed_time_us()),
            cuts=world.in_flight.cuts,
        )
        self.spent_us = 0
        self._context = context
        self._known = known
        self._stage: Stage = stage
        self._trace = trace_of(context.incoming.head)

    async def rule(self, call: CallView | None, label: Label | None) -> Ruling:
        began_us = self._context.world.clock.mono_us()
        refused = self._known.refused
        detail = "" if refused is None else refused.detail
        verdict = self._verdict(call, label)
        if isinstance(verdict, Denial) and verdict.owed:
            try:
                verdict = self._verdict(call, label, await self._amendment(verdict, call, label))
            except Unmet as unmet:
                detail = f"the policy demands a change of this request: {unmet}"
        self.spent_us += self._context.micros_since(began_us)
        return self._ruling(call, label, verdict, detail)

    async def _amendment(
        self, denial: Denial, call: CallView | None, label: Label | None
    ) -> Amendment:
        """What the obligations of ``denial`` make of the body. Raises Unmet, whatever fails."""
        known = self._known
        if self._stage != "request" or known.batch or call is None or label is None:
            raise Unmet("it is one of several messages that go together")
        try:
            return await amend(
                self._context,
                denial.owed,
                principal=known.principal,
                call=call,
                label=label,
                body=known.body,
            )
        except (Unmet, TurnAway):
            raise
        except Exception as error:  # a fault of ours must not be taken for a changed body
            self._context.world.report("amending_failed", error)
            raise Unmet("it could not be made") from error

    def with_group(self, ruling: Ruling, label: Label | None) -> Ruling:
        """Nothing of a group with a denial is forwarded, so none of it is recorded as allowed."""
        if isinstance(ruling.verdict, Denial):
            return ruling
        return self._ruling(ruling.call, label, self._refusal(_GROUP_DENIED), "")

    def _verdict(
        self, call: CallView | None, label: Label | None, amendment: Amendment | None = None
    ) -> Permit | Denial:
        if self._known.refused is not None:
            return self._refusal(self._known.refused.code)
        if call is None:
            raise TurnAway("internal_error", "a call without a reading was not refused")
        return decide.decide(
            self.moment.snapshot,
            self._known.principal,
            label,
            call,
            self._context.route,
            self.moment.now_us,
            stage=self._stage,
            digest_key=self._context.world.scribe.digest_key,
            amendment=amendment,
        )

    def _refusal(self, code: str) -> Denial:
        return decide.refuse(self.moment.snapshot, code, self.moment.now_us, stage=self._stage)

    def _ruling(
        self, call: CallView | None, label: Label | None, verdict: Permit | Denial, detail: str
    ) -> Ruling:
        scribe = self._context.world.scribe
        subject = Subject(
            id=scribe.draw_id(self.moment.wall_us),
            wall_us=self.moment.wall_us,
            route=self._context.route,
            principal=self._known.principal,
            call=call,
            label=label,
            request=self._known.request_digest,
            trace=self._trace,
            parent=self._known.parent,
        )
        draft, too_long = self._draft(subject, verdict)
        decided = self._known.refused is None and verdict.ruling.reason != _GROUP_DENIED
        if too_long is not None and decided:
            # Also instead of a denial: rules were chosen by a name that no record could show.
            verdict, detail = self._refusal("value_too_long"), too_long
            draft, _ = self._draft(subject, verdict)
        return Ruling(verdict=verdict, draft=draft, call=call, detail=detail)

    def _draft(self, subject: Subject, verdict: Permit | Denial) -> tuple[Decision, str | None]:
        scribe = self._context.world.scribe
        if isinstance(verdict, Permit):
            return scribe.decision(
                subject,
                verdict.ruling,
                upstreams=verdict.upstreams,
                status=None,
                forwarded=verdict.body,
            )
        status = errors.CODES[verdict.code].status
        return scribe.decision(subject, verdict.ruling, upstreams=(), status=status)
