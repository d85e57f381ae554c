"""What a provider's protocol module hands on, and which methods and paths it takes.

Owns: ``Reading``, the table of a provider's methods and paths, and the checks of a head that say
how its body may be read. Refuses: reading bodies, and routing (the prefix has been matched).

A path that is not in the table is not forwarded: a gateway that passes on what it does not know
has not decided it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.call import CallView, Head, Route
from gateway.errors import RequestRefused, TurnAway
from gateway.vocabulary import Operation

BodyKind = Literal["json", "json_or_none", "none", "upload"]
"""What a method takes: JSON, JSON or nothing, nothing, or a multipart upload that no text scan
reads (it may as well be JSON: several endpoints take both)."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that one request makes: one, or the messages of a JSON-RPC batch.

    ``batch`` is true for a JSON array, also one of a single message: its answer is an array too.
    """

    calls: tuple[CallView, ...]
    batch: bool = False


class Action(msgspec.Struct, frozen=True):
    """What one method of one path asks for. ``stream``: the path itself says so.

    ``output_limits``: as ``CallView`` has them.
    """

    operation: Operation
    body: BodyKind
    stream: bool = False
    output_limits: tuple[str, ...] = ()


class Match(msgspec.Struct, frozen=True):
    """``action``, and the decoded path variables by name."""

    action: Action
    variables: dict[str, str]


class PathTable:
    """Path templates such as ``/v1/files/{file}``, each with the methods that it takes.

    A variable matches one whole, non-empty path segment; ``{name}:word`` matches a segment that
    ends in ``:word`` (Google's custom methods).
    """

    def __init__(self, templates: Mapping[str, Mapping[str, Action]]) -> None:
        self._whole = {path: actions for path, actions in templates.items() if "{" not in path}
        self._parts = [
            (template.split("/"), actions)
            for template, actions in templates.items()
            if "{" in template
        ]

    def match(self, method: str, path: str) -> Match:
        """The action of ``method`` on ``path`` (undecoded, after the route's prefix).

        Raises TurnAway: ``unknown_route``, or ``method_not_allowed`` with the methods allowed.
        """
        whole = self._whole.get(path)
        if whole is not None:
            return Match(_action(whole, method), {})
        parts = path.split("/")
        for template, actions in self._parts:
            variables = _variables(template, parts)
            if variables is not None:
                return Match(_action(actions, method), variables)
        raise TurnAway("unknown_route", "the provider's API has no such path, or not for agents")


def _action(actions: Mapping[str, Action], method: str) -> Action:
    action = actions.get(method)
    if action is None:
        raise TurnAway("method_not_allowed", allow=tuple(sorted(actions)))
    return action


def _variables(template: list[str], parts: list[str]) -> dict[str, str] | None:
    if len(template) != len(parts):
        return None
    variables: dict[str, str] = {}
    for expected, part in zip(template, parts, strict=True):
        if not expected.startswith("{"):
            if expected != part:
                return None
            continue
        name, _, ending = expected[1:].partition("}")
        if not part.endswith(ending) or len(part) == len(ending):
            return None
        variables[name] = decoded(part[: len(part) - len(ending)])
    return variables


def decoded(part: str) -> str:
    """A percent-decoded path segment. Raises TurnAway ``unknown_route`` where it is not UTF-8,
    or would be a dot segment or hold a control character once decoded."""
    try:
        text = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise TurnAway("unknown_route", "a path segment is not UTF-8") from None
    if text in (".", "..") or any(ord(character) < 0x20 for character in text):
        raise TurnAway("unknown_route", "a path segment is not a plain name")
    return text


def provider_path(route: Route, head: Head) -> str:
    """What follows the route's prefix, undecoded: ``""`` or something that starts with ``/``."""
    return head.path[len(route.prefix) :]


# -- bodies by their head ------------------------------------------------------------------

_IDENTITY: Final = ("", "identity")


def check_encoding(head: Head) -> None:
    """Law 5: no content encoding. Raises RequestRefused ``content_encoding_unsupported``."""
    if head.headers.get("content-encoding", "").strip().lower() not in _IDENTITY:
        raise RequestRefused("content_encoding_unsupported")


def media_type(head: Head) -> str:
    """The media type of the body, lower-case and without parameters; ``""`` where none is."""
    return head.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_json_type(head: Head) -> None:
    """Raises RequestRefused ``unreadable_body`` unless the head says UTF-8 JSON."""
    kind = media_type(head)
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise RequestRefused("unreadable_body", "Content-Type must be application/json")
    parameters = head.headers["content-type"].lower().partition(";")[2]
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "')
    if charset not in ("", "utf-8", "utf8"):
        raise RequestRefused("unreadable_body", "the body must be UTF-8")
