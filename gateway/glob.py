"""Name patterns: ``*`` stands for any text, also none; every other character for itself.

Owns: matching in time linear in the name (parts are found left to right, never retried).
Refuses: character classes, ``?``, ``**`` and regular expressions: a pattern must be readable in
one way and must not be able to take long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Matcher = Callable[[str], bool]


def is_exact(pattern: str) -> bool:
    """Whether ``pattern`` names exactly one text."""
    return "*" not in pattern


def matcher(pattern: str) -> Matcher:
    """A function that tells whether its argument matches ``pattern``, case-sensitively."""
    if is_exact(pattern):
        return pattern.__eq__
    first, *middle, last = pattern.split("*")
    parts = [part for part in middle if part]
    shortest = len(first) + len(last)

    def matches(name: str) -> bool:
        if len(name) < shortest or not name.startswith(first) or not name.endswith(last):
            return False
        # Leftmost placement of each part leaves the most room for the rest, so no retry helps.
        position, end = len(first), len(name) - len(last)
        for part in parts:
            found = name.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True

    return matches


def any_matcher(patterns: Iterable[str]) -> Matcher:
    """A function that tells whether any of ``patterns`` matches; exact ones by one look-up."""
    wanted = list(patterns)
    exact = frozenset(pattern for pattern in wanted if is_exact(pattern))
    globs = [matcher(pattern) for pattern in wanted if not is_exact(pattern)]
    if not globs:
        return exact.__contains__

    def matches(name: str) -> bool:
        return name in exact or any(glob(name) for glob in globs)

    return matches
