"""Where a call came from, as its headers say: W3C trace context and a gateway in front of us.

Owns: the trace id that a record keeps, and ``X-Gatepost-Parent``, the signed link to the decision
of a gateway in front: checking the one that came, making the one for a gateway behind us. Refuses:
following a link that does not verify under our root; it is recorded as ``claimed:`` and counts
for nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final

import msgspec

from gateway import documents, limits, record, seal
from gateway.call import Head
from gateway.documents import Envelope, KeyCert, ParentLink
from gateway.errors import DocumentInvalid, TurnAway
from gateway.ports import Receipt
from gateway.seal import Signer
from gateway.timestamp import time_micros, time_text

PARENT_HEADER: Final = "x-gatepost-parent"
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_RECORD_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RECORD_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_CLAIM_CHARACTERS_MAX: Final = 40


class ParentHeader(documents.Document, frozen=True):
    """The header's value, base64url of this JSON: the link and the certificate of its signer."""

    link: Envelope
    certificate: Envelope


def trace_of(head: Head) -> str | None:
    """The ``traceparent`` (W3C Trace Context level 1), or None where it is absent or malformed."""
    value = head.headers.get("traceparent")
    return value if value is not None and _TRACEPARENT.fullmatch(value) else None


def parent_header(
    receipt: Receipt,
    body: bytes,
    hops: int,
    *,
    instance: str,
    signer: Signer,
    certificate: Envelope,
    wall_us: int,
) -> str:
    """The value of ``X-Gatepost-Parent`` on a request with ``body``: what led to it is ``receipt``.

    ``hops``: how many gateways the call has passed, this one included. ``certificate``: of
    ``signer``'s key for ``instance``, in its window at ``wall_us``.
    """
    link = ParentLink(
        id=receipt.id,
        instance=instance,
        seq=receipt.seq,
        record_hash=receipt.hash,
        request_sha256=seal.sha256_text(body),
        time=time_text(wall_us),
        hops=hops,
    )
    header = ParentHeader(
        link=signer.sign_document(documents.PARENT, link), certificate=certificate
    )
    return base64.urlsafe_b64encode(msgspec.json.encode(header)).decode().rstrip("=")


def hops_from(parent: record.Parent | str | None) -> int:
    """The hops of a link that we make for a call with this ``parent``: a claim counts for none."""
    return parent.hops + 1 if isinstance(parent, record.Parent) else 1


class Lineage:
    """Checks parent links against the issuer keys of the trusted root."""

    def __init__(self, issuer_keys: Callable[[], dict[str, bytes]]) -> None:
        self._issuer_keys = issuer_keys

    def parent_of(self, head: Head, body: bytes) -> record.Parent | str | None:
        """The verified parent, ``claimed:…`` for one that does not verify, None without one.

        A link holds for one body only: ``request_sha256`` must be that of ``body``. Raises
        TurnAway (``malformed_request``) for a verified link of too many hops: a loop.
        """
        value = head.headers.get(PARENT_HEADER)
        if value is None:
            return None
        try:
            link = self._verified(value, body)
        except DocumentInvalid:
            return "claimed:" + re.sub(r"[^A-Za-z0-9_-]", "", value)[:_CLAIM_CHARACTERS_MAX]
        if link.hops > limits.PARENT_HOPS_MAX:
            raise TurnAway("malformed_request", "the call went through too many gateways")
        return record.Parent(**{name: getattr(link, name) for name in link.__struct_fields__})

    def _verified(self, value: str, body: bytes) -> ParentLink:
        try:
            data = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            header = msgspec.json.decode(data, type=ParentHeader)
        except (binascii.Error, ValueError, RecursionError) as error:
            raise DocumentInvalid("unreadable", f"{PARENT_HEADER}: {error}") from error
        certificate = seal.open_certificate(header.certificate, self._issuer_keys())
        payload = seal.open_envelope(
            header.link, documents.PARENT, {certificate.kid: seal.public_key(certificate.pub)}
        )
        link = documents.decode_exact(payload, ParentLink)
        if link.instance != certificate.instance:
            raise DocumentInvalid("instance", "the link names another instance than its signer")
        if link.request_sha256 != seal.sha256_text(body):
            raise DocumentInvalid("request", "the link was made for another request")
        _check_form(link)
        _check_window(link, certificate)
        return link


def _check_form(link: ParentLink) -> None:
    """What is copied into a record must have the form of a record's own, and so its length."""
    if _RECORD_ID.fullmatch(link.id) is None or _RECORD_HASH.fullmatch(link.record_hash) is None:
        raise DocumentInvalid("unreadable", "the link's id or record hash has no such form")
    if link.seq < 0 or link.hops < 1:
        raise DocumentInvalid("unreadable", "the link's seq or hops is not possible")


def _check_window(link: ParentLink, certificate: KeyCert) -> None:
    """A key that is out of its window proves nothing: it may have been found since."""
    try:
        made_us = time_micros(link.time)
    except ValueError as error:
        raise DocumentInvalid("unreadable", f"the link's time: {error}") from error
    if not time_micros(certificate.not_before) <= made_us < time_micros(certificate.not_after):
        raise DocumentInvalid("window", "the link was made outside its certificate's window")
