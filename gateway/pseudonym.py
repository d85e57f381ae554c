"""Names for people that mean something to nobody but whoever holds the key.

A pseudonym is stable over calls, restarts and daemons that share the key, for one person at one
provider. Two providers cannot compare theirs, and without the key nobody can try out names.

Owns: the derivation, and putting pseudonyms in place of what names the end user. Refuses: which
members those are (``CallView.end_user``), adding one that the caller did not send, and free text:
a name in a prompt is redaction's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.call import Principal
from gateway.obligation import Unmet
from gateway.splice import Edit, Span, json_string, members, splice, string_text, whole

KEY_BYTES_MIN: Final = 32
_DIGEST_BYTES: Final = 24
"""192 bits: 32 characters, well within what every provider takes (64)."""


def pseudonym(key: bytes, provider: str | None, *named: str) -> str:
    """The pseudonym of ``named`` (what kind of name, and its parts) at ``provider``."""
    text = msgspec.json.encode(["gatepost-pseudonym/1", provider, *named])
    digest = hmac.digest(key, text, hashlib.sha256)[:_DIGEST_BYTES]
    return "user-" + base64.urlsafe_b64encode(digest).decode()


def pseudonymised(
    body: bytes,
    *,
    end_user: Iterable[str],
    cache_keys: Iterable[str],
    key: bytes,
    provider: str | None,
    principal: Principal,
) -> bytes:
    """``body`` with pseudonyms at the members that ``end_user`` and ``cache_keys`` point to.

    A member of ``end_user`` becomes the verified person's, or where there is none that of the
    value that was given; one of ``cache_keys`` always the value's, because it also tells the
    prompts of one person apart. Null and missing members stay. Raises Unmet for a value that is
    not a string.
    """
    person = (principal.person_iss, principal.person_id)
    edits: list[Edit] = []
    for pointers, is_user in ((end_user, True), (cache_keys, False)):
        for pointer in pointers:
            span = _string_at(body, pointer)
            if span is None:
                continue
            if is_user and person[1] is not None:
                name = pseudonym(key, provider, "person", person[0] or "", person[1])
            else:
                name = pseudonym(key, provider, "given", string_text(body, span))
            edits.append(Edit(*span, json_string(name)))
    return splice(body, sorted(edits))


def _string_at(body: bytes, pointer: str) -> Span | None:
    span = whole(body)
    for name in pointer.split("/")[1:]:
        if body[span.start : span.start + 1] != b"{":
            raise Unmet("what names the end user does not stand where it belongs")
        below = members(body, span).get(name)
        if below is None or body[below.start : below.end] == b"null":
            return None
        span = below
    if body[span.start : span.start + 1] != b'"':
        raise Unmet("what names the end user is not a text")
    return span
