"""YAML and JSON as authors write them: the values of JSON, and the place of each.

Owns: the subset that is read (mappings, lists, texts, JSON's numbers, ``true``, ``false`` and
``null``) and where everything stands. Refuses: anchors, aliases, tags, duplicate keys, and every
word that some YAML readers take for something else than its letters (``no``, ``1_000``, dates,
``22:00``): such a word must stand in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec
import yaml

Path = tuple[str | int, ...]
"""Keys and indexes from the top of a document."""

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS: Final = {"true": True, "false": False, "null": None}
_OCTAL: Final = re.compile(r"0o[0-7]+")
_DEPTH_MAX: Final = 64


class Place(msgspec.Struct, frozen=True):
    """``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Fault(msgspec.Struct, frozen=True):
    """What is wrong, and where."""

    place: Place
    detail: str

    def __str__(self) -> str:
        return f"{self.place}: {self.detail}"


class SourceInvalid(Exception):
    """A text cannot be used; ``faults`` has one entry per mistake that was found."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class Tree(msgspec.Struct, frozen=True):
    """One document. ``places``: of each list element, and of the key of each member."""

    value: object
    places: dict[Path, Place]


def read_tree(file: str, data: bytes) -> Tree:
    """The one document in ``data``. ``file``: its name in messages. Raises SourceInvalid."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SourceInvalid(Fault(Place(file, line, 1), "is not UTF-8")) from error
    if file.endswith(".json"):
        # JSON may be indented with tabs and cannot hold one in a text; YAML refuses such tabs.
        text = text.replace("\t", " ")
    try:
        return _Reader(file, yaml.parse(text, Loader=yaml.SafeLoader)).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, 1, 1) if mark is None else Place(file, mark.line + 1, mark.column + 1)
        detail = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise SourceInvalid(Fault(place, detail)) from error
    except yaml.YAMLError as error:
        raise SourceInvalid(Fault(Place(file, 1, 1), " ".join(str(error).split()))) from error


class _Reader:
    """Builds values from the parser's events. Events are untyped: the library has no types."""

    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self._file = file
        self._events = events
        self._places: dict[Path, Place] = {}

    def read(self) -> Tree:
        next(self._events)  # the stream begins
        first = next(self._events)
        if isinstance(first, yaml.StreamEndEvent):
            raise SourceInvalid(Fault(Place(self._file, 1, 1), "is empty"))
        event = next(self._events)
        self._places[()] = self._place(event)
        value = self._value(event, ())
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._fault(after, "a second document; one file holds one")
        return Tree(value, self._places)

    def _place(self, event: Any) -> Place:
        return Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _fault(self, event: Any, detail: str) -> SourceInvalid:
        return SourceInvalid(Fault(self._place(event), detail))

    def _value(self, event: Any, path: Path) -> object:
        if isinstance(event, yaml.AliasEvent):
            raise self._fault(event, f"alias '*{event.anchor}': write it out, or use a group")
        if event.anchor is not None:
            raise self._fault(event, f"anchor '&{event.anchor}': write it out, or use a group")
        if event.tag is not None:
            raise self._fault(event, f"tag {event.tag!r}: tags are not read")
        if len(path) > _DEPTH_MAX:
            raise self._fault(event, f"is deeper than {_DEPTH_MAX} levels")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._scalar(event)

    def _mapping(self, path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, path)
            if not isinstance(key, str):
                raise self._fault(event, f"the key {key!r} is not a text; put it in quotes")
            if key in found:
                before = self._places[(*path, key)]
                raise self._fault(event, f"{key!r} stands twice; first in line {before.line}")
            self._places[(*path, key)] = self._place(event)
            found[key] = self._value(next(self._events), (*path, key))
        return found

    def _list(self, path: Path) -> list[object]:
        found: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            own = (*path, len(found))
            self._places[own] = self._place(event)
            found.append(self._value(event, own))
        return found

    def _scalar(self, event: Any) -> object:
        text: str = event.value
        if not event.implicit[0]:
            return self._text(event, text)
        if text in _WORDS:
            return _WORDS[text]
        number = _NUMBER.fullmatch(text)
        if number is not None:
            return Decimal(text) if any(number.groups()) else int(text)
        if not text:
            raise self._fault(event, 'has no value; write null, or "" for an empty text')
        if _ambiguous(text):
            raise self._fault(
                event,
                f'{text} is not a text to every reader of YAML: write "{text}" if it is meant as '
                "text, else a number, true, false or null as in JSON",
            )
        return self._text(event, text)

    def _text(self, event: Any, text: str) -> str:
        try:
            # JSON writes a character beyond U+FFFF as two escapes.
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError as error:
            raise self._fault(event, "holds half a character") from error


def _ambiguous(text: str) -> bool:
    """Whether YAML 1.1, or 1.2, gives the plain word ``text`` another type than text."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[0], [])
    return _OCTAL.fullmatch(text) is not None or any(
        pattern.match(text) for _, pattern in resolvers
    )
