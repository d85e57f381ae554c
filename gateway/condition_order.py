"""How one condition stands to another, for every call: in the order FALSE < UNKNOWN < TRUE.

Owns: the comparison of two condition documents, sound and not exact: where it cannot tell it says
that the truth may rise and may fall. Refuses: rules (``policy_diff.py``), and evaluating.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from gateway.comparison import as_number
from gateway.inputs import ARGUMENTS
from gateway.policy import Policy, json_text
from gateway.vocabulary import LEVEL_RANK


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Whether something may be greater afterwards, and whether it may be less."""

    rises: bool
    falls: bool

    def __or__(self, other: Move) -> Move:
        return Move(rises=self.rises or other.rises, falls=self.falls or other.falls)

    def turned(self) -> Move:
        """The move of what is opposed to it."""
        return Move(rises=self.falls, falls=self.rises)


SAME: Final = Move(rises=False, falls=False)
UNSURE: Final = Move(rises=True, falls=True)
_RISES: Final = Move(rises=True, falls=False)
_FALLS: Final = _RISES.turned()


def of_sets(before: AbstractSet[object], after: AbstractSet[object]) -> Move:
    """The move of what rises with each element."""
    return Move(rises=bool(after - before), falls=bool(before - after))


def canonical(document: object, policy: Policy) -> object:
    """``document``, which compiles in ``policy``, with what its names mean in their place."""
    if not isinstance(document, dict):
        return document
    ((operator, operand),) = document.items()
    if operator in ("all", "any"):
        return {operator: [canonical(part, policy) for part in operand]}
    if operator == "not":
        return {operator: canonical(operand, policy)}
    if operator == "time_between" and len(operand) == 3:
        zone = msgspec.to_builtins(policy.time_zones[operand[2]])
        return {operator: [*operand[:2], zone]}
    if operator in ("has_any", "has_all", "in", "not_in") and isinstance(operand[1], str):
        operand = [operand[0], list(policy.groups[operand[1][1:]])]
    if isinstance(operand, list) and operand[0] == "data.level":
        levels: dict[str, str] = dict(policy.levels)
        value = operand[1]
        meant: object = (
            [levels.get(one, one) for one in value]
            if isinstance(value, list)
            else levels.get(value, value)
        )
        return {operator: ["data.level", meant]}
    return {operator: operand}


def of_conditions(before: object, after: object) -> Move:
    """The move from one canonical condition to another; None is always true."""
    if json_text(before) == json_text(after):
        return SAME
    if before is None or after is None:
        return _FALLS if before is None else _RISES
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    ((operator, operand),), ((other, operand_after),) = before.items(), after.items()
    if "all" in (operator, other):
        return _of_lists(_joined("all", before), _joined("all", after), _FALLS)
    if "any" in (operator, other):
        return _of_lists(_joined("any", before), _joined("any", after), _RISES)
    if operator != other:
        return UNSURE
    if operator == "not":
        return of_conditions(operand, operand_after).turned()
    return _of_comparisons(operator, operand, operand_after)


def _joined(operator: str, document: dict[str, object]) -> list[object]:
    parts = document.get(operator, [document])
    assert isinstance(parts, list)
    return parts


def _of_lists(before: list[object], after: list[object], of_adding: Move) -> Move:
    olds = {json_text(part): part for part in before}
    news = {json_text(part): part for part in after}
    gone = [part for text, part in olds.items() if text not in news]
    come = [part for text, part in news.items() if text not in olds]
    if not gone or not come:
        added = of_adding if come else SAME
        return added | (of_adding.turned() if gone else SAME)
    if len(gone) != len(come):
        return UNSURE
    move = SAME
    for one, other in zip(gone, come, strict=True):
        move = move | of_conditions(one, other)
    return move


def _of_comparisons(operator: str, before: object, after: object) -> Move:
    """Two comparisons with one operator that differ in what stands beside it."""
    if not (isinstance(before, list) and isinstance(after, list)) or before[0] != after[0]:
        return UNSURE
    if operator == "time_between":
        return UNSURE
    path, had, has = str(before[0]), before[1], after[1]
    if operator in ("le", "lt", "ge", "gt"):
        old, new = as_number(had), as_number(has)
        if old is None or new is None:
            return UNSURE
        return _of_bounds(old < new, old > new, upper=operator in ("le", "lt"))
    if operator in ("at_most", "at_least"):
        low, high = LEVEL_RANK[had], LEVEL_RANK[has]
        return _of_bounds(low < high, low > high, upper=operator == "at_most")
    if operator in ("in", "not_in", "has_any", "has_all"):
        # A constant of a new type makes a value of that type false that was unknown before.
        if (
            path.startswith(ARGUMENTS)
            and operator in ("in", "not_in")
            and _types(had) != _types(has)
        ):
            return UNSURE
        move = of_sets(set(map(json_text, had)), set(map(json_text, has)))
        return move if operator in ("in", "has_any") else move.turned()
    return UNSURE


def _of_bounds(up: bool, down: bool, *, upper: bool) -> Move:
    move = Move(rises=up, falls=down)
    return move if upper else move.turned()


def _types(values: list[object]) -> set[str]:
    return {
        "text" if isinstance(one, str) else "boolean" if isinstance(one, bool) else "number"
        for one in values
    }
