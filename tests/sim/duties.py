"""What the policies of a simulated world oblige daemons to do with a body, and whether they did.

A call's class says the obligation, as it says everything else; what must reach the provider is
worked out from the bytes that the agent sent, without any code of the gateway's. Owns: the
obligations, what callers say that these are about, and the body that is owed. Refuses: which calls
are ruled on how (``policies.py``).

* ``obligations``: every body reaches its provider byte for byte, but for what was to be redacted,
  bounded or given a pseudonym; nothing that was to be redacted is in it; and its record holds the
  digests of what came and of what left.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.record import Decision
from tests.sim.ledger import Call, Ledger
from tests.sim.planted import NOTHING, PLANTED
from tests.sim.tokens import Identity
from tests.sim.twists import Twist

if TYPE_CHECKING:
    from tests.sim.asking import Family

Object = dict[str, object]
Path = tuple[str, ...]

REDACTED: Final = "r"
"""Models and tools that get no data of persons and no cards."""
BOUNDED: Final = "t"
"""Models with a ceiling of their answers."""
NAMELESS: Final = "u"
"""Models that must not learn who asks."""
UNMET: Final = "o"
"""Tools with an obligation that can be met for models alone."""

_CEILING: Final = 50
OBLIGATIONS: Final[dict[str, Object]] = {
    REDACTED: {"redact": {"categories": ["pii.*", "pci.*"]}},
    BOUNDED: {"max_output_tokens": _CEILING},
    NAMELESS: {"pseudonymise_user": True},
    UNMET: {"pseudonymise_user": True},
}
_TEXTS: Final = {
    REDACTED: ["redact=pci.*,pii.*"],
    BOUNDED: [f"max_output_tokens={_CEILING}"],
    NAMELESS: ["pseudonymise_user=true"],
}
_LIMITS: Final[dict[Family, Path]] = {
    "chat": ("max_completion_tokens",),
    "response": ("max_output_tokens",),
    "message": ("max_tokens",),
    "gemini": ("generationConfig", "maxOutputTokens"),
    "converse": ("inferenceConfig", "maxTokens"),
}
_ASKED_LIMITS: Final = (None, 40, 900)
_USERS: Final[dict[Family, Path]] = {
    "chat": ("user",),
    "response": ("user",),
    "embedding": ("user",),
    "message": ("metadata", "user_id"),
    "converse": ("additionalModelRequestFields", "metadata", "user_id"),
}
_PROVIDERS: Final[dict[Family, str]] = {"message": "anthropic", "converse": "bedrock"}
_UNSCANNED: Final = frozenset({"http", "file", "models"})
"""Families for which no policy has anything redacted."""
_PERSONAL: Final = ("mail", "phone", "host", "percent")


def letter_of(name: str) -> str:
    """The class of a call, by its name."""
    return name.split("-")[1]


def with_more_to_redact(name: str, twist: Twist) -> Twist:
    """``twist``; half of the calls from which something is redacted hold something."""
    number = int(name[-6:])
    if letter_of(name) != REDACTED or number % 2 or twist.planted != NOTHING:
        return twist
    planted = PLANTED[_PERSONAL[number // 2 % len(_PERSONAL)]]
    return msgspec.structs.replace(twist, planted=planted)


def members_of(call: Call, family: Family) -> Object:
    """What the body of ``call`` says of its user or of the length of its answer."""
    letter, number = letter_of(call.name), int(call.name[-6:])
    limit = _ASKED_LIMITS[number % len(_ASKED_LIMITS)]
    if letter == NAMELESS and family in _USERS:
        return _nested(_USERS[family], f"employee-{number % 5}")
    if letter == BOUNDED and family in _LIMITS and limit is not None:
        return _nested(_LIMITS[family], limit)
    return {}


def _nested(path: Path, value: object) -> Object:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


# -- as a provider is reached ----------------------------------------------------------------


def fault_of(call: Call, family: Family, body: bytes) -> str | None:
    """What is wrong with ``body``, which a provider got for ``call``; None if nothing is."""
    letter, planted = letter_of(call.name), call.twist.planted
    if letter == REDACTED and family not in _UNSCANNED and planted.personal:
        personal = planted.personal.encode()
        if personal in body:
            return f"{planted.personal!r} had to be redacted"
        owed = call.asked.replace(personal, planted.redacted.encode())
        return None if body == owed else f"not only that is redacted: {body!r}"
    if letter == BOUNDED and family in _LIMITS:
        path = _LIMITS[family]
        limit = _cut(_value(call.asked), path)
        owed_limit = min(limit, _CEILING) if isinstance(limit, int) else _CEILING
        return _fault_beside(call, body, path, _cut(_value(body), path) == owed_limit)
    if letter == NAMELESS and family in _USERS:
        path = _USERS[family]
        return _fault_beside(call, body, path, _is_pseudonym(_cut(_value(body), path)))
    return None if body == call.asked else f"it is not what was asked: {body!r}"


def _value(body: bytes) -> object:
    return msgspec.json.decode(body)


def _fault_beside(call: Call, body: bytes, path: Path, fits: bool) -> str | None:
    """Whether the member at ``path`` ``fits`` and the others are those that were asked."""
    got, asked = _value(body), _value(call.asked)
    _cut(got, path)
    _cut(asked, path)
    return None if fits and got == asked else f"{'/'.join(path)} is not as it must be: {body!r}"


def _is_pseudonym(value: object) -> bool:
    return isinstance(value, str) and value.startswith("user-")


def _cut(value: object, path: Path) -> object:
    """Take the member at ``path`` out of ``value``, and what is empty without it; return it."""
    assert isinstance(value, dict)
    name, *below = path
    if not below:
        return value.pop(name, None)
    inner = value.get(name)
    found = None if inner is None else _cut(inner, tuple(below))
    if not inner:
        value.pop(name, None)
    return found


# -- at the end ------------------------------------------------------------------------------


class Duties:
    """Notes violations in ``ledger``."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pseudonyms: dict[tuple[str, str], object] = {}

    def check(self, call: Call, family: Family, one: Decision, who: Identity) -> None:
        """Hold one decision of stage ``request`` against what came and what left."""
        key = self._ledger.digest_keys[one.chain.instance]
        came, left = one.digest.request, one.digest.forwarded
        if came is not None and came != _digest(key, call.asked):
            self._violate(f"{call.name}: the digest of the request is of other bytes")
        if call.got is None or family == "file" or call.kind == "batch":
            return
        if _digest(key, call.got) != (came if left is None else left):
            self._violate(f"{call.name}: the digest is not of what was forwarded")
        letter = letter_of(call.name)
        if letter in _TEXTS and family in _LIMITS and one.decision.obligations != _TEXTS[letter]:
            self._violate(f"{call.name}: obligations {one.decision.obligations}")
        if letter == NAMELESS and family in _USERS:
            self._is_stable(call, family, who)

    def _is_stable(self, call: Call, family: Family, who: Identity) -> None:
        """One person has one pseudonym at one provider, and nobody else has it."""
        assert call.got is not None
        path = _USERS[family]
        given = _cut(_value(call.asked), path) if who.person is None else who.person
        found = _cut(_value(call.got), path)
        place = (_PROVIDERS.get(family, "openai"), str(given))
        if self._pseudonyms.setdefault(place, found) != found:
            self._violate(f"{call.name}: {found} is another pseudonym of {place} than before")
        if any(one == found and other != place for other, one in self._pseudonyms.items()):
            self._violate(f"{call.name}: {found} is the pseudonym of two")

    def _violate(self, text: str) -> None:
        self._ledger.violate("obligations", text)


def _digest(key: bytes, data: bytes) -> str:
    return "hmac-sha256:" + hmac.new(key, data, hashlib.sha256).hexdigest()
