"""The witness's paths: C2SP tlog-witness, and what contradicted what was cosigned.

Owns: methods, paths, media types and statuses. Refuses: everything else. Nobody is asked who they
are: a checkpoint carries its log's signature, and what is handed out holds hashes only.
"""

from __future__ import annotations

from typing import Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from central import web
from central.witness.service import Contradiction, Witness
from gateway import witness as protocol
from gateway.witness import NotCosigned

_TEXT: Final = "text/plain; charset=utf-8"


@post(protocol.PATH, status_code=200, request_max_body_size=protocol.REQUEST_BYTES_MAX)
async def add_checkpoint(
    request: web.HttpRequest, witness: NamedDependency[Witness]
) -> Response[bytes]:
    """Cosign a checkpoint that follows from the last: the body is ``old <size>``, a consistency
    proof, an empty line and the note."""
    try:
        line = await witness.cosign(await request.body())
    except NotCosigned as refused:
        return _refusal(refused)
    return web.answer(line.encode(), media_type=_TEXT)


@get("/contradictions")
async def contradictions(witness: NamedDependency[Witness]) -> list[Contradiction]:
    """What the watched logs signed that does not follow from what was cosigned."""
    return await witness.contradictions()


def _refusal(refused: NotCosigned) -> Response[bytes]:
    if refused.size is not None:
        body, media_type = f"{refused.size}\n", protocol.SIZE_TYPE
    else:
        body, media_type = f"{refused.detail}\n", _TEXT
    return web.answer(body.encode(), media_type=media_type, status=refused.status)


HANDLERS: Final[list[HTTPRouteHandler]] = [add_checkpoint, contradictions]
