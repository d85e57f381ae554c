"""Every text of a body, and everything in it that is not text or not the caller's to run.

Owns: one walk over a parsed body. All strings become segments, those of unknown members and key
names included, so that an unknown parameter cannot hide text; parts that no scan can read become
opaque pointers; tools that the provider would run and stored objects that it would read are
listed. Refuses: objects with two keys that differ only in case, and members that Gatepost reads
written in another case (law 5): the provider may read what we would not. Scanning is
``classify``'s; what a member means is the ``Dialect``'s.

Recursion is safe: ``jsonbody.parse`` bounds the depth.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from gateway.call import Json, Segment
from gateway.errors import RequestRefused
from gateway.jsonbody import Decimal, Loose, Pairs, child, parse_embedded, pointer_text
from gateway.limits import JSON_IN_STRING_DEPTH_MAX, SEGMENTS_MAX
from gateway.protocols import wordlist
from gateway.protocols.dialect import (
    KINDS,
    OPAQUE_KEYS,
    OPAQUE_TYPES,
    PAYLOAD_KEYS,
    READABLE_SOURCES,
    ROLE_BY_TYPE,
    ROLE_NAMES,
    SCHEMA_KEYS,
    TOOL_INPUT_TYPES,
    Dialect,
    Members,
)

Mode = Literal["api", "read", "free"]
"""``api``: the provider's members, checked and understood. ``read``: the caller's data that
policy reads (tool arguments): checked. ``free``: the caller's own data: its texts only."""

_MAY_BE_JSON: Final = frozenset('{["')
_SHORT_NUMBER: Final = 6
_WORD_KEYS: Final = frozenset({"role", "type", "object", "status", "detail"})
_ITEM_MEMBERS: Final = frozenset({"id", "type"})
_PLAIN_KEYS: Final = frozenset(key for key in wordlist.KEYS if key.islower())


class Extract:
    """One walk; read its attributes when it is done.

    ``user_text``: the last text of role ``user``. ``models``: those named below the top level
    (requests of a batch, a moderation beside the call, fallbacks). The lists are in order and
    without repetition.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.segments: list[Segment] = []
        self.opaque: dict[str, None] = {}
        self.hosted_tools: dict[str, None] = {}
        self.unknown_tools: dict[str, None] = {}
        self.references: dict[str, None] = {}
        self.models: dict[str, None] = {}
        self.user_text: str | None = None
        self._dialect = dialect

    # -- entry points ----------------------------------------------------------------------

    def body(self, members: Members) -> None:
        """Walk a provider's whole body. Raises RequestRefused."""
        dialect = self._dialect
        self._check_keys(members, "", "api")
        self._meaning(members, "", None)
        for key, value in members.items():
            pointer = child("", key)
            self._key(pointer, "", key)
            role = dialect.roles.get(key, "")
            kind = KINDS.get(key, "unknown")
            self._value(value, pointer, role, kind, self._mode_below(key, value, "api"))

    def data(self, value: Json, pointer: str, role: str, kind: str) -> None:
        """Walk data of the caller that policy reads. Raises RequestRefused ``duplicate_keys``."""
        self._value(value, pointer, role, kind, "read")

    def reference(self, value: Json) -> None:
        """Note stored objects: an id, a list of ids, or an object with an ``id``."""
        if isinstance(value, str) and value:
            self.references[value] = None
        elif isinstance(value, list):
            for item in value:
                self.reference(item)
        elif isinstance(value, dict):
            self.reference(value.get("id"))

    # -- the walk --------------------------------------------------------------------------

    def _value(self, value: Json, pointer: str, role: str, kind: str, mode: Mode) -> None:
        if isinstance(value, str):
            self._text(pointer, role, kind, value)
        elif isinstance(value, dict):
            self._object(value, pointer, role, kind, mode)
        elif isinstance(value, list):
            self._list(value, pointer, role, kind, mode)
        elif isinstance(value, int | Decimal) and len(digits := str(value)) > _SHORT_NUMBER:
            # Short numbers hold nothing; long ones may be card or account numbers.
            self._text(pointer, role, kind, digits)

    def _list(self, items: list[Json], pointer: str, role: str, kind: str, mode: Mode) -> None:
        if mode == "api" and kind == "text" and items and type(items[0]) is int:
            # A prompt as token numbers: text, but none that a scan can read.
            self.opaque[pointer] = None
            return
        for index, item in enumerate(items):
            self._value(item, f"{pointer}/{index}", role, kind, mode)
        if mode == "api" and len(items) > 1:
            self._join(items, pointer, role, kind)

    def _object(self, members: Members, pointer: str, role: str, kind: str, mode: Mode) -> None:
        if mode != "free":
            self._check_keys(members, pointer, mode)
        if mode != "api":
            for key, value in members.items():
                below = child(pointer, key)
                self._key(below, role, key)
                self._value(value, below, role, kind, mode)
            return
        type_ = members.get("type")
        type_ = type_ if isinstance(type_, str) else None
        role = self._role(members, type_, role)
        self._meaning(members, pointer, type_)
        is_opaque = self._is_opaque(members, type_)
        if is_opaque:
            self.opaque[pointer] = None
        for key, value in members.items():
            if key in wordlist.KEYS:
                if value is None or (
                    key in _WORD_KEYS and isinstance(value, str) and value in wordlist.VALUES
                ):
                    continue
                below = f"{pointer}/{key}"
            else:
                below = child(pointer, key)
                self._add(below, role, "name", key)
            if is_opaque or key in OPAQUE_KEYS:
                self._payload(value, below, role, key)
                continue
            below_kind = KINDS.get(key, kind if isinstance(value, list) else "unknown")
            below_mode = self._mode_below(key, value, mode)
            if key == "input" and type_ in TOOL_INPUT_TYPES:
                below_kind, below_mode = "arguments", "free"
            elif role == "tool" and below_kind == "text":
                below_kind = "result"
            self._value(value, below, role, below_kind, below_mode)

    def _mode_below(self, key: str, value: Json, mode: Mode) -> Mode:
        if mode == "api" and key in SCHEMA_KEYS and isinstance(value, dict):
            return "free"
        return "free" if key in self._dialect.free else mode

    @staticmethod
    def _role(members: Members, type_: str | None, role: str) -> str:
        stated = members.get("role")
        if isinstance(stated, str):
            return ROLE_NAMES.get(stated, "")
        if type_ is None:
            return role
        return ROLE_BY_TYPE.get(type_, role)

    # -- texts -----------------------------------------------------------------------------

    def _text(self, pointer: str, role: str, kind: str, text: str) -> None:
        if role == "user" and kind == "text":
            self.user_text = text
        if not text or text in wordlist.VALUES:
            return
        self._add(pointer, role, kind, text)
        # Without a backslash the inner strings stand in the text as they are.
        if "\\" in text and text.lstrip()[:1] in _MAY_BE_JSON:
            self._embedded(pointer, role, kind, text, JSON_IN_STRING_DEPTH_MAX)

    def _embedded(self, pointer: str, role: str, kind: str, text: str, depth: int) -> None:
        try:
            value = parse_embedded(text)
        except ValueError:
            return
        for inner in _strings(value):
            self._add(pointer, role, kind, inner)
            if depth > 1 and "\\" in inner and inner.lstrip()[:1] in _MAY_BE_JSON:
                self._embedded(pointer, role, kind, inner, depth - 1)

    def _key(self, pointer: str, role: str, key: str) -> None:
        if key not in wordlist.KEYS:
            self._add(pointer, role, "name", key)

    def _add(self, pointer: str, role: str, kind: str, text: str) -> None:
        if len(self.segments) >= SEGMENTS_MAX:
            # What no longer fits is declared unread rather than dropped.
            self.opaque.setdefault("", None)
            return
        self.segments.append(Segment(pointer, role, kind, text))

    def _join(self, items: list[Json], pointer: str, role: str, kind: str) -> None:
        """Adjacent text parts of one message, joined: a number may be split over two parts."""
        is_message = pointer.count("/") > 1
        run: list[str] = []
        for item in (*items, None):
            text = item.get("text") if isinstance(item, dict) else item if is_message else None
            if isinstance(text, str):
                run.append(text)
                continue
            if len(run) > 1:
                self._add(pointer, role, kind, "".join(run))
            run = []

    # -- what is not text ------------------------------------------------------------------

    @staticmethod
    def _is_opaque(members: Members, type_: str | None) -> bool:
        if type_ not in OPAQUE_TYPES:
            return False
        source = members.get("source")
        return not (isinstance(source, dict) and source.get("type") in READABLE_SOURCES)

    def _payload(self, value: Json, pointer: str, role: str, key: str) -> None:
        """A member of an opaque part: note it, skip encoded bytes, keep names and addresses."""
        if key in OPAQUE_KEYS and isinstance(value, dict | list):
            self.opaque[pointer] = None
        if isinstance(value, str):
            if key in PAYLOAD_KEYS or value[:5].lower() == "data:":
                self.opaque[pointer] = None
            else:
                self._text(pointer, role, KINDS.get(key, "unknown"), value)
        elif isinstance(value, dict):
            self._check_keys(value, pointer, "api")
            self._meaning(value, pointer, None)
            for inner, item in value.items():
                self._key(child(pointer, inner), role, inner)
                self._payload(item, child(pointer, inner), role, inner)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._payload(item, child(pointer, index), role, key)

    def _meaning(self, members: Members, pointer: str, type_: str | None) -> None:
        """Tools that the provider runs, and stored objects that it reads."""
        dialect = self._dialect
        for key in members.keys() & dialect.telling:
            value = members[key]
            if key in dialect.references or (
                key in dialect.object_references and isinstance(value, dict)
            ):
                self.reference(value)
            if key in dialect.hosted_members and value not in (None, [], {}):
                self.hosted_tools[dialect.hosted_members[key]] = None
            if key in dialect.model_lists or (key == "model" and pointer):
                named = value if isinstance(value, list) else [value]
                self.models |= {name: None for name in named if isinstance(name, str)}
            if key == "tools" and type_ != "mcp_list_tools":
                self._tools(value, pointer)
            if key == "definition" and type_ == "tool_definition":
                self._tools([value], pointer)
        if type_ == "item_reference" or (
            dialect.bare_item_references and type_ is None and members.keys() <= _ITEM_MEMBERS
        ):
            self.reference(members.get("id"))

    def _tools(self, tools: Json, pointer: str) -> None:
        if tools is None:
            return
        for entry in tools if isinstance(tools, list) else [tools]:
            if not isinstance(entry, dict):
                where = pointer_text(child(pointer, "tools"))
                raise RequestRefused("unreadable_body", f"a tool in {where} is not an object")
            for verdict in self._dialect.tool(entry):
                if verdict.hosted is not None:
                    self.hosted_tools[verdict.hosted] = None
                if verdict.unknown is not None:
                    self.unknown_tools[verdict.unknown] = None

    # -- keys ------------------------------------------------------------------------------

    def _check_keys(self, members: Members, pointer: str, mode: Mode) -> None:
        """Law 5 on one object. Lower-case ASCII keys cannot collide, and are nearly all keys."""
        dialect = self._dialect
        may_skip = dialect.is_lower or mode != "api"
        if may_skip and all(map(_is_plain, members.keys() - _PLAIN_KEYS)):
            return
        fold = dialect.fold if mode == "api" else str.casefold
        folded = {fold(key) for key in members}
        if len(folded) != len(members):
            where = pointer_text(pointer)
            raise RequestRefused("duplicate_keys", f"keys that differ only in case in {where}")
        if mode != "api":
            return
        for key in members:
            if key not in dialect.read and fold(key) in dialect.folds:
                where = pointer_text(child(pointer, key))
                detail = f"{where} is not spelled as the provider spells it"
                raise RequestRefused("unreadable_body", detail)


def _is_plain(key: str) -> bool:
    return key.isascii() and key.islower()


def _strings(value: Loose) -> Iterable[str]:
    """Every string of loosely parsed JSON in order, keys and duplicates included.

    With a stack of its own: this JSON came out of a string, and its depth is not bounded.
    """
    waiting: list[Loose] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, Pairs):
            for key, below in reversed(item.members):
                waiting += (below, key)
