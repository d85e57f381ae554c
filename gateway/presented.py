"""What a request head presents about its caller: tokens, and unverified claims about itself.

Owns: where a token may stand, and the rule that two different ones are refused rather than
chosen between. Refuses: verifying anything, and every other header that names a user: an
unsigned name is no identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import msgspec

from gateway import limits
from gateway.call import Head
from gateway.errors import IdentityRejected
from gateway.token import looks_like_token

DELEGATION_HEADER: Final = "x-gatepost-delegation"
KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Where provider SDKs put their key: an unmodified SDK can carry a token there."""
IDENTITY_HEADERS: Final = frozenset({DELEGATION_HEADER, *KEY_HEADERS})
LOCAL_TOKEN_PREFIX: Final = "gpl_"  # noqa: S105  # a prefix, not a token
CLAIMED: Final = "claimed:"
_USER_AGENT_CHARACTERS: Final = 256
"""Name and version stand first; the rest is not looked at."""


Product = tuple[str | None, str | None]
"""Name and version that software claims for itself."""


class Presented(msgspec.Struct, frozen=True):
    """``delegation``: the one JWT, or None. ``local``: the one ``gpl_`` token, or None."""

    delegation: str | None
    local: str | None


def read_presented(head: Head) -> Presented:
    """The tokens of ``head``. Other values in the key slots are dropped.

    Raises IdentityRejected: ``identity_ambiguous`` for a repeated header or different tokens,
    ``token_malformed`` if the delegation header holds something else than a token.
    """
    if head.duplicated & IDENTITY_HEADERS:
        raise _ambiguous("a header that carries identity stands twice")
    delegation: str | None = head.headers.get(DELEGATION_HEADER)
    if delegation is not None and not looks_like_token(delegation):
        raise IdentityRejected("token_malformed", f"{DELEGATION_HEADER} does not hold a JWT")
    local: str | None = None
    delegation_in_slot = False
    for value in _key_values(head):
        if value.startswith(LOCAL_TOKEN_PREFIX):
            if local not in (None, value):
                raise _ambiguous("two different local tokens")
            local = value
        elif looks_like_token(value):
            if delegation not in (None, value):
                raise _ambiguous("two different delegation tokens")
            delegation, delegation_in_slot = value, True
    if local is not None and delegation_in_slot:
        raise _ambiguous(f"beside a local token a delegation stands in {DELEGATION_HEADER}")
    return Presented(delegation, local)


def claimed_product(head: Head) -> Product:
    """Name and version that the caller's software gives itself, each with ``claimed:``.

    The first product of ``User-Agent`` (RFC 9110 section 10.1.5), bounded.
    """
    return _product(head.headers.get("user-agent", "")[:_USER_AGENT_CHARACTERS])


@lru_cache(maxsize=256)
def _product(user_agent: str) -> Product:
    products = user_agent.split(maxsplit=1)
    if not products or not products[0].isascii() or not products[0].isprintable():
        return None, None
    name, _, version = products[0].partition("/")
    return _claim(name), _claim(version)


def _claim(value: str) -> str | None:
    room = limits.AGENT_LABEL_BYTES_MAX - len(CLAIMED)
    return CLAIMED + value[:room] if value else None


def _key_values(head: Head) -> Iterator[str]:
    for name in KEY_HEADERS:
        value = head.headers.get(name)
        if value is None:
            continue
        if name == "authorization":
            scheme, _, value = value.partition(" ")
            if scheme.lower() != "bearer":
                continue
        yield value.strip()


def _ambiguous(detail: str) -> IdentityRejected:
    return IdentityRejected("identity_ambiguous", detail)
