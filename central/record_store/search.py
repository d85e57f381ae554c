"""Records by what was said: a prompt, or the exact body of a request.

Records hold digests, keyed by instance. So a search asks the issuer, which keeps those keys, for
the digest of the text under the key of each instance that may have such records, and looks those
up.

Owns: the request and the answer, which instances are asked for, and the page that is found.
Refuses: keys of digests (the store has none) and keeping what was searched for: neither the text
nor a digest of it is recorded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

from central.errors import Refused
from central.issuer.digests import DigestRequest, WithoutKey
from central.record_store.filters import Content, Query, read_query
from central.record_store.index_row import digest_bytes
from central.record_store.logs import Log
from central.record_store.query import RecordItem, page
from gateway import limits

_INSTANCES_MAX: Final = 10 * limits.DIGEST_INSTANCES_MAX


class SearchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/search``: either ``text`` (as of ``digest.input``: the last user text,
    or a tool's arguments) or ``body_base64`` (exact bytes of a request, as of
    ``digest.request``). ``filters``: parameters of ``GET /v1/records``, by name."""

    text: str | None = None
    body_base64: str | None = None
    filters: dict[str, str] = {}

    @property
    def kind(self) -> str:
        """What is searched by."""
        return "body" if self.text is None else "text"


class SearchAnswer(msgspec.Struct, frozen=True):
    """A page as of ``GET /v1/records``. ``searched``: instances under whose keys it was looked
    for; ``without``: those that it cannot be looked for in any more, or ever."""

    items: list[RecordItem]
    next_cursor: str | None
    at_size: int
    searched: int
    without: list[WithoutKey]
    examined_to: str | None = None


def content_of(request: SearchRequest) -> bytes:
    """What is searched for. Raises Refused (``malformed_request``)."""
    if (request.text is None) == (request.body_base64 is None):
        raise Refused("malformed_request", "name either text or body_base64")
    try:
        if request.text is not None:
            return request.text.encode()
        return base64.b64decode(request.body_base64 or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("malformed_request", "the text or body_base64 cannot be read") from error


def query_of(request: SearchRequest, content: bytes, cursor_key: bytes) -> Query:
    """The filters of ``request``, bound to what is searched for. Raises Refused.

    ``cursor_key``: of this process alone. A cursor passes through other hands than the text: it
    must not be a digest by which somebody tries out what was searched for.
    """
    digest = hmac.new(cursor_key, content, hashlib.sha256).hexdigest()
    filters = [(name, value) for name, value in request.filters.items() if name != "tenant"]
    return read_query(filters, bound_to=f"{request.kind} {digest}")


def candidates(connection: sqlite3.Connection, log: Log | None, wanted: Query) -> list[str]:
    """The instances that may have such records. Raises Refused (``bad_filter``) for too many."""
    if log is None:
        return []
    rows = connection.execute(
        "SELECT instance FROM instance i WHERE log = :log AND (:instance IS NULL"
        " OR instance = :instance) AND NOT EXISTS (SELECT 1 FROM own_instance o"
        " WHERE o.log = i.log AND o.instance = i.instance) AND EXISTS (SELECT 1 FROM record r"
        " WHERE r.log = i.log AND r.instance = i.instance"
        " AND r.time_us >= :first AND r.time_us < :end) LIMIT :most",
        {
            "log": log.log,
            "instance": wanted.text.get("instance"),
            "first": wanted.decided_from_us or 0,
            "end": wanted.decided_to_us or limits.JSON_INTEGER_MAX,
            "most": _INSTANCES_MAX + 1,
        },
    ).fetchall()
    if len(rows) > _INSTANCES_MAX:
        raise Refused(
            "bad_filter",
            f"over {_INSTANCES_MAX} instances have records then; narrow it by decided_from and"
            " decided_to, or by instance",
        )
    return [instance for (instance,) in rows]


def check_work(content: bytes, instances: list[str]) -> None:
    """Raise Refused (``bad_filter``) for a search that would keep the issuer busy for too long."""
    if len(content) * len(instances) > limits.DIGEST_SEARCH_BYTES_MAX:
        most = limits.DIGEST_SEARCH_BYTES_MAX // max(1, len(content))
        raise Refused(
            "bad_filter",
            f"{len(instances)} instances have records then, and a content of this size is searched"
            f" for in {most} at once; narrow it by decided_from and decided_to, or by instance",
        )


def digest_requests(
    request: SearchRequest, content: bytes, tenant: str, region: str, instances: list[str]
) -> Iterator[DigestRequest]:
    """What to ask the issuer: as many calls as its bounds make it."""
    most = min(limits.DIGEST_INSTANCES_MAX, limits.DIGEST_WORK_BYTES_MAX // max(1, len(content)))
    for first in range(0, len(instances), most):
        yield DigestRequest(
            tenant=tenant,
            region=region,
            instances=instances[first : first + most],
            text=request.text,
            body_base64=request.body_base64,
        )


def find(
    connection: sqlite3.Connection,
    log: Log | None,
    wanted: Query,
    kind: str,
    digests: list[str],
    without: list[WithoutKey],
) -> SearchAnswer:
    """The page of records that have one of ``digests``."""
    raw = tuple(one for one in map(digest_bytes, digests) if one is not None)
    if not raw:
        return SearchAnswer([], None, 0 if log is None else log.size, 0, without)
    content = Content("request_digest" if kind == "body" else "input_digest", raw)
    found = page(connection, log, msgspec.structs.replace(wanted, content=content))
    return SearchAnswer(
        items=found.items,
        next_cursor=found.next_cursor,
        at_size=found.at_size,
        searched=len(raw),
        without=without,
        examined_to=found.examined_to,
    )
