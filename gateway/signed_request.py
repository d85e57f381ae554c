"""``Gatepost-Signed``: the header that makes a daemon's key certificate its credential.

Owns: writing the header for one call and reading it back against the call that came. Refuses:
knowing keys (the reader hands in a look-up) and sending anything.

The header is base64url without padding of the DSSE JSON of a ``SignedRequest``: it binds the
audience, the method, the path as sent (with its query), the body as sent and the time.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from gateway import documents, limits, seal
from gateway.documents import Envelope, LogSeen, RequestOf, RequestSender, SignedRequest
from gateway.errors import DocumentInvalid
from gateway.timestamp import time_micros, time_text

HEADER: Final = "gatepost-signed"
VERSION_HEADER: Final = "gatepost-version"
AUDIENCE: Final = "gatepost-central"
"""The default audience of the central services; both sides may configure another."""

_HEADER_BYTES_MAX: Final = 8 * 1024
"""A signed request is about 900 bytes; base64 twice over makes it 1.5 KiB."""


def sign_request(
    signer: seal.Signer,
    instance: str,
    *,
    audience: str,
    method: str,
    path: str,
    body: bytes,
    now_us: int,
    of: RequestOf | None = None,
    log_seen: LogSeen | None = None,
) -> str:
    """The header's value for one call by ``instance``.

    ``path``: as it goes on the wire, percent-encoded, with ``?query`` if there is one; ``body``:
    as sent, so after compression; ``now_us``: wall clock.
    """
    request = SignedRequest(
        audience=audience,
        method=method,
        path=path,
        content=seal.sha256_text(body),
        time=time_text(now_us),
        sender=RequestSender(instance=instance, kid=signer.kid),
        of=of,
        log_seen=log_seen,
    )
    sealed = signer.sign_document(documents.REQUEST, request)
    return base64.urlsafe_b64encode(documents.encode(sealed)).rstrip(b"=").decode()


def read_header(value: str) -> tuple[SignedRequest, Envelope]:
    """What the header *claims*, to learn which key to ask for; nothing is verified yet.

    Raises DocumentInvalid (``unreadable``, ``inexact``).
    """
    if len(value) > _HEADER_BYTES_MAX:
        raise DocumentInvalid("unreadable", f"the header is over {_HEADER_BYTES_MAX} bytes")
    try:
        data = base64.b64decode(
            value.encode("ascii") + b"=" * (-len(value) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, UnicodeEncodeError) as error:
        raise DocumentInvalid("unreadable", f"the header is not base64url: {error}") from error
    sealed = seal.parse_envelope(data)
    payload = seal.unbase64(sealed.payload, "unreadable")
    return documents.decode_exact(payload, SignedRequest), sealed


def check_request(
    claimed: SignedRequest,
    sealed: Envelope,
    public: bytes,
    *,
    audience: str,
    method: str,
    path: str,
    body: bytes,
    now_us: int,
) -> None:
    """Hold ``claimed`` against the call that came. ``public``: the key of ``claimed.sender.kid``.

    Raises DocumentInvalid whose reason names the member: ``signature``, ``audience``, ``method``,
    ``path``, ``content``, ``time``. The time is held to a day only: a daemon with a bad clock
    must still deliver (its records are graded), and a repeated request changes nothing, because
    records are deduplicated.
    """
    seal.open_envelope(sealed, documents.REQUEST, {claimed.sender.kid: public})
    if claimed.audience != audience:
        raise DocumentInvalid("audience", f"signed for {claimed.audience!r}, this is {audience!r}")
    if claimed.method != method:
        raise DocumentInvalid("method", f"signed for {claimed.method!r}, came as {method!r}")
    if claimed.path != path:
        raise DocumentInvalid("path", f"signed for {claimed.path!r}, came as {path!r}")
    if claimed.content != seal.sha256_text(body):
        raise DocumentInvalid("content", "the body is not the one that was signed")
    try:
        skew_us = abs(time_micros(claimed.time) - now_us)
    except ValueError as error:
        raise DocumentInvalid("unreadable", str(error)) from error
    if skew_us > limits.REQUEST_SKEW_SECONDS_MAX * 1_000_000:
        raise DocumentInvalid("time", f"signed {skew_us // 1_000_000} s away from this clock")
