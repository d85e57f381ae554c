"""``POST /v1/revocations``: one path for whichever of issuer and record store run here.

Owns: checking a revocation once and handing it to both. Refuses: signing one; like a certificate it
is its own credential, and whoever has it may bring it.
"""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler

from central import web
from central.config import CentralConfig
from central.described import ENVELOPE, JSON, TEXT, described
from central.errors import Refused
from central.issuer.service import Issuer
from central.keys import RootFiles
from central.record_store.revocations import RevokedLeaf
from central.record_store.service import RecordStore
from gateway import limits, revoking
from gateway.errors import DocumentInvalid
from gateway.revoking import Opened

_PLACE: Final = {"tenant": TEXT, "region": TEXT}


class RevocationAnswer(msgspec.Struct, frozen=True):
    """``leaves``: where it stands in the logs, empty where no record store runs.
    ``certified_no_more``: an issuer runs here, and refuses the key."""

    kid: str
    serial: str | None
    untrusted_from: str
    certified_no_more: bool
    leaves: list[RevokedLeaf]


def open_revocation(data: bytes, root_files: RootFiles) -> Opened:
    """The revocation in ``data`` by the newest root. Raises Refused (``document_invalid``)."""
    try:
        return revoking.open_revocation(data, root_files.chain, root_files.role("revocation"))
    except DocumentInvalid as error:
        raise Refused("document_invalid", str(error)) from error


def handler(
    config: CentralConfig,
    root_files: RootFiles,
    issuer: Issuer | None,
    record_store: RecordStore | None,
) -> HTTPRouteHandler:
    """The handler of the path."""

    @post(
        "/v1/revocations",
        status_code=201,
        request_max_body_size=limits.ENROL_BYTES_MAX,
        operation_class=described(
            "bad_filter",
            "wrong_tenant",
            "document_invalid",
            "key_unknown",
            query=_PLACE,
            body=(JSON, ENVELOPE),
        ),
    )
    async def keep_revocation(request: web.HttpRequest) -> RevocationAnswer:
        """Take a key or a certificate back: the body is the DSSE envelope of a ``revocation``.

        Every log that knows the key gets it as a leaf; ``tenant`` and ``region`` name one that
        does not know it yet. Safe to repeat.
        """
        opened = open_revocation(await request.body(), root_files)
        place = _place(dict(request.query_params.multi_items()), config)
        leaves: list[RevokedLeaf] = []
        # The issuer first: what the store refuses must not be certified anew meanwhile.
        if issuer is not None:
            await issuer.keep_revocation(opened)
        if record_store is not None:
            leaves = await record_store.keep_revocation(opened, place)
        document = opened.document
        return RevocationAnswer(
            kid=document.kid,
            serial=document.serial,
            untrusted_from=document.untrusted_from,
            certified_no_more=issuer is not None and document.serial is None,
            leaves=leaves,
        )

    return keep_revocation


def _place(given: dict[str, str], config: CentralConfig) -> tuple[str, str] | None:
    """The log that is named, if one is. Raises Refused (``bad_filter``, ``wrong_tenant``)."""
    if not given:
        return None
    if given.keys() != {"tenant", "region"}:
        raise Refused("bad_filter", "name tenant and region, or neither")
    if not config.has_place(given["tenant"], given["region"]):
        raise Refused("wrong_tenant")
    return given["tenant"], given["region"]
