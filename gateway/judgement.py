"""What the rules say about one call: results of its candidates, and the outcome they give.

Two steps, because a record holds what stands between them: ``evaluate`` gives each candidate
rule its three-valued result; ``conclude`` gives the outcome of those results. Replay repeats the
second from a record's packed results, or both from its inputs.

Owns: how results become an outcome. Refuses: time, state of the policy copy and upstreams
(``decide.py``). The law behind it: adding a restriction, removing a grant or leaving out an input
never turns a call that is not allowed into one that is (``exists`` asks about presence itself
and is outside the law).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from gateway.inputs import Inputs
from gateway.obligation import merged
from gateway.policy import Obligation
from gateway.table import Candidates, Rule, Table
from gateway.target import named
from gateway.truth import FALSE, TRUE, UNKNOWN, Truth
from gateway.vocabulary import Outcome


class Judgement(msgspec.Struct, frozen=True):
    """Outcome by rules. ``code``: a key of ``errors.CODES``, None for an allow.

    ``rules``: ids of the rules that decided, sorted. ``unknown_rules``: ids of live rules whose
    result was UNKNOWN. ``obligations``: of an allow, as ``obligation.merged`` has them.
    ``shadow``: the outcome if shadow rules were live, None without any.
    """

    outcome: Outcome
    code: str | None
    reason: str
    rules: tuple[str, ...]
    unknown_rules: tuple[str, ...]
    obligations: tuple[Obligation, ...]
    shadow: Outcome | None


def judge(table: Table, inputs: Inputs) -> tuple[Judgement, Sequence[Truth]]:
    """The judgement of one call and the results it came from (empty if no rule was asked)."""
    refused = _refuse_provider_side(table, inputs)
    if refused is not None:
        return refused, ()
    candidates = table.candidates(named(inputs))
    results = evaluate(candidates, inputs)
    return conclude(candidates, results), results


def _refuse_provider_side(table: Table, inputs: Inputs) -> Judgement | None:
    # What the provider would run or read never passes this gateway, so no rule could see it.
    if inputs.unknown_tools:
        return _refused("unknown_tool_type")
    if not all(map(table.hosted_tool_allowed, inputs.texts("model.hosted_tools"))):
        return _refused("hosted_tool_denied")
    if not all(map(table.reference_allowed, inputs.texts("model.references"))):
        return _refused("reference_denied")
    return None


def _refused(reason: str) -> Judgement:
    return Judgement("deny", "denied", reason, (), (), (), None)


def evaluate(candidates: Candidates, inputs: Inputs) -> list[Truth]:
    """The result of each candidate."""
    return [condition(inputs) for condition in candidates.conditions]


def conclude(candidates: Candidates, results: Sequence[Truth]) -> Judgement:
    """The outcome of ``results``: the strictest restriction that applies, else a grant."""
    applicable = [
        (rule, truth)
        for rule, truth in zip(candidates.rules, results, strict=True)
        if truth != FALSE
    ]
    if not candidates.shadowed:
        return _conclude(candidates, applicable)
    live = _conclude(candidates, [(rule, truth) for rule, truth in applicable if not rule.shadow])
    return msgspec.structs.replace(live, shadow=_conclude(candidates, applicable).outcome)


def _conclude(candidates: Candidates, applicable: list[tuple[Rule, Truth]]) -> Judgement:
    by_effect: dict[str, list[Rule]] = {}
    for rule, truth in applicable:
        if truth == TRUE or rule.effect != "grant":
            by_effect.setdefault(rule.effect, []).append(rule)
    unknown = tuple(sorted(rule.id for rule, truth in applicable if truth == UNKNOWN))
    obliging = by_effect.get("oblige", [])
    if "deny" in by_effect:
        code = _denial_code(candidates, by_effect["deny"])
        reason = "restricted" if code == "denied" else code
        return _not_allowed("deny", code, reason, by_effect["deny"], unknown)
    if "grant" not in by_effect:
        return _not_allowed("deny", "denied", "no_grant", [], unknown)
    if "require_approval" in by_effect:
        code = "approval_required"
        return _not_allowed("approval_required", code, code, by_effect["require_approval"], unknown)
    return Judgement(
        outcome="allow",
        code=None,
        reason="granted",
        rules=tuple(sorted(rule.id for rule in by_effect["grant"] + obliging)),
        unknown_rules=unknown,
        obligations=merged(each for rule in obliging for each in rule.obligations)
        if obliging
        else (),
        shadow=None,
    )


def _denial_code(candidates: Candidates, denying: list[Rule]) -> str:
    """The one code that all of ``denying`` have, else ``denied``."""
    # A rule that may not even be about the call says nothing about what the caller should bring.
    certain = {
        rule.place
        for rule, condition in zip(candidates.rules, candidates.conditions, strict=True)
        if condition is rule.when
    }
    codes = {rule.denial if rule.place in certain else "denied" for rule in denying}
    return codes.pop() if len(codes) == 1 else "denied"


def _not_allowed(
    outcome: Outcome, code: str, reason: str, rules: list[Rule], unknown_rules: tuple[str, ...]
) -> Judgement:
    ids = tuple(sorted(rule.id for rule in rules))
    return Judgement(outcome, code, reason, ids, unknown_rules, (), None)


_DIGITS: Final = bytes.maketrans(bytes((FALSE, TRUE, UNKNOWN)), b"012")
_TRUTHS: Final = {"00": FALSE, "01": TRUE, "10": UNKNOWN}


def pack_results(results: Sequence[Truth]) -> str:
    """``results`` two bits each, the first in the highest bits of the first byte, padded with
    zero bits to a whole byte; base64url (RFC 4648 section 5) without padding."""
    return _packed(bytes(results))


@lru_cache(maxsize=256)
def _packed(results: bytes) -> str:
    # Calls of one kind give the same few results over and over.
    if not results:
        return ""
    length = (len(results) + 3) // 4
    # Base 4 is a power of two, so Python reads the digits in linear time.
    number = int(results.translate(_DIGITS).ljust(length * 4, b"0"), 4)
    return base64.urlsafe_b64encode(number.to_bytes(length, "big")).decode().rstrip("=")


def unpack_results(text: str, count: int) -> list[Truth]:
    """The inverse of ``pack_results``. Raises ValueError for another count or bad text."""
    if len(text) != -(-((count + 3) // 4) * 4 // 3):
        raise ValueError(f"packed results of {count} rules do not have {len(text)} characters")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(f"packed results are not base64url: {error}") from error
    bits = "".join(f"{byte:08b}" for byte in data)
    pairs = [bits[place : place + 2] for place in range(0, count * 2, 2)]
    if "11" in pairs or "1" in bits[count * 2 :]:
        raise ValueError("packed results hold a value that is none")
    return [_TRUTHS[pair] for pair in pairs]
