"""Query strings, read so that no other reader can see another query.

Owns: splitting and decoding a query, and what of it is text that goes upstream. Refuses: dropping
credentials from the forwarded target (the route table does that).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.call import Head, Json, Segment
from gateway.errors import RequestRefused

CREDENTIAL_PARAMETERS: Final = frozenset(
    {"key", "api_key", "api-key", "apikey", "access_token", "token"}
)
"""Names under which providers take a key; the caller's never goes upstream (law 10), so it is
not text of the call either."""


def parameters(head: Head) -> dict[str, Json]:
    """Name → value, credentials left out. A name that ends in ``[]`` may repeat and gives a list.

    Raises RequestRefused: ``duplicate_keys`` for any other repeated name, case folded (readers
    take the first, the last or both), ``unreadable_body`` for bytes that are not UTF-8 and for a
    bare ``;``, which some readers take as a separator.
    """
    found: dict[str, Json] = {}
    folded: set[str] = set()
    for part in head.query.split("&"):
        if not part:
            continue
        if ";" in part:
            raise RequestRefused("unreadable_body", "a ';' in the query must be written as %3B")
        raw_name, _, raw_value = part.partition("=")
        name, value = _decoded(raw_name), _decoded(raw_value)
        if name.lower() in CREDENTIAL_PARAMETERS:
            continue
        have = found.get(name)
        if name.endswith("[]") and isinstance(have, list):
            have.append(value)
            continue
        if name.casefold() in folded:
            raise RequestRefused("duplicate_keys", "a query parameter is given twice")
        folded.add(name.casefold())
        found[name] = [value] if name.endswith("[]") else value
    return found


def segments(query: dict[str, Json]) -> list[Segment]:
    """Names and values as texts; their pointers are ``?<name>``, outside the body."""
    texts: list[Segment] = []
    for name, value in query.items():
        texts.append(Segment(f"?{name}", "user", "name", name))
        values = value if isinstance(value, list) else [value]
        texts.extend(
            Segment(f"?{name}", "user", "unknown", text)
            for text in values
            if isinstance(text, str) and text
        )
    return texts


def _decoded(raw: str) -> str:
    try:
        return unquote_to_bytes(raw.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise RequestRefused("unreadable_body", "the query is not UTF-8") from None
