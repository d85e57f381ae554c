"""The inputs of a decision as its record holds them: the way back from ``recording.py``.

Owns: which member is which policy path, what an empty list means, and what is not known because
it was cut or stands as a digest. Refuses: guessing; what the record does not hold is left out.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Final

from gateway.cutting import MANY
from gateway.inputs import ARGUMENTS, DERIVED, INDEX, PATHS, VERIFIED, Inputs
from gateway.limits import OBLIGATIONS_MAX, UPSTREAMS_MAX
from gateway.possibility import ALL_ARGUMENTS, Gap, Held
from gateway.record import Authz, Cut, Decision, FactValue, Number
from gateway.timestamp import time_micros

_DIGEST: Final = "hmac-sha256:"
_DIGEST_CHARS: Final = len(_DIGEST) + 64
_REGIONS: Final = "model.regions"
_REGIONS_AT: Final = INDEX[_REGIONS]
_TIME_AT: Final = INDEX["time"]
_NARROWING: Final = ("regions=", "upstreams=")
_CUTTABLE: Final = frozenset(PATHS) - DERIVED
PERMITTED: Final = frozenset({"allow", "error_open"})
"""Outcomes with which a call is forwarded."""


def held_of(decision: Decision) -> Held:
    """What ``decision`` holds of its inputs."""
    known = _members(decision)
    gaps = _cut_members(decision.cut) if decision.cut else {}
    facts: dict[str, object] = {}
    args_read = False
    for path, value in decision.facts.inputs.items():
        # A value of one argument proves that all were read: another null is one that is not there.
        args_read = args_read or (value is not None and path.startswith(ARGUMENTS))
        if _is_digest(value):
            gaps[path] = "hidden"
        elif path.startswith(ARGUMENTS):
            _add_argument(path, value, facts)
        elif path in DERIVED:
            _add_derived(path, value, known, facts)
    if _REGIONS not in facts and every_upstream(decision):
        known[_REGIONS_AT] = tuple(one.region for one in decision.model.upstreams)
        facts[_REGIONS] = None
        gaps.pop(_REGIONS, None)
    if args_read:
        facts[ALL_ARGUMENTS] = None
    return Held(
        inputs=Inputs(known, {} if args_read else None, read=dict(facts)),
        facts=facts.keys(),
        gaps=gaps,
    )


def every_upstream(decision: Decision) -> bool:
    """Whether the recorded upstreams are all of the route's: nothing narrowed them, none was
    left out for room."""
    ruling, upstreams = decision.decision, decision.model.upstreams
    return (
        ruling.outcome in PERMITTED
        and 0 < len(upstreams) < UPSTREAMS_MAX
        and len(ruling.obligations) < OBLIGATIONS_MAX
        and not any(text.startswith(_NARROWING) for text in ruling.obligations)
    )


def _members(decision: Decision) -> list[object]:
    """One value per path of ``PATHS``, in that order."""
    person, agent, data, model = decision.person, decision.agent, decision.data, decision.model
    roles, scopes, delegation = _authorisation(decision.authz, decision)
    return [
        person.id,
        person.iss,
        person.assurance,
        agent.id,
        agent.attested_by,
        agent.name,
        agent.version,
        agent.session,
        roles,
        scopes,
        delegation,
        data.level,
        None if data.level is None else tuple(data.categories),
        data.completeness,
        model.provider,
        model.requested,
        model.operation,
        model.route,
        None,
        model.tool,
        model.tool_server,
        tuple(model.hosted_tools),
        tuple(model.references),
        None,
    ]


def _authorisation(
    authz: Authz, decision: Decision
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, tuple[str, ...] | None]:
    # As in ``inputs.gather``: only a verified token can say that there are none.
    empty: tuple[str, ...] | None = () if decision.person.assurance in VERIFIED else None
    absent = {one.path for one in decision.absent}

    def known(path: str, values: list[str]) -> tuple[str, ...] | None:
        return tuple(values) if values else None if path in absent else empty

    return (
        known("authz.roles", authz.roles),
        known("authz.scopes", authz.scopes),
        known("authz.delegation", authz.delegation),
    )


def _cut_members(cuts: list[Cut]) -> dict[str, Gap]:
    """Policy paths of which only a part stands in the record."""
    gaps: dict[str, Gap] = {}
    for cut in cuts:
        if cut.path == MANY:
            return dict.fromkeys(_CUTTABLE, "cut")
        path = cut.path.partition("[")[0]
        if path in _CUTTABLE:
            gaps[path] = "cut"
    return gaps


def _is_digest(value: FactValue) -> bool:
    # No text that stands in clear is as long: ``limits.FACT_SCALAR_BYTES_MAX``.
    return isinstance(value, str) and len(value) == _DIGEST_CHARS and value.startswith(_DIGEST)


# Below: a fact in a form that no daemon writes is left out, and so is not recorded.


def _add_argument(path: str, value: FactValue, facts: dict[str, object]) -> None:
    if not isinstance(value, Number):
        facts[path] = value
        return
    with suppress(InvalidOperation):
        facts[path] = Decimal(value.num)


def _add_derived(
    path: str, value: FactValue, known: list[object], facts: dict[str, object]
) -> None:
    if path == _REGIONS and isinstance(value, list):
        known[_REGIONS_AT] = tuple(value)
        facts[path] = None
    elif path == "time" and isinstance(value, str):
        with suppress(ValueError):
            known[_TIME_AT] = time_micros(value)
            facts[path] = None
