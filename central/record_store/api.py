"""The record store's paths.

Owns: methods, paths, sizes, streaming and status codes. Refuses: everything else. Daemons are
known by ``Gatepost-Signed``, people by a bearer token with the role auditor.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Stream

from central import acts, web
from central.acts import Act
from central.described import BYTES, ENVELOPE, JSON, TEXT, TEXT_PLAIN, described, fields_of, number
from central.errors import Refused
from central.record_store.behind import AcknowledgeRequest, LogStatus
from central.record_store.certificates import CertificateAnswer
from central.record_store.export import Pinned
from central.record_store.filters import Query, read_query
from central.record_store.instances import InstanceItem
from central.record_store.parameters import EXPORT, PAGE, PLACE
from central.record_store.place import Place
from central.record_store.query import Page, RecordDetail
from central.record_store.reconcile import Reconciliation
from central.record_store.search import SearchAnswer, SearchRequest
from central.record_store.senders import Call
from central.record_store.service import RecordStore
from gateway import limits
from gateway.shipping import ChainHeadAnswer, ShipAnswer

_GZIP: Final = 16 + zlib.MAX_WBITS
_NAME_BYTES_MAX: Final = 128
_RECONCILE_OPTIONS: Final = frozenset({"older_than_seconds"})
_SECONDS_DIGITS_MAX: Final = 9
"""Thirty years."""
_EXPORT_OPTIONS: Final = frozenset({"complete", "from"})
_LOOK: Final = ("bad_filter", "region_required", "not_found")
"""What any look into a log may be answered with."""


@post(
    "/v1/certificates",
    status_code=201,
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described("document_invalid", "wrong_tenant", body=(JSON, ENVELOPE)),
)
async def keep_certificate(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> CertificateAnswer:
    """Make a key certificate known: the body is its DSSE envelope. Safe to repeat."""
    return await record_store.keep_certificate(await request.body())


@post(
    "/v1/records",
    status_code=200,
    request_max_body_size=limits.SHIP_BYTES_MAX,
    operation_class=described(
        "content_encoding_unsupported", caller="daemon", body=(web.NDJSON, BYTES)
    ),
)
async def keep_records(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> ShipAnswer:
    """Take in DSSE lines of one instance in seq order, gzip or plain. Safe to repeat."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    return await record_store.keep_records(await _call(request), encoding)


@post(
    "/v1/chain-heads",
    status_code=200,
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described("document_invalid", caller="daemon", body=(JSON, ENVELOPE)),
)
async def keep_chain_head(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> ChainHeadAnswer:
    """Say where a chain stands: the body is the DSSE envelope of a ``chain-head``. The answer says
    what this store has acknowledged and lacks."""
    return await record_store.keep_chain_head(await _call(request))


@get("/v1/records", operation_class=described(*_LOOK, "bad_cursor", caller="person", query=PAGE))
async def page(request: web.HttpRequest, record_store: NamedDependency[RecordStore]) -> Page:
    """A page of records. Filters: person, agent, model, provider, operation, outcome, reason,
    level, category, tool, tool_server, route, policy_version, policy_digest, untrusted (0, 1),
    grade (on_time, late, skewed), kind, instance, of, decided_from, decided_to; and order
    (newest, oldest), limit, cursor, region, tenant. A page examines so many rows and no more: one
    with few items, or none, is the last only where ``next_cursor`` is null."""
    act, wanted = _read(request, record_store, "records.page", frozenset())
    await record_store.note(act)
    return await record_store.page(Place(act.tenant, act.region), wanted)


@post(
    "/v1/search",
    status_code=200,
    request_max_body_size=limits.DIGEST_REQUEST_BYTES_MAX,
    operation_class=described(
        *_LOOK,
        "bad_cursor",
        "digests_not_configured",
        "digests_unavailable",
        caller="person",
        body=(JSON, fields_of(SearchRequest)),
    ),
)
async def search(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> SearchAnswer:
    """Records by their content: the body names a text or an exact body, and filters as of
    ``/v1/records``. What is searched for is not recorded, that it was searched is."""
    asked = web.decode_body(await request.body(), SearchRequest)
    authorization = request.headers.get("authorization")
    named = (asked.filters.get(name) for name in ("tenant", "region"))
    looker = record_store.auditor(authorization, *named)
    return await record_store.search(
        looker, asked, authorization, request.headers.get(acts.WHY_HEADER)
    )


@get("/v1/records/{name:str}", operation_class=described(*_LOOK, caller="person", query=PLACE))
async def detail(
    request: web.HttpRequest, name: FromPath[str], record_store: NamedDependency[RecordStore]
) -> RecordDetail:
    """One record by id or record hash: its exact bytes, signature, certificate and leaf."""
    wanted = _record_name(name)
    place = await _asked(request, record_store, "records.detail", record=wanted)
    return await record_store.detail(place, wanted)


@get(
    "/v1/records/{name:str}/proof",
    operation_class=described(*_LOOK, caller="person", query=PLACE, answer=(TEXT_PLAIN, TEXT)),
)
async def proof(
    request: web.HttpRequest, name: FromPath[str], record_store: NamedDependency[RecordStore]
) -> Response[bytes]:
    """The proof that one record is in its log: a text file (C2SP tlog-proof)."""
    wanted = _record_name(name)
    place = await _asked(request, record_store, "records.proof", record=wanted)
    text = await record_store.published.proof(place, wanted)
    return web.answer(text.encode(), media_type="text/plain; charset=utf-8")


@get("/v1/instances", operation_class=described(*_LOOK, caller="person", query=PLACE))
async def instances(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> list[InstanceItem]:
    """Every instance: state, head, gaps, last seen."""
    place = await _asked(request, record_store, "instances.list")
    return await record_store.instances(place)


@get("/v1/log", operation_class=described(*_LOOK, caller="person", query=PLACE))
async def log_status(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> LogStatus:
    """The log's origin and size, and what daemons saw of it that it does not have, with their
    signed word."""
    place = await _asked(request, record_store, "log.status")
    return await record_store.log_status(place)


@post(
    "/v1/log/acknowledge",
    status_code=200,
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described(*_LOOK, caller="person", body=(JSON, fields_of(AcknowledgeRequest))),
)
async def acknowledge(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> LogStatus:
    """Settle what instances say against a log: they were looked into, and are no alarm any more.
    Needs the role operator. Their words stay, with who settled them."""
    asked = web.decode_body(await request.body(), AcknowledgeRequest)
    headers = request.headers
    return await record_store.acknowledge(
        headers.get("authorization"), headers.get(acts.WHY_HEADER), asked
    )


@get(
    "/v1/reconcile",
    operation_class=described(
        *_LOOK,
        caller="person",
        query={**PLACE, "older_than_seconds": number(10**_SECONDS_DIGITS_MAX - 1)},
    ),
)
async def reconcile(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> Reconciliation:
    """Certificates without chains, decisions without completions, counters that do not fit the
    records, and holes. ``older_than_seconds`` (3600): younger ones may still come."""
    act, _ = _read(request, record_store, "records.reconcile", _RECONCILE_OPTIONS)
    if act.parameters.keys() - _RECONCILE_OPTIONS - {"tenant", "region"}:
        raise Refused("bad_filter", "takes older_than_seconds, region and tenant")
    text = act.parameters.get("older_than_seconds", str(int(limits.CALL_SECONDS_MAX)))
    if not (text.isascii() and text.isdigit() and len(text) <= _SECONDS_DIGITS_MAX):
        raise Refused("bad_filter", "older_than_seconds is a number of seconds")
    await record_store.note(act)
    return await record_store.reconcile(Place(act.tenant, act.region), int(text))


@get(
    "/v1/exports",
    operation_class=described(
        *_LOOK, "bad_cursor", caller="person", query=EXPORT, answer=(web.NDJSON, BYTES)
    ),
)
async def exports(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> Response[bytes] | Stream:
    """NDJSON for an offline verifier: roots, certificates, records in leaf order with what the
    log proves of them, and a checkpoint. Takes the filters of ``/v1/records``; without any,
    ``complete=1`` gives every leaf of the log. ``from``: the size of a checkpoint that you have, to
    be led from there to this one. gzip where ``Accept-Encoding`` names it."""
    given = dict(request.query_params.multi_items())
    act, wanted = _read(request, record_store, "records.export", _EXPORT_OPTIONS)
    if wanted.cursor is not None:
        raise Refused("bad_filter", "an export is not paged")
    complete = _complete(given)
    pinned = await record_store.pin(act)
    old_size = _old_size(given.get("from"), pinned)
    lines = _export(record_store, pinned, None if complete else wanted, old_size)
    headers = {"Gatepost-Version": web.VERSION, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        lines = _gzipped(lines)
    return Stream(lines, media_type=web.NDJSON, headers=headers)


def _complete(given: dict[str, str]) -> bool:
    """Whether every leaf is asked for. Raises Refused (``bad_filter``)."""
    if "complete" not in given:
        return False
    if given["complete"] != "1":
        raise Refused("bad_filter", "complete is 1, or not there")
    if given.keys() - {"complete", "from", "tenant", "region"}:
        raise Refused("bad_filter", "a complete export has no filter")
    return True


def _old_size(text: str | None, pinned: Pinned) -> int | None:
    """The size that a consistency proof begins at. Raises Refused (``bad_filter``)."""
    if text is None:
        return None
    largest = pinned.log.size
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= largest):
        raise Refused("bad_filter", f"from is a number of leaves, up to {largest}")
    return int(text)


async def _export(
    store: RecordStore, pinned: Pinned, wanted: Query | None, old_size: int | None
) -> AsyncIterator[bytes]:
    """``wanted``: None for every leaf."""
    yield await store.export_head(pinned)
    after: int | None = -1
    while after is not None:
        found = await store.export_page(pinned, wanted, after)
        yield found.lines
        after = found.after
    yield await store.export_tail(pinned, old_size)


async def _gzipped(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    deflater = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    async for chunk in lines:
        yield deflater.compress(chunk)
    yield deflater.flush()


async def _call(request: web.HttpRequest) -> Call:
    return Call(
        method=request.method,
        path=web.path_as_sent(request),
        body=await request.body(),
        signed=web.signed_header(request),
    )


def _record_name(name: str) -> str:
    """An id or a record hash. Raises Refused (``not_found``) for what can be neither."""
    wanted = web.segment(name)
    if len(wanted.encode("utf-8", "surrogatepass")) > _NAME_BYTES_MAX:
        raise Refused("not_found")
    return wanted


async def _asked(request: web.HttpRequest, store: RecordStore, what: str, **names: str) -> Place:
    """Who may see what is asked, which takes no filter; the look is recorded before anything is
    shown."""
    act, _ = _read(request, store, what, frozenset(), **names)
    if request.query_params.keys() - {"tenant", "region"}:
        raise Refused("bad_filter", "takes region and tenant")
    await store.note(act)
    return Place(act.tenant, act.region)


def _read(
    request: web.HttpRequest,
    store: RecordStore,
    what: str,
    options: frozenset[str],
    **names: str,
) -> tuple[Act, Query]:
    """The act of a person who may do it, and the filters in it. Raises Refused.

    ``options``: parameters that are no filters, and the caller's to read; ``names``: what the path
    names.
    """
    parameters = list(request.query_params.multi_items())
    tenant = next((value for name, value in parameters if name == "tenant"), None)
    others = options | {"tenant"}
    wanted = read_query((name, value) for name, value in parameters if name not in others)
    looker = store.auditor(request.headers.get("authorization"), tenant, wanted.region)
    act = Act(
        tenant=looker.place.tenant,
        region=looker.place.region,
        who=looker.person.name,
        what=what,
        why=request.headers.get(acts.WHY_HEADER),
        parameters={**dict(parameters), **names},
        range=wanted.times_text,
    )
    return act, wanted


HANDLERS: Final[list[HTTPRouteHandler]] = [
    keep_certificate,
    keep_records,
    keep_chain_head,
    page,
    search,
    detail,
    proof,
    instances,
    log_status,
    acknowledge,
    reconcile,
    exports,
]
