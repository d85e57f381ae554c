"""Bounds how many tokens a model may answer with.

Owns: lowering the members of a body that bound its answer, and setting one where none is given.
Refuses: knowing which members those are: the protocols say (``CallView.output_limits``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from gateway.call import Json
from gateway.jsonbody import Decimal, parse
from gateway.obligation import Unmet
from gateway.splice import Edit, Span, insertion, items, json_string, members, splice, whole

_NULL: Final = b"null"
_EACH: Final = "*"

Path = tuple[str, ...]


def under_ceiling(body: bytes, pointers: Iterable[str], ceiling: int) -> bytes:
    """``body`` with no limit above ``ceiling`` and with at least one.

    ``pointers``: of members that bound the answer, the one to set first; with ``*`` for each item
    of a list, those are only lowered. A limit below 1 counts as too high, because several servers
    read it as none. Raises Unmet for a limit that is not a number, or that stands where it cannot
    be set.
    """
    paths = [tuple(pointer.split("/")[1:]) for pointer in pointers]
    text = b"%d" % ceiling
    edits: list[Edit] = []
    nulls: list[Span] = []
    is_bounded = False
    for path in paths:
        for span in _places(body, whole(body), path):
            is_null = body[span.start : span.end] == _NULL
            if not is_null and not 1 <= _number(parse(body[span.start : span.end])) <= ceiling:
                edits.append(Edit(*span, text))
            if _EACH not in path:
                is_bounded = is_bounded or not is_null
                nulls += [span] if is_null else []
    if not is_bounded:
        own = [path for path in paths if _EACH not in path]
        edits.append(Edit(*nulls[0], text) if nulls else _setting(body, own, text))
    return splice(body, sorted(edits))


def _number(value: Json) -> int | Decimal:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value
    raise Unmet("the limit of the answer is not a number")


def _places(body: bytes, span: Span, path: Path) -> Iterator[Span]:
    """Where ``path`` leads from the value at ``span``: nowhere, or to one place per item."""
    if not path:
        yield span
    elif path[0] == _EACH and body[span.start : span.start + 1] == b"[":
        for below in items(body, span):
            yield from _places(body, below, path[1:])
    elif body[span.start : span.start + 1] == b"{":
        found = members(body, span).get(path[0])
        if found is not None:
            yield from _places(body, found, path[1:])


def _setting(body: bytes, paths: Sequence[Path], value: bytes) -> Edit:
    """The edit that sets the first path, or the one of which the most is there already."""
    depth, place = max(
        ((depth, -index) for index, path in enumerate(paths) for depth in _depths(body, path)),
    )
    path = paths[-place]
    span = next(_places(body, whole(body), path[:depth]))
    for name in reversed(path[depth + 1 :]):
        value = b"{" + json_string(name) + b":" + value + b"}"
    if body[span.start : span.end] == _NULL:
        return Edit(*span, b"{" + json_string(path[depth]) + b":" + value + b"}")
    if body[span.start : span.start + 1] != b"{":
        raise Unmet("the limit of the answer cannot be set where it belongs")
    return insertion(body, span, path[depth], value)


def _depths(body: bytes, path: Path) -> Iterator[int]:
    """How many names of ``path`` lead somewhere, less than all of them."""
    for depth in range(len(path)):
        if any(_places(body, whole(body), path[:depth])):
            yield depth
