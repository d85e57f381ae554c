"""The record store's paths.

Owns: methods, paths, sizes, streaming and status codes. Refuses: everything else. Daemons are
known by ``Gatepost-Signed``, people by a bearer token with the role auditor.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Stream

from central import web
from central.errors import Refused
from central.record_store.certificates import CertificateAnswer
from central.record_store.filters import Query, read_query
from central.record_store.instances import InstanceItem
from central.record_store.logs import Log
from central.record_store.query import Page, RecordDetail
from central.record_store.senders import Call
from central.record_store.service import Place, RecordStore
from gateway import limits
from gateway.shipping import ChainHeadAnswer, ShipAnswer

_GZIP: Final = 16 + zlib.MAX_WBITS
_NAME_BYTES_MAX: Final = 128


@post("/v1/certificates", status_code=201, request_max_body_size=limits.ENROL_BYTES_MAX)
async def keep_certificate(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> CertificateAnswer:
    """Make a key certificate known: the body is its DSSE envelope. Safe to repeat."""
    return await record_store.keep_certificate(await request.body())


@post("/v1/records", status_code=200, request_max_body_size=limits.SHIP_BYTES_MAX)
async def keep_records(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> ShipAnswer:
    """Take in DSSE lines of one instance in seq order, gzip or plain. Safe to repeat."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    return await record_store.keep_records(await _call(request), encoding)


@post("/v1/chain-heads", status_code=200, request_max_body_size=limits.ENROL_BYTES_MAX)
async def keep_chain_head(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> ChainHeadAnswer:
    """Say where a chain stands: the body is the DSSE envelope of a ``chain-head``. The answer says
    what this store has acknowledged and lacks."""
    return await record_store.keep_chain_head(await _call(request))


@get("/v1/records")
async def page(request: web.HttpRequest, record_store: NamedDependency[RecordStore]) -> Page:
    """A page of records. Filters: person, agent, model, provider, operation, outcome, reason,
    level, category, tool, tool_server, route, policy_version, policy_digest, kind, instance, of,
    decided_from, decided_to; and order (newest, oldest), limit, cursor, region, tenant."""
    place, wanted = await _asked(request, record_store, "records")
    return await record_store.page(place, wanted)


@get("/v1/records/{name:str}")
async def detail(
    request: web.HttpRequest, name: FromPath[str], record_store: NamedDependency[RecordStore]
) -> RecordDetail:
    """One record by id or record hash: its exact bytes, signature, certificate and leaf."""
    place, _ = await _asked(request, record_store, f"records/{web.segment(name)[:_NAME_BYTES_MAX]}")
    return await record_store.detail(place, web.segment(name))


@get("/v1/records/{name:str}/proof")
async def proof(
    request: web.HttpRequest, name: FromPath[str], record_store: NamedDependency[RecordStore]
) -> Response[bytes]:
    """The proof that one record is in its log: a text file (C2SP tlog-proof)."""
    wanted = web.segment(name)
    place, _ = await _asked(request, record_store, f"proof/{wanted[:_NAME_BYTES_MAX]}")
    text = await record_store.proof(place, wanted)
    return web.answer(text.encode(), media_type="text/plain; charset=utf-8")


@get("/v1/instances")
async def instances(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> list[InstanceItem]:
    """Every instance: state, head, gaps, last seen."""
    place, _ = await _asked(request, record_store, "instances")
    return await record_store.instances(place)


@get("/v1/exports")
async def exports(
    request: web.HttpRequest, record_store: NamedDependency[RecordStore]
) -> Response[bytes] | Stream:
    """NDJSON for an offline verifier: roots, certificates, then records in leaf order. Takes the
    filters of ``/v1/records``; gzip where ``Accept-Encoding`` names it."""
    place, wanted = await _asked(request, record_store, "exports")
    if wanted.cursor is not None:
        raise Refused("bad_filter", "an export is not paged")
    log = await record_store.log(place)
    lines = _export(record_store, log, wanted)
    headers = {"Gatepost-Version": web.VERSION, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        lines = _gzipped(lines)
    return Stream(lines, media_type=web.NDJSON, headers=headers)


async def _export(store: RecordStore, log: Log | None, wanted: Query) -> AsyncIterator[bytes]:
    yield await store.export_head(log)
    after: int | None = -1
    while log is not None and after is not None:
        found = await store.export_page(log, wanted, after)
        yield found.lines
        after = found.after


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


async def _asked(request: web.HttpRequest, store: RecordStore, what: str) -> tuple[Place, Query]:
    """Who may see what is asked; the look is written down before anything is shown."""
    authorization = request.headers.get("authorization")
    parameters = list(request.query_params.multi_items())
    tenant = next((value for name, value in parameters if name == "tenant"), None)
    wanted = read_query((name, value) for name, value in parameters if name != "tenant")
    place = store.auditor(authorization, tenant, wanted.region)
    noted = msgspec.json.encode(parameters).decode()
    await store.note_look(authorization, place, what, noted)
    return place, wanted


HANDLERS: Final[list[HTTPRouteHandler]] = [
    keep_certificate,
    keep_records,
    keep_chain_head,
    page,
    detail,
    proof,
    instances,
    exports,
]
