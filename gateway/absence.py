"""Why members of a decision record are null: each null of the eight fields has its reason.

Owns: finding the nulls and the reason of each, so that no caller can forget one. Refuses: making
up values. What identity knows better (a token was rejected, or there was none) it says in
``Principal.absent``, and that stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from gateway.call import Absence
from gateway.limits import ABSENT_MAX
from gateway.record import Absent, Agent, Clock, Data, Model, Person, Policy

_PERSON: Final = tuple((name, f"person.{name}") for name in Person.__struct_fields__)
_AGENT: Final = tuple((name, f"agent.{name}") for name in Agent.__struct_fields__)
_CREDENTIAL: Final = "model.upstreams.credential_id"


def absences(
    given: Sequence[Absence],
    *,
    person: Person,
    agent: Agent,
    data: Data,
    policy: Policy,
    model: Model,
    clock: Clock,
    read: bool,
) -> list[Absent]:
    """One entry for each null of these fields. ``given``: reasons that identity knows.

    ``read``: whether the call could be read; otherwise what it asked for is ``not_read``.
    """
    found = _of_identity(given, person, agent)
    if data.level is None:
        found += _NOT_CLASSIFIED if read else _NOT_READ
    if policy.version is None:
        found += _NO_POLICY
    if policy.shadow is None:
        found.append(_NO_SHADOW)
    found += _of_model(model, "not_applicable" if read else "not_read")
    if clock.err_ms is None:
        found.append(_NO_CLOCK_ERROR)
    if clock.boot_id is None:
        found.append(_NO_BOOT_ID)
    return found[:ABSENT_MAX]


def _of_identity(given: Sequence[Absence], person: Person, agent: Agent) -> list[Absent]:
    paths = [path for name, path in _PERSON if getattr(person, name) is None]
    paths += [path for name, path in _AGENT if getattr(agent, name) is None]
    if not paths:
        return []
    reasons = {absence.path: absence.reason for absence in given}
    return [_absent(path, reasons.get(path, "not_stated")) for path in paths]


def _of_model(model: Model, unread: str) -> list[Absent]:
    found = []
    if model.requested is None:
        found.append(_absent("model.requested", unread))
    if model.tool is None:
        found.append(_absent("model.tool", unread))
    if model.tool_call_id is None:
        found.append(_absent("model.tool_call_id", unread))
    if model.provider is None:
        found.append(_absent("model.provider", "not_applicable"))
    if model.tool_server is None:
        found.append(_absent("model.tool_server", "not_applicable"))
    if any(upstream.credential_id is None for upstream in model.upstreams):
        found.append(_absent(_CREDENTIAL, "not_applicable"))
    return found


@lru_cache(maxsize=256)  # paths and reasons are both closed lists
def _absent(path: str, reason: str) -> Absent:
    return Absent(path, reason)


_DATA: Final = ("data.level", "data.completeness", "data.classifier")
_NOT_CLASSIFIED: Final = [_absent(path, "not_classified") for path in _DATA]
_NOT_READ: Final = [_absent(path, "not_read") for path in _DATA]
_NO_POLICY: Final = [
    _absent(f"policy.{member}", "no_policy")
    for member in ("scope", "version", "digest", "age_ms", "engine")
]
_NO_SHADOW: Final = _absent("policy.shadow", "not_applicable")
_NO_CLOCK_ERROR: Final = _absent("time.clock.err_ms", "clock_unknown")
_NO_BOOT_ID: Final = _absent("time.clock.boot_id", "clock_unknown")
