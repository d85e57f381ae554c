"""How policy documents are answered over HTTP, by whoever serves them.

Owns: conditional requests for a head, and what may be kept for ever. Refuses: where documents come
from, and paths; service and mirror have their own.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from litestar import Response

from central import web
from central.errors import Refused
from central.served_head import ServedHead

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_IMMUTABLE: Final = {"Cache-Control": "public, max-age=31536000, immutable"}

HeadAfter = Callable[[str, str | None, int], Awaitable[ServedHead]]
"""The head of a scope; where it still has the given tag, after so many seconds at most."""


async def answer_head(
    request: web.HttpRequest, policy_scope: str, head_after: HeadAfter
) -> Response[bytes]:
    """The head of ``policy_scope``, a path's segment, or 304; waits where ``Prefer`` asks so."""
    etag = request.headers.get("if-none-match")
    wait_seconds = web.wait_seconds(request)
    found = await head_after(web.segment(policy_scope), etag, wait_seconds)
    # Prefer in Vary is how a daemon learns that it may wait here.
    headers = {"ETag": found.etag, "Cache-Control": "no-cache", "Vary": "Prefer"}
    if wait_seconds:
        headers["Preference-Applied"] = f"wait={wait_seconds}"
    if etag == found.etag:
        return web.answer(b"", status=304, headers=headers)
    return web.answer(found.envelope, headers=headers)


def answer_document(envelope: bytes) -> Response[bytes]:
    """A root or a bundle: the same bytes for ever under this path."""
    return web.answer(envelope, headers=_IMMUTABLE)


def digest_named(digest: str) -> str:
    """``sha256:<hex>`` of a path's segment. Raises Refused (``not_found``) for anything else."""
    if _HEX.fullmatch(digest) is None:
        raise Refused("not_found")
    return f"sha256:{digest}"
