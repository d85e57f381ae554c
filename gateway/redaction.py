"""Takes findings out of the strings of a body.

Every string of the body is looked at, names of members included. One that is a JSON text itself
(tool arguments) is taken apart where its escapes would hide what it holds, and put together again.

Owns: which strings are put before the classifier, and what stands in place of a finding. Refuses:
finding anything (``classify``), and vouching for the result: who forwards it reads and classifies
it again (``amending.py``), so whatever is not redacted here (a number, a value split over two
parts, the query) refuses the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from gateway.call import Segment
from gateway.classify.classifier import Finding
from gateway.jsonbody import parse_embedded
from gateway.limits import JSON_IN_STRING_DEPTH_MAX, SEGMENTS_MAX
from gateway.obligation import Unmet
from gateway.splice import Edit, Span, json_string, splice, string_text, strings

_MAY_BE_JSON: Final = ("{", "[", '"')


class _Text(msgspec.Struct, frozen=True):
    """One string. ``inner``: those of the JSON text that it is, None where it is read as it is."""

    span: Span
    text: str
    inner: tuple[_Text, ...] | None


class Redaction:
    """The texts of one ``body``, which ``jsonbody.parse`` has taken (or which is empty).

    ``segments`` go to the classifier; its findings in them go to ``redacted``. Raises Unmet where
    there are more texts than are ever scanned.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._texts = _texts_of(body, JSON_IN_STRING_DEPTH_MAX)
        leaves = list(_leaves(self._texts))
        if len(leaves) > SEGMENTS_MAX:
            raise Unmet("there are too many texts to redact")
        self.segments = [Segment("", "", "unknown", leaf.text) for leaf in leaves]

    def redacted(self, findings: Sequence[Finding], is_named: Callable[[str], bool]) -> bytes:
        """The body without the ``findings`` whose category ``is_named``. Raises Unmet."""
        found: dict[int, list[Finding]] = {}
        for finding in findings:
            if is_named(finding.category):
                found.setdefault(finding.segment, []).append(finding)
        if not found:
            return self._body
        replaced = [
            _replaced(segment.text, found[index]) if index in found else None
            for index, segment in enumerate(self.segments)
        ]
        return _rebuilt(self._body, self._texts, iter(replaced))


def _texts_of(data: bytes, depth: int) -> tuple[_Text, ...]:
    return tuple(_read(string_text(data, span), span, depth) for span in strings(data))


def _read(text: str, span: Span, depth: int) -> _Text:
    # As ``protocols.extract``: without a backslash the inner strings stand in it as they are.
    if depth and "\\" in text and _is_json(text):
        return _Text(span, text, _texts_of(text.encode(), depth - 1))
    return _Text(span, text, None)


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(_MAY_BE_JSON):
        return False
    try:
        parse_embedded(text)
        text.encode()
    except ValueError:
        return False
    return True


def _leaves(texts: Iterable[_Text]) -> Iterator[_Text]:
    for one in texts:
        if one.inner is None:
            yield one
        else:
            yield from _leaves(one.inner)


def _replaced(text: str, findings: Iterable[Finding]) -> str:
    """``text`` with each finding's category in brackets in its place."""
    spans = sorted((one.start, one.end, one.category) for one in findings)
    merged: list[tuple[int, int, set[str]]] = []
    for start, end, category in spans:
        if merged and start < merged[-1][1]:
            first, last, categories = merged[-1]
            merged[-1] = (first, max(last, end), categories | {category})
        else:
            merged.append((start, end, {category}))
    parts: list[str] = []
    place = 0
    for start, end, categories in merged:
        parts += (text[place:start], f"[{','.join(sorted(categories))}]")
        place = end
    new = "".join((*parts, text[place:]))
    if _is_json(text) and not _is_json(new):
        raise Unmet("a finding reaches over the strings of a JSON text")
    return new


def _rebuilt(data: bytes, texts: Iterable[_Text], replaced: Iterator[str | None]) -> bytes:
    """``data`` with new strings for those leaves of ``texts`` that ``replaced`` has one for."""
    edits: list[Edit] = []
    for one in texts:
        if one.inner is None:
            new = next(replaced)
        else:
            new = _rebuilt(one.text.encode(), one.inner, replaced).decode()
        if new is not None and new != one.text:
            edits.append(Edit(*one.span, json_string(new)))
    return splice(data, edits)
