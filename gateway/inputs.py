"""What policy may read of a call: the closed list of paths, and their values for one call.

Owns: the path vocabulary (``person.* agent.* authz.* data.* model.* args.* time`` and nothing
else), what kind of value each holds, when a value is *unknown* (None), and what was read.
Refuses: conditions (``condition.py``) and judging. An evaluation is a pure function of these
inputs and a bundle; whatever is read and is not a member of the record becomes a fact.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final, Literal

from gateway import vocabulary as words
from gateway.call import CallView, Label, Principal, Route
from gateway.limits import JSON_INTEGER_MAX, POLICY_PATH_BYTES_MAX

Kind = Literal["text", "texts", "level", "time", "argument"]

PATHS: Final[MappingProxyType[str, Kind]] = MappingProxyType(
    {
        "person.id": "text",
        "person.iss": "text",
        "person.assurance": "text",
        "agent.id": "text",
        "agent.attested_by": "text",
        "agent.name": "text",
        "agent.version": "text",
        "agent.session": "text",
        "authz.roles": "texts",
        "authz.scopes": "texts",
        "authz.delegation": "texts",
        "data.level": "level",
        "data.categories": "texts",
        "data.completeness": "text",
        "model.provider": "text",
        "model.requested": "text",
        "model.operation": "text",
        "model.route": "text",
        "model.regions": "texts",
        "model.tool": "text",
        "model.tool_server": "text",
        "model.hosted_tools": "texts",
        "model.references": "texts",
        "time": "time",
    }
)
"""Path → kind. The order is that of ``Inputs.known``."""

INDEX: Final = MappingProxyType({path: index for index, path in enumerate(PATHS)})
ARGUMENTS: Final = "args."
DERIVED: Final = frozenset({"model.regions", "time"})
"""Paths whose value is not a member of the record: a fact when read, as ``args.*`` are. The
record's own time is the node's clock; rules see the later of it and the newest signed time."""

CLOSED: Final = MappingProxyType(
    {
        "person.assurance": words.ASSURANCES,
        "agent.attested_by": words.ATTESTATIONS,
        "data.completeness": words.COMPLETENESSES,
        "model.operation": words.OPERATIONS,
    }
)
"""Paths whose values are a closed list: a constant outside it is a typing error of the author."""

_COMPLETENESS: Final = INDEX["data.completeness"]
VERIFIED: Final = frozenset({"delegated", "user_token"})
"""Assurances of a token that was checked: only it can say that a list is empty."""
_UNREAD: Final = object()


class Inputs:
    """The values of one call. ``known``: one per path of ``PATHS``, None where unknown.

    ``args``: the parsed tool arguments, None where the call has none or they were not read.
    ``read``: argument and derived paths that evaluated rules read → value; it fills itself.
    ``unknown_tools``: tool types this version does not know.
    """

    __slots__ = ("args", "known", "read", "unknown_tools")

    def __init__(
        self,
        known: list[object],
        args: object = None,
        unknown_tools: tuple[str, ...] = (),
        read: dict[str, object] | None = None,
    ) -> None:
        self.known = known
        self.args = args
        self.unknown_tools = unknown_tools
        self.read: dict[str, object] = {} if read is None else read

    def text(self, path: str) -> str | None:
        """The value of a text path, None where unknown."""
        value = self.known[INDEX[path]]
        return value if isinstance(value, str) else None

    def texts(self, path: str) -> tuple[str, ...]:
        """The values of a list path; unknown reads as empty, so only for lists always known."""
        value = self.known[INDEX[path]]
        return value if isinstance(value, tuple) else ()

    def argument(self, path: str, steps: tuple[str, ...]) -> object:
        """The argument at ``path``; None where there is none, or it is null."""
        value = self.read.get(path, _UNREAD)
        if value is _UNREAD:
            value = self.read[path] = resolve(self.args, steps)
        return value

    def derived(self, path: str) -> object:
        """The value of a path of ``DERIVED``, noted as read."""
        value = self.read[path] = self.known[INDEX[path]]
        return value

    @property
    def scanned_whole(self) -> bool:
        """Whether a category that was not found is proved not to be there."""
        return self.known[_COMPLETENESS] == "full"


def gather(
    principal: Principal, label: Label | None, call: CallView, route: Route, now_us: int
) -> Inputs:
    """The inputs of one call. ``now_us``: trusted time, microseconds since 1970 UTC."""
    roles, scopes, delegation = _authorisation(principal)
    known: list[object] = [
        principal.person_id,
        principal.person_iss,
        principal.assurance,
        principal.agent_id,
        principal.attested_by,
        principal.agent_name,
        principal.agent_version,
        principal.agent_session,
        roles,
        scopes,
        delegation,
        None if label is None else label.level,
        None if label is None else label.categories,
        None if label is None else label.completeness,
        route.provider if call.provider is None else call.provider,
        call.model,
        call.operation,
        route.name,
        tuple(upstream.region for upstream in route.upstreams),
        call.tool,
        call.tool_server,
        call.hosted_tools,
        call.references,
        now_us,
    ]
    return Inputs(known, call.args, call.unknown_tools)


def _authorisation(
    principal: Principal,
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, tuple[str, ...] | None]:
    # An empty list says "no roles" only where a verified token could have said otherwise. Without
    # one, dropping the token would turn "must not be a contractor" from false into true.
    verified = principal.assurance in VERIFIED
    absent = {absence.path for absence in principal.absent}

    def known(path: str, values: tuple[str, ...]) -> tuple[str, ...] | None:
        return values if values or (verified and path not in absent) else None

    return (
        known("authz.roles", principal.roles),
        known("authz.scopes", principal.scopes),
        known("authz.delegation", principal.delegation),
    )


def parse_argument_path(path: str) -> tuple[str, ...]:
    """The steps of an ``args.…`` path. Raises ValueError.

    As RFC 6901, with ``.`` in place of ``/``: in a step ``~0`` is ``~`` and ``~1`` is ``.``; an
    array element is its index without leading zeros.
    """
    if len(path.encode()) > POLICY_PATH_BYTES_MAX:
        raise ValueError(f"is longer than {POLICY_PATH_BYTES_MAX} bytes")
    steps = path.removeprefix(ARGUMENTS).split(".")
    if not all(steps):
        raise ValueError("has an empty step")
    for step in steps:
        if "~" in step.replace("~0", "").replace("~1", ""):
            raise ValueError("has a '~' that is neither ~0 nor ~1")
    return tuple(step.replace("~1", ".").replace("~0", "~") for step in steps)


def resolve(root: object, steps: tuple[str, ...]) -> object:
    """The value at ``steps`` below ``root``, or None where there is none."""
    value = root
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and _is_index(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _is_index(step: str) -> bool:
    plain = step.isascii() and step.isdigit() and len(step) <= len(str(JSON_INTEGER_MAX))
    return plain and (step == "0" or step[0] != "0")


def suggestion(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)``, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
