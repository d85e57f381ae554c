"""What a change of policy means: for each part, whether it can allow more or less.

A change is *widening* if some call that was not allowed may be now and none the other way round,
*narrowing* the reverse, *neutral* if neither, and *unclear* if both may be. The claim is sound,
not exact: what is called narrowing or neutral never allows a call more.

Owns: pairing the parts of two policies, and comparing targets and conditions in the order FALSE <
UNKNOWN < TRUE, in which all connectives but ``not`` rise with their parts. Refuses: asking which
calls exist, and two names for one thing: a rule with another id is another rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from gateway.condition_order import SAME, UNSURE, Move, canonical, of_conditions, of_sets
from gateway.policy import Grant, Obligation, Policy, Restriction, json_text
from gateway.target import compile_target

Verdict = Literal["widening", "narrowing", "neutral", "unclear"]
Rule = Grant | Restriction

_STRENGTH: Final = {"oblige": 0, "require_approval": 1, "deny": 2}
_NEUTRAL: Final = (
    "levels",
    "groups",
    "time_zones",
    "record_commit",
    "recordable",
    "show_rule_ids",
    "tests",
)
"""What they mean for rules is told at each rule that uses them."""


class Change(msgspec.Struct, frozen=True):
    """One part that differs. ``what``: ``grant 'id'``, ``restriction 'id'`` or a member's name."""

    what: str
    verdict: Verdict
    said: str


def diff(old: Policy, new: Policy) -> list[Change]:
    """The changes from ``old`` to ``new``, both of which compile."""
    return [
        *_of_rules("grant", old, new, old.grants, new.grants),
        *_of_rules("restriction", old, new, old.restrictions, new.restrictions),
        *_of_settings(old, new),
    ]


def _verdict(access: Move) -> Verdict:
    if access.rises:
        return "unclear" if access.falls else "widening"
    return "narrowing" if access.falls else "neutral"


def _of_rules(
    kind: str, old: Policy, new: Policy, before: Sequence[Rule], after: Sequence[Rule]
) -> Iterator[Change]:
    olds = {rule.id: rule for rule in before}
    news = {rule.id: rule for rule in after}
    for rule_id in [*olds, *(one for one in news if one not in olds)]:
        what = f"{kind} {rule_id!r}"
        one, other = olds.get(rule_id), news.get(rule_id)
        if one is None or other is None:
            rule = one or other
            assert rule is not None
            gains = (one is None) == (kind == "grant")
            access = SAME if rule.status == "shadow" else Move(rises=gains, falls=not gains)
            shadow = " (shadow)" if rule.status == "shadow" else ""
            yield Change(what, _verdict(access), ("added" if one is None else "removed") + shadow)
        else:
            yield from _of_rule(what, old, new, one, other)


def _of_rule(what: str, old: Policy, new: Policy, one: Rule, other: Rule) -> Iterator[Change]:
    moves = _parts(old, new, one, other)
    if not moves:
        return
    applies, access = SAME, SAME
    for name, move in moves.items():
        if name in ("effect", "obligations"):
            access = access | move
        else:
            applies = applies | move
    # A grant that applies to more allows more; a restriction that does allows less.
    access = access | (applies if isinstance(one, Grant) else applies.turned())
    if one.status == other.status == "shadow":
        access = SAME
    said = "; ".join(f"{name} {_words(name, old, new, one, other)}" for name in moves)
    yield Change(what, _verdict(access), said)


def _parts(old: Policy, new: Policy, one: Rule, other: Rule) -> dict[str, Move]:
    """Member → how the calls that the rule applies to, or access itself, move with it."""
    moves: dict[str, Move] = {}
    conditional = isinstance(one, Restriction) and (one.when or other.when) is not None
    before = compile_target(one, old.groups).operations
    after = compile_target(other, new.groups).operations
    moves["actions"] = of_sets(before, after)
    if conditional and "unknown" in before ^ after:
        moves["actions"] = UNSURE
    for member in ("models", "tools", "routes", "agents"):
        had, has = _names(one, member, old), _names(other, member, new)
        move = _of_names(had, has)
        # Where a name is missing a restriction applies without asking its condition. Naming less
        # asks the condition then, which may be false.
        if conditional and move != SAME and (member == "tools" or None in (had, has)):
            move = UNSURE
        moves[member] = move
    moves["when"] = of_conditions(canonical(one.when, old), canonical(other.when, new))
    if one.status != other.status:
        live = other.status == "active"
        moves["status"] = Move(rises=live, falls=not live)
    if isinstance(one, Restriction) and isinstance(other, Restriction):
        stronger = _STRENGTH[other.effect] - _STRENGTH[one.effect]
        moves["effect"] = Move(rises=stronger < 0, falls=stronger > 0)
        if one.effect == other.effect:
            moves["obligations"] = _of_obligations(one.obligations, other.obligations)
    return {name: move for name, move in moves.items() if move != SAME}


def _names(rule: Rule, member: str, policy: Policy) -> frozenset[str] | None:
    entries = getattr(rule, member)
    if entries is None:
        return None
    groups: Mapping[str, list[str]] = policy.groups
    return frozenset(
        name
        for entry in entries
        for name in (groups[entry[1:]] if entry.startswith("@") else [entry])
    )


def _of_names(before: frozenset[str] | None, after: frozenset[str] | None) -> Move:
    if before is None or after is None:
        return Move(rises=before is not None, falls=after is not None) if before != after else SAME
    return of_sets(before, after)


def _of_obligations(before: list[Obligation], after: list[Obligation]) -> Move:
    olds = {json_text(one) for one in before}
    news = {json_text(one) for one in after}
    # Each obligation only takes away where a call may go, or the call itself.
    return of_sets(olds, news).turned()


def _words(name: str, old: Policy, new: Policy, one: Rule, other: Rule) -> str:
    if name == "actions":
        before: frozenset[str] | None = compile_target(one, old.groups).operations
        after: frozenset[str] | None = compile_target(other, new.groups).operations
    elif name in ("models", "tools", "routes", "agents"):
        before, after = _names(one, name, old), _names(other, name, new)
    else:
        return f"{_text(getattr(one, name))} → {_text(getattr(other, name))}"
    if before is None or after is None:
        return f"{_listed(before)} → {_listed(after)}"
    come = [f"+{each}" for each in sorted(after - before)]
    gone = [f"-{each}" for each in sorted(before - after)]
    return " ".join([*come, *gone])


def _listed(names: frozenset[str] | None) -> str:
    return "all" if names is None else ", ".join(sorted(names))


def _text(value: object) -> str:
    return "always" if value is None else json_text(value).decode()


def _of_settings(old: Policy, new: Policy) -> Iterator[Change]:
    for member in Policy.__struct_fields__:
        before, after = getattr(old, member), getattr(new, member)
        if member in ("grants", "restrictions") or json_text(before) == json_text(after):
            continue
        access = SAME if member in _NEUTRAL else _of_setting(member, old, new)
        said = "changed" if member in _NEUTRAL else f"{_setting(before)} → {_setting(after)}"
        yield Change(member, _verdict(access), said)


def _setting(value: object) -> str:
    return "none" if value is None else json_text(value).decode()


def _of_setting(member: str, old: Policy, new: Policy) -> Move:
    if member in ("hosted_tools", "references"):
        return of_sets(set(getattr(old, member)), set(getattr(new, member)))
    if member == "defaults":
        serves = new.defaults.on_stale == "serve"
        return Move(rises=serves, falls=not serves)
    if member == "uncertified_seconds_max":
        more = new.uncertified_seconds_max > old.uncertified_seconds_max
        return Move(rises=more, falls=not more)
    if member == "open_on_expired":
        one, other = old.open_on_expired, new.open_on_expired
        if one is None or other is None:
            return Move(rises=one is None, falls=other is None)
        seconds = Move(
            rises=other.seconds_max > one.seconds_max, falls=other.seconds_max < one.seconds_max
        )
        routes = of_sets(set(one.routes), set(other.routes))
        return seconds | routes | of_sets(set(one.levels), set(other.levels))
    return UNSURE
