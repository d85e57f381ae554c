"""Three truth values and the tables of Kleene's strong logic.

Owns: the numbers that stand for TRUE, FALSE and UNKNOWN, everywhere and in the packed results of
a record. Refuses: what UNKNOWN means for a rule.

Source: S. C. Kleene, Introduction to Metamathematics (1952), section 64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

Truth = int
FALSE: Final = 0
TRUE: Final = 1
UNKNOWN: Final = 2

NOT: Final[tuple[Truth, Truth, Truth]] = (TRUE, FALSE, UNKNOWN)
"""``NOT[truth]``: the negation, which leaves UNKNOWN unknown."""


def both(left: Truth, right: Truth) -> Truth:
    """Kleene's and."""
    if FALSE in (left, right):
        return FALSE
    return UNKNOWN if UNKNOWN in (left, right) else TRUE


InputT = TypeVar("InputT")


def all_of(parts: list[Callable[[InputT], Truth]]) -> Callable[[InputT], Truth]:
    """Kleene's and of ``parts``, read from the left up to the first FALSE."""
    if len(parts) == 1:
        return parts[0]

    def all_(inputs: InputT) -> Truth:
        result = TRUE
        for part in parts:
            truth = part(inputs)
            if truth == FALSE:
                return FALSE
            if truth == UNKNOWN:
                result = UNKNOWN
        return result

    return all_


def any_of(parts: list[Callable[[InputT], Truth]]) -> Callable[[InputT], Truth]:
    """Kleene's or of ``parts``, read from the left up to the first TRUE."""
    if len(parts) == 1:
        return parts[0]

    def any_(inputs: InputT) -> Truth:
        result = FALSE
        for part in parts:
            truth = part(inputs)
            if truth == TRUE:
                return TRUE
            if truth == UNKNOWN:
                result = UNKNOWN
        return result

    return any_


def negation_of(part: Callable[[InputT], Truth]) -> Callable[[InputT], Truth]:
    """Kleene's not of ``part``."""
    return lambda inputs: NOT[part(inputs)]
