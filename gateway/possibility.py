"""What a condition may have been, where not all that it read is known.

A replay often knows less than the daemon did: a fact stands as a keyed digest, was cut, or was
never recorded. A condition then has a *set* of possible results, as a mask of ``1 << truth``; a
connective's set is that of its parts' members, taken in the order in which the daemon reads them.

Sound: the result that the daemon would get from the real values is always in the set. Not
complete: two conditions on one unknown value are taken as independent, so the set may hold
results that no value gives. Where everything is known the set is the one result.

Owns: the sets of comparisons and connectives. Refuses: the comparisons themselves, which are
those of ``comparison.py``, and what a set means for an outcome (``replayed.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Literal

import msgspec

from gateway.comparison import Condition, Scope, kind_of, list_operand
from gateway.inputs import ARGUMENTS, DERIVED, Inputs
from gateway.truth import FALSE, TRUE, UNKNOWN, Truth

Mask = int
IS_FALSE: Final[Mask] = 1 << FALSE
IS_TRUE: Final[Mask] = 1 << TRUE
IS_UNKNOWN: Final[Mask] = 1 << UNKNOWN
ANY: Final[Mask] = IS_FALSE | IS_TRUE | IS_UNKNOWN
NEVER: Final[Mask] = 0
"""The set of a condition that cannot have been evaluated: what it reads was not read."""

ALL_ARGUMENTS: Final = "args"
"""Stands among a rule's paths where it asks whether an argument exists: the answer for one that is
not there depends on whether the arguments could be read at all."""

Gap = Literal["hidden", "cut"]
"""``hidden``: a fact that stands as a digest. ``cut``: only the beginning of a member is known."""


class Held(msgspec.Struct, frozen=True):
    """What a record holds of the inputs of its decision.

    ``inputs``: the values that are known; ``facts``: paths of argument and derived values that
    are, with ``ALL_ARGUMENTS`` if the arguments are known to have been read; ``gaps``: paths whose
    values were there and are not known whole. Any other such path was not recorded.
    """

    inputs: Inputs
    facts: AbstractSet[str]
    gaps: Mapping[str, Gap]


Possible = Callable[[Held, Mask], Mask]
"""The possible results of a condition. The second argument is the set of a comparison whose path
was not recorded: ``ANY`` where its value could be any, ``NEVER`` where the daemon recorded all
that it read and so cannot have come to it."""


def possible_condition(document: object, scope: Scope, paths: set[str]) -> Possible:
    """The sets of the condition ``document``, which ``compile_condition`` accepts.

    Adds the paths that it reads to ``paths``.
    """
    if not isinstance(document, dict):
        raise TypeError("a condition that was compiled is an object")
    ((operator, operand),) = document.items()
    if operator in ("all", "any"):
        parts = [possible_condition(part, scope, paths) for part in list_operand(operator, operand)]
        return _all_of(parts) if operator == "all" else _any_of(parts)
    if operator == "not":
        return _negation_of(possible_condition(operand, scope, paths))
    condition = scope.comparison(operator, operand)
    path = _path_of(operator, operand)
    paths.add(path)
    if operator != "exists":
        return _comparison(path, condition)
    if path.startswith(ARGUMENTS):
        paths.add(ALL_ARGUMENTS)
        return _argument_exists(path, condition)
    return lambda held, _: 1 << condition(held.inputs)


def always(_: Held, __: Mask) -> Mask:
    """The set of a rule that states no condition."""
    return IS_TRUE


def one_of(mask: Mask) -> Truth | None:
    """The only member of ``mask``; None if there are several or none."""
    return _ONLY.get(mask)


_ONLY: Final = {1 << truth: truth for truth in (FALSE, TRUE, UNKNOWN)}


def _path_of(operator: str, operand: object) -> str:
    if operator == "time_between":
        return "time"
    return str(operand[0]) if isinstance(operand, list) else str(operand)


def _comparison(path: str, condition: Condition) -> Possible:
    recorded_as_fact = path.startswith(ARGUMENTS) or path in DERIVED
    # Of another type the value would have been unknown; only arguments can be of another type.
    hidden = ANY if kind_of(path) == "argument" else IS_FALSE | IS_TRUE

    def possible(held: Held, unread: Mask) -> Mask:
        gap = held.gaps.get(path)
        if gap == "hidden":
            return hidden
        if gap == "cut":
            # What is left may say UNKNOWN (data not scanned whole), and then the whole may, too.
            return IS_FALSE | IS_TRUE | 1 << condition(held.inputs)
        if recorded_as_fact and path not in held.facts:
            return unread
        return 1 << condition(held.inputs)

    return possible


def _argument_exists(path: str, condition: Condition) -> Possible:
    def possible(held: Held, unread: Mask) -> Mask:
        if path in held.gaps:
            return IS_TRUE
        if path not in held.facts:
            return unread
        truth = condition(held.inputs)
        if truth == UNKNOWN and ALL_ARGUMENTS not in held.facts:
            return IS_FALSE | IS_UNKNOWN
        return 1 << truth

    return possible


def _all_of(parts: list[Possible]) -> Possible:
    if len(parts) == 1:
        return parts[0]

    def all_(held: Held, unread: Mask) -> Mask:
        # ``so_far``: results without a FALSE yet, of which only TRUE and UNKNOWN read on.
        found, so_far = NEVER, IS_TRUE
        for part in parts:
            mask = part(held, unread)
            found |= mask & IS_FALSE
            so_far = (so_far if mask & IS_TRUE else NEVER) | (mask & IS_UNKNOWN)
            if not so_far:
                return found
        return found | so_far

    return all_


def _any_of(parts: list[Possible]) -> Possible:
    if len(parts) == 1:
        return parts[0]

    def any_(held: Held, unread: Mask) -> Mask:
        found, so_far = NEVER, IS_FALSE
        for part in parts:
            mask = part(held, unread)
            found |= mask & IS_TRUE
            so_far = (so_far if mask & IS_FALSE else NEVER) | (mask & IS_UNKNOWN)
            if not so_far:
                return found
        return found | so_far

    return any_


_NEGATED: Final = tuple(
    (IS_TRUE if mask & IS_FALSE else 0) | (IS_FALSE if mask & IS_TRUE else 0) | (mask & IS_UNKNOWN)
    for mask in range(ANY + 1)
)


def _negation_of(part: Possible) -> Possible:
    return lambda held, unread: _NEGATED[part(held, unread)]
