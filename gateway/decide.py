"""The decision: (policy snapshot, principal, label, call) → Permit or Denial.

Nothing is forwarded without a ``Permit``, and only ``decide`` can make one. A Denial is a value:
an error is the absence of a decision, and fails closed somewhere else.

Owns: the order of judgement (state of the policy, provider-side tools, rules, obligations,
upstreams), the parts of the ruling that the record holds, and the signed exception of
``open_on_expired``. Refuses: I/O, clocks and chance (``now_us`` is an argument), and any local
switch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec

from gateway import record
from gateway.call import CallView, Label, Principal, Route, Upstream
from gateway.errors import CODES
from gateway.facts import NONE, facts_of
from gateway.inputs import Inputs, gather
from gateway.judgement import Judgement, judge
from gateway.limits import UPSTREAMS_MAX
from gateway.obligation import Amendment, bodily, obligation_text
from gateway.policy import Obligation
from gateway.seal import sha256_text
from gateway.snapshot import Snapshot
from gateway.target import TOOL_OPERATIONS
from gateway.truth import Truth
from gateway.vocabulary import Outcome, PolicyState, RecordCommit, Stage

_TOKEN: Final = object()
_NO_POLICY: Final = record.Policy(
    scope=None, version=None, digest=None, state="empty", age_ms=None, engine=None, shadow=None
)


class Ruled(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a decision record that the ruling makes.

    ``rules``: sorted ids of the rules that decided; ``unknown_rules``: those whose conditions
    were unknown; ``obligations``: their texts.
    """

    outcome: Outcome
    stage: Stage
    reason: str
    rules: tuple[str, ...]
    unknown_rules: tuple[str, ...]
    obligations: tuple[str, ...]
    commit: RecordCommit
    fail_open: bool
    facts: record.Facts
    policy: record.Policy


class Permit:
    """Leave to forward one call to one of ``upstreams``, in their order, and nowhere else.

    Only ``decide`` makes one. ``body``: what to send instead of the body that was received, None
    to send that one.
    """

    __slots__ = ("body", "ruling", "upstreams")

    ruling: Ruled
    upstreams: tuple[Upstream, ...]
    body: bytes | None

    def __init__(
        self,
        token: object,
        ruling: Ruled,
        upstreams: tuple[Upstream, ...],
        body: bytes | None,
    ) -> None:
        if token is not _TOKEN:
            raise TypeError("a Permit is made by gateway.decide.decide and nothing else")
        object.__setattr__(self, "ruling", ruling)
        object.__setattr__(self, "upstreams", upstreams)
        object.__setattr__(self, "body", body)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Permit has no subclasses: one could skip the check of its maker")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Permit cannot be changed ({name})")

    def __repr__(self) -> str:
        names = ", ".join(upstream.name for upstream in self.upstreams)
        return f"Permit({self.ruling.reason}, upstreams=[{names}])"


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is not forwarded. ``code``: a key of ``errors.CODES``.

    ``approval_digest``: what an approver would approve, with ``approval_required`` alone.
    ``owed``: with ``obligation_unsupported``, what must be done to the body for a permit.
    """

    ruling: Ruled
    code: str
    approval_digest: str | None = None
    owed: tuple[Obligation, ...] = ()


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One question, as the steps below hand it on."""

    snapshot: Snapshot
    principal: Principal
    label: Label | None
    call: CallView
    route: Route
    now_us: int
    state: PolicyState
    stage: Stage
    digest_key: bytes


def decide(
    snapshot: Snapshot | None,
    principal: Principal,
    label: Label | None,
    call: CallView,
    route: Route,
    now_us: int,
    stage: Stage = "request",
    *,
    digest_key: bytes,
    amendment: Amendment | None = None,
) -> Permit | Denial:
    """The ruling on one call. Pure; the same arguments give the same ruling.

    ``now_us``: trusted time, microseconds since 1970 UTC; what rules read of it is a fact.
    ``digest_key``: keys the digests of facts that may not stand in clear. ``amendment``: what was
    done to the body; without it a call with such obligations is denied, and the denial names them.
    """
    if snapshot is None:
        return refuse(None, "policy_unavailable", now_us, stage=stage)
    state = snapshot.state(now_us)
    if state == "locked":
        return refuse(snapshot, "policy_locked", now_us, stage=stage)
    fail_open = state == "expired"
    if fail_open and not _opened(snapshot, label, route, now_us):
        return refuse(snapshot, "policy_expired", now_us, stage=stage)
    if state == "stale" and snapshot.table.policy.defaults.on_stale == "deny":
        return refuse(snapshot, "policy_expired", now_us, stage=stage)
    asked = _Asked(
        snapshot=snapshot,
        principal=principal,
        label=label,
        call=call,
        route=route,
        now_us=now_us,
        state=state,
        stage=stage,
        digest_key=digest_key,
    )
    inputs = gather(principal, label, call, route, snapshot.trusted_us(now_us))
    judgement, results = judge(snapshot.table, inputs)
    if judgement.code is not None:
        return _denied(asked, inputs, judgement, results)
    upstreams = _narrowed(route.upstreams, judgement.obligations)
    if not upstreams:
        nowhere = msgspec.structs.replace(
            judgement, outcome="deny", code="denied", reason="upstream_not_permitted"
        )
        return _denied(asked, inputs, nowhere, results)
    owed = bodily(judgement.obligations)
    if owed and (amendment is None or amendment.obligations != owed):
        code = "obligation_unsupported"
        unmet = msgspec.structs.replace(judgement, outcome="deny", code=code, reason=code)
        return msgspec.structs.replace(_denied(asked, inputs, unmet, results), owed=owed)
    ruling = _ruled(asked, inputs, judgement, results, fail_open=fail_open)
    body = amendment.body if owed and amendment is not None else None
    return Permit(_TOKEN, ruling, upstreams[:UPSTREAMS_MAX], body)


def refuse(
    snapshot: Snapshot | None, code: str, now_us: int, *, stage: Stage = "request"
) -> Denial:
    """A ruling by something other than the rules: identity, the body, or the policy's state.

    ``code``: a key of ``errors.CODES``; it is the reason too. No rule is asked, so the facts are
    empty. Raises KeyError for an unknown code.
    """
    outcome: Outcome = "deny" if CODES[code].status in (401, 403) else "error_closed"
    return Denial(
        code=code,
        ruling=Ruled(
            outcome=outcome,
            stage=stage,
            reason=code,
            rules=(),
            unknown_rules=(),
            obligations=(),
            commit="before_forward",
            fail_open=False,
            facts=NONE,
            policy=_NO_POLICY if snapshot is None else _policy_part(snapshot, now_us),
        ),
    )


def _opened(snapshot: Snapshot, label: Label | None, route: Route, now_us: int) -> bool:
    choice = snapshot.table.policy.open_on_expired
    if choice is None or label is None or not snapshot.open_at(now_us):
        return False
    # What was not scanned whole could be restricted, for which nothing is ever open.
    classified = label.completeness == "full" and label.level != "restricted"
    return classified and label.level in choice.levels and route.name in choice.routes


def _denied(
    asked: _Asked, inputs: Inputs, judgement: Judgement, results: Sequence[Truth]
) -> Denial:
    code = judgement.code or "denied"
    return Denial(
        code=code,
        ruling=_ruled(asked, inputs, judgement, results, fail_open=False),
        approval_digest=_approval_digest(asked) if code == "approval_required" else None,
    )


def _ruled(
    asked: _Asked,
    inputs: Inputs,
    judgement: Judgement,
    results: Sequence[Truth],
    *,
    fail_open: bool,
) -> Ruled:
    snapshot = asked.snapshot
    return Ruled(
        outcome="error_open" if fail_open else judgement.outcome,
        stage=asked.stage,
        reason="fail_open" if fail_open else judgement.reason,
        rules=judgement.rules,
        unknown_rules=judgement.unknown_rules,
        obligations=tuple(obligation_text(obligation) for obligation in judgement.obligations),
        commit=_commit(asked, fail_open=fail_open),
        fail_open=fail_open,
        facts=facts_of(snapshot.table, inputs, results, asked.digest_key),
        policy=_policy_part(snapshot, asked.now_us, asked.state, judgement.shadow),
    )


def _commit(asked: _Asked, *, fail_open: bool) -> RecordCommit:
    # before_response may leave a call without its record after a crash; where a call has effects,
    # or nobody saw what it carries, or no fresh policy stands behind it, that is not for sale.
    label, call = asked.label, asked.call
    effects = call.tool is not None or call.operation in TOOL_OPERATIONS
    unseen = asked.route.opaque_upload or label is None or label.completeness == "opaque"
    if fail_open or effects or unseen:
        return "before_forward"
    return asked.snapshot.record_commit_of(asked.route.name)


def _policy_part(
    snapshot: Snapshot, now_us: int, state: PolicyState | None = None, shadow: Outcome | None = None
) -> record.Policy:
    return record.Policy(
        scope=snapshot.scope,
        version=snapshot.version,
        digest=snapshot.digest,
        state=state or snapshot.state(now_us),
        age_ms=snapshot.age_ms(now_us),
        engine=snapshot.engine,
        shadow=shadow,
    )


def _narrowed(
    upstreams: tuple[Upstream, ...], obligations: tuple[Obligation, ...]
) -> tuple[Upstream, ...]:
    for obligation in obligations:
        regions, names = obligation.regions, obligation.upstreams
        upstreams = tuple(
            upstream
            for upstream in upstreams
            if (regions is None or upstream.region in regions)
            and (names is None or upstream.name in names)
        )
    return upstreams


def _approval_digest(asked: _Asked) -> str:
    """SHA-256 over who asks for what: an approval of it fits no other call."""
    call, principal = asked.call, asked.principal
    bound: list[str | None] = [
        "gatepost-approval/1",
        asked.snapshot.scope,
        principal.person_id,
        principal.person_iss,
        principal.agent_id,
        asked.route.name,
        call.operation,
        call.provider,
        call.model,
        call.tool_server,
        call.tool,
        None if call.input is None else hashlib.sha256(call.input).hexdigest(),
    ]
    return sha256_text(msgspec.json.encode(bound))
