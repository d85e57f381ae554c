"""Obligations of several rules as one list, which of them change a body, and their texts.

Owns: how obligations meet (the union of redactions, the lowest ceiling; regions and upstreams all
stand, and narrow one another), and what passes between the decision and the change of a body.
Refuses: changing bodies (``amending.py``) and choosing upstreams (``decide.py``).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.policy import Obligation, Redact


class Unmet(Exception):
    """An obligation that cannot be met for this call. The text says why, and nothing of the
    call's own text."""


class Amendment(msgspec.Struct, frozen=True):
    """What was done about ``obligations``. ``body``: the bytes to send instead of those received,
    None where these already were as the obligations want them."""

    obligations: tuple[Obligation, ...]
    body: bytes | None


def merged(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """``obligations``, those that change a body first and each once."""
    changing: list[Obligation] = []
    narrowing: list[Obligation] = []
    ceilings: list[int] = []
    categories: set[str] = set()
    pseudonymise = False
    for one in obligations:
        if one.regions is not None or one.upstreams is not None:
            narrowing.append(one)
        if one.max_output_tokens is not None:
            ceilings.append(one.max_output_tokens)
        if one.redact is not None:
            categories.update(one.redact.categories)
        pseudonymise = pseudonymise or one.pseudonymise_user is True
    if categories:
        changing.append(Obligation(redact=Redact(sorted(categories))))
    if pseudonymise:
        changing.append(Obligation(pseudonymise_user=True))
    if ceilings:
        changing.append(Obligation(max_output_tokens=min(ceilings)))
    return (*changing, *narrowing)


def bodily(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """Those of ``obligations`` that may change a body."""
    return tuple(one for one in obligations if one.regions is None and one.upstreams is None)


def obligation_text(obligation: Obligation) -> str:
    """The one text of an obligation in a record: its name, ``=``, its value."""
    for name in Obligation.__struct_fields__:
        value = getattr(obligation, name)
        if value is not None:
            return f"{name}={_value_text(value)}"
    raise ValueError("an obligation without a member is refused at load")


def _value_text(value: object) -> str:
    if isinstance(value, Redact):
        value = value.categories
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
