"""A rule pack: what to look for in text, as data.

Owns: the pack's types, and what a pack must be to be loaded. Refuses: scanning (``scanner.py``)
and judging candidates (``candidates.py``).

A rule finds in two steps. ``find`` is a hyperscan pattern that says where to look, in one pass
over the whole text for all rules at once. ``match`` is an expression of Python's ``re`` with
bounded repeats, run only in a small window there; it says exactly what was found, and ``checks``
then test checksums and the like.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final

import msgspec

from gateway.errors import UNREADABLE, ConfigInvalid
from gateway.vocabulary import CATEGORY_PATTERN, NAME_PATTERN, Level

SCHEMA: Final = 1
RULES_MAX: Final = 1_000
"""A pack ten times the size of the largest public ones; compile time and memory grow with it."""
PATTERN_CHARACTERS_MAX: Final = 2_048
PACK_BYTES_MAX: Final = 1024 * 1024
WINDOW_BYTES_MAX: Final = 16 * 1024
CONTEXT_BYTES: Final = 48
"""How far from a candidate a context word may stand."""
BREAK: Final = "¦"
"""Removed from test texts, so that no file holds a string that looks like a live secret."""

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Category = Annotated[str, msgspec.Meta(pattern=CATEGORY_PATTERN)]
Expression = Annotated[str, msgspec.Meta(min_length=3, max_length=PATTERN_CHARACTERS_MAX)]
WindowBytes = Annotated[int, msgspec.Meta(ge=0, le=WINDOW_BYTES_MAX)]

_UNBOUNDED: Final = re.compile(r"(?<!\\)(?:\\\\)*(?:\*|(?<!\})\+|\{\d+,\})")
_CHARACTER_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.")


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base: an unknown key in a pack is an error."""


class RuleTests(_Data, frozen=True, kw_only=True):
    """Texts that the rule must find something in, and texts in which it must not."""

    match: tuple[str, ...]
    no_match: tuple[str, ...] = ()


class Rule(_Data, frozen=True, kw_only=True):
    """One kind of data.

    ``before`` and ``after``: bytes around the end of a ``find`` hit in which ``match`` looks.
    ``carve``: name of the function that takes numbers out of a longer match (``checks.CARVERS``).
    ``checks``: names of tests that every candidate must pass (``checks.CHECKS``). ``context``:
    if not empty, one of these words must stand near. ``contains``: rules whose findings inside
    one of this rule are part of it, because this rule's check is the stronger one.
    """

    id: Name
    entity: str
    category: Category
    level: Level
    find: Expression
    match: Expression
    caseless: bool = False
    before: WindowBytes = 96
    after: WindowBytes = 192
    carve: str | None = None
    checks: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    tests: RuleTests


class Pack(_Data, frozen=True, kw_only=True):
    """``name``@``version`` stands in every record that was classified with it."""

    name: Name
    version: Annotated[int, msgspec.Meta(ge=1)]
    rules_schema: int
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1, max_length=RULES_MAX)]


def read_pack(data: bytes) -> tuple[Pack, str]:
    """The pack in ``data`` (TOML) and the hex SHA-256 of its bytes.

    Checks form only; that it compiles and passes its own tests is checked by
    ``Classifier.load``. Raises ConfigInvalid naming the rule.
    """
    if len(data) > PACK_BYTES_MAX:
        raise ConfigInvalid(f"rule pack: larger than {PACK_BYTES_MAX} bytes")
    try:
        pack = msgspec.toml.decode(data, type=Pack)
    except UNREADABLE as error:
        raise ConfigInvalid(f"rule pack: {error}") from None
    if pack.rules_schema != SCHEMA:
        raise ConfigInvalid(
            f"rule pack {pack.name}: rules_schema {pack.rules_schema}, this version reads {SCHEMA}"
        )
    seen: set[str] = set()
    for rule in pack.rules:
        if rule.id in seen:
            raise ConfigInvalid(f"rule pack {pack.name}: rule {rule.id!r} stands twice")
        seen.add(rule.id)
        if not rule.tests.match:
            raise ConfigInvalid(f"rule pack {pack.name}: rule {rule.id!r} has no test to match")
        unknown = set(rule.contains) - {other.id for other in pack.rules}
        if unknown:
            raise ConfigInvalid(
                f"rule pack {pack.name}: rule {rule.id!r} contains unknown rule {min(unknown)!r}"
            )
        for member, expression in (("find", rule.find), ("match", rule.match)):
            if _UNBOUNDED.search(_CHARACTER_CLASS.sub("", expression)):
                raise ConfigInvalid(
                    f"rule pack {pack.name}: rule {rule.id!r}: `{member}` has an unbounded "
                    "repeat; write {least,most}"
                )
    return pack, hashlib.sha256(data).hexdigest()
