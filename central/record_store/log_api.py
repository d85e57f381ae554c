"""The paths of the logs themselves: C2SP tiles for tools and mirrors, proofs for people.

Owns: methods, paths and media types. Refuses: everything else. A log needs a token of its tenant
unless it is made public; another tenant's is not there, whoever asks.
"""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from central import web
from central.described import BYTES, FLAG, TEXT, TEXT_PLAIN, described, number
from central.errors import Refused
from central.record_store.place import Place
from central.record_store.service import RecordStore
from central.record_store.witnesses import Witnessing
from gateway import limits

_TEXT: Final = "text/plain; charset=utf-8"
_OCTETS: Final = "application/octet-stream"
_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_NEVER: Final = {"Cache-Control": "no-store"}
_LOOK: Final = ("bad_filter", "region_required", "not_found")


class Consistency(msgspec.Struct, frozen=True):
    """``hashes``: base64, in the order of RFC 6962 section 2.1.2."""

    old_size: int
    new_size: int
    hashes: list[str]


@get(
    "/log/{tenant:str}/{region:str}/{number:int}/checkpoint",
    operation_class=described(
        *_LOOK, caller="person", noted=False, query={"newest": FLAG}, answer=(TEXT_PLAIN, TEXT)
    ),
)
async def checkpoint(
    request: web.HttpRequest,
    tenant: FromPath[str],
    region: FromPath[str],
    number: FromPath[int],
    record_store: NamedDependency[RecordStore],
) -> Response[bytes]:
    """A checkpoint of a log: a signed note (C2SP tlog-checkpoint). The newest that a quorum of
    witnesses cosigned, where one is configured and was met; with ``newest=1`` the newest of all."""
    place = _place(request, record_store, tenant, region)
    newest = request.query_params.get("newest", "0")
    if newest not in ("0", "1"):
        raise Refused("bad_filter", "newest is 1, or not there")
    text = await record_store.published.checkpoint(place, number, newest=newest == "1")
    return web.answer(text.encode(), media_type=_TEXT, headers=_NEVER)


@get(
    "/log/{tenant:str}/{region:str}/{number:int}/witnesses",
    operation_class=described(*_LOOK, caller="person", noted=False),
)
async def witnesses(
    request: web.HttpRequest,
    tenant: FromPath[str],
    region: FromPath[str],
    number: FromPath[int],
    record_store: NamedDependency[RecordStore],
) -> Witnessing:
    """How far each witness is, and which checkpoint met the quorum."""
    place = _place(request, record_store, tenant, region)
    return await record_store.published.witnessing(place, number)


@get(
    "/log/{tenant:str}/{region:str}/{number:int}/tile/{tile:path}",
    operation_class=described(*_LOOK, caller="person", noted=False, answer=(_OCTETS, BYTES)),
)
async def tile(
    request: web.HttpRequest,
    tenant: FromPath[str],
    region: FromPath[str],
    number: FromPath[int],
    tile: FromPath[str],
    record_store: NamedDependency[RecordStore],
) -> Response[bytes]:
    """A tile of hashes, or a bundle of entries (C2SP tlog-tiles)."""
    place = _place(request, record_store, tenant, region)
    data = await record_store.published.tile(place, number, str(tile).lstrip("/"))
    return web.answer(data, media_type=_OCTETS, headers=_FOREVER)


@get(
    "/log/{tenant:str}/{region:str}/{number:int}/consistency",
    operation_class=described(
        *_LOOK,
        caller="person",
        noted=False,
        query={name: number(limits.JSON_INTEGER_MAX) for name in ("from", "to")},
        required=frozenset({"from", "to"}),
    ),
)
async def consistency(
    request: web.HttpRequest,
    tenant: FromPath[str],
    region: FromPath[str],
    number: FromPath[int],
    record_store: NamedDependency[RecordStore],
) -> Consistency:
    """The proof that the tree of ``to`` leaves begins with that of ``from`` leaves."""
    place = _place(request, record_store, tenant, region)
    old, new = (_size(request, name) for name in ("from", "to"))
    return Consistency(old, new, await record_store.published.consistency(place, number, old, new))


def _size(request: web.HttpRequest, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Refused("bad_filter", f"{name}: the number of leaves is wanted")
    return int(text)


def _place(request: web.HttpRequest, store: RecordStore, tenant: str, region: str) -> Place:
    return store.log_reader(
        request.headers.get("authorization"), web.segment(tenant), web.segment(region)
    )


HANDLERS: Final[list[HTTPRouteHandler]] = [checkpoint, witnesses, tile, consistency]
