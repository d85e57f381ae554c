"""Rules on every call of one exchange and drafts the records of the rulings.

Owns: asking ``decide`` once per call, turning an earlier refusal into a ruling, refusing a
whole group for one denial, and the rule that what must be recorded whole is not cut. Refuses:
committing the drafts (``exchange.py``) and the policy's semantics (``decide.py``).
"""

from __future__ import annotations

import anyio
import msgspec

from gateway import decide, errors
from gateway.call import CallView, Label
from gateway.decide import Denial, Permit
from gateway.errors import TurnAway
from gateway.lineage import trace_of
from gateway.record import Decision
from gateway.recording import Subject
from gateway.understanding import Understood
from gateway.vocabulary import Stage
from gateway.world import Context


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """One call's verdict and the draft that records it."""

    verdict: Permit | Denial
    draft: Decision
    call: CallView | None


class Rulings(msgspec.Struct, frozen=True, kw_only=True):
    """The rulings of one exchange: one, or one per message of a JSON-RPC batch."""

    each: tuple[Ruling, ...]
    policy_us: int

    @property
    def drafts(self) -> tuple[Decision, ...]:
        return tuple(ruling.draft for ruling in self.each)

    @property
    def denied(self) -> Ruling | None:
        """The ruling to answer with, if anything was denied: the first with a reason of its own."""
        return next((one for one in self.each if isinstance(one.verdict, Denial)), None)


def rule(context: Context, known: Understood, stage: Stage = "request") -> Rulings:
    """Decide and draft. Raises TurnAway (``too_many_denials``) before anything is recorded."""
    began_us = context.world.clock.mono_us()
    labels: tuple[Label | None, ...] = known.labels or (None,) * len(known.calls)
    verdicts = [
        _verdict(context, known, call, label, stage)
        for call, label in zip(known.calls, labels, strict=True)
    ]
    spent_us = context.micros_since(began_us)
    each = [
        _ruling(context, known, call, label, verdict)
        for call, label, verdict in zip(known.calls, labels, verdicts, strict=True)
    ]
    if len(each) > 1 and any(isinstance(one.verdict, Denial) for one in each):
        each = [_with_group(context, known, one) for one in each]
        each.sort(key=lambda one: one.verdict.ruling.reason == "denied")
    rulings = Rulings(each=tuple(each), policy_us=spent_us)
    if rulings.denied is not None:
        _limit_denials(context, known)
    return rulings


def _verdict(
    context: Context,
    known: Understood,
    call: CallView | None,
    label: Label | None,
    stage: Stage,
) -> Permit | Denial:
    if known.refused is not None:
        return decide.refuse(context.snapshot, known.refused.code, context.now_us, stage=stage)
    if call is None:
        raise TurnAway("internal_error", "a call without a reading was not refused")
    return decide.decide(
        context.snapshot,
        known.principal,
        label,
        call,
        context.route,
        context.now_us,
        stage=stage,
        digest_key=context.world.scribe.digest_key,
    )


def _ruling(
    context: Context,
    known: Understood,
    call: CallView | None,
    label: Label | None,
    verdict: Permit | Denial,
) -> Ruling:
    scribe = context.world.scribe
    subject = Subject(
        id=scribe.draw_id(context.wall_us),
        wall_us=context.wall_us,
        route=context.route,
        principal=known.principal,
        call=call,
        label=label,
        request=known.request_digest,
        trace=trace_of(context.incoming.head),
        parent=known.parent,
    )
    draft, too_long = _draft(context, subject, verdict)
    if too_long is not None and isinstance(verdict, Permit):
        stage = verdict.ruling.stage
        verdict = decide.refuse(context.snapshot, "value_too_long", context.now_us, stage=stage)
        draft, _ = _draft(context, subject, verdict)
    return Ruling(verdict=verdict, draft=draft, call=call)


def _draft(
    context: Context, subject: Subject, verdict: Permit | Denial
) -> tuple[Decision, str | None]:
    permitted = isinstance(verdict, Permit)
    return context.world.scribe.decision(
        subject,
        verdict.ruling,
        upstreams=verdict.upstreams if isinstance(verdict, Permit) else (),
        status=None if permitted else errors.CODES[verdict.code].status,
    )


def _with_group(context: Context, known: Understood, ruling: Ruling) -> Ruling:
    """Nothing of a group with a denial is forwarded, so none of it is recorded as allowed."""
    if isinstance(ruling.verdict, Denial):
        return ruling
    refusal = decide.refuse(context.snapshot, "denied", context.now_us)
    label = known.labels[known.calls.index(ruling.call)] if known.labels else None
    return _ruling(context, known, ruling.call, label, refusal)


def _limit_denials(context: Context, known: Understood) -> None:
    agent = known.principal.agent_id or f"uid {context.incoming.peer.uid}"
    if not context.world.denials.take(agent, anyio.current_time()):
        raise TurnAway("too_many_denials")
