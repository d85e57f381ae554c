"""Which daemon a request comes from: ``Gatepost-Signed`` against the certificates.

Owns: the order of the checks and their codes. Refuses: knowing what the request is for.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from central.errors import Refused
from central.record_store.certificates import Sender, find_sender
from gateway import signed_request
from gateway.documents import SignedRequest
from gateway.errors import DocumentInvalid

_WINDOW_SLACK_US: Final = 300 * 1_000_000
"""Between the issuer's clock and ours: both are servers, five minutes are ample."""


class Call(msgspec.Struct, frozen=True):
    """One HTTP call as it came. ``path``: percent-encoded, with its query; ``body``: as sent."""

    method: str
    path: str
    body: bytes
    signed: str | None


class Authenticated(msgspec.Struct, frozen=True):
    """A call whose header was verified with ``sender``'s certified key."""

    sender: Sender
    request: SignedRequest


def authenticate(
    connection: sqlite3.Connection, call: Call, audience: str, now_us: int
) -> Authenticated:
    """The sender of ``call``.

    Raises Refused: ``request_unsigned``, ``request_signature``, ``certificate_unknown`` (post it
    and repeat), ``key_revoked``, ``certificate_expired``, ``not_entitled`` (the instance is not the
    key's).
    """
    if call.signed is None:
        raise Refused("request_unsigned")
    try:
        claimed, sealed = signed_request.read_header(call.signed)
    except DocumentInvalid as error:
        raise Refused("request_signature", str(error)) from error
    sender = find_sender(connection, claimed.sender.kid, now_us)
    if sender is None:
        raise Refused("certificate_unknown")
    try:
        signed_request.check_request(
            claimed,
            sealed,
            sender.public,
            audience=audience,
            method=call.method,
            path=call.path,
            body=call.body,
            now_us=now_us,
        )
    except DocumentInvalid as error:
        raise Refused("request_signature", str(error)) from error
    if sender.revoked:
        raise Refused("key_revoked", "restart the daemon: it draws a new key, and ships the rest")
    if claimed.sender.instance != sender.instance:
        raise Refused("not_entitled", "the certificate is for another instance")
    if not (
        sender.not_before_us - _WINDOW_SLACK_US <= now_us < sender.not_after_us + _WINDOW_SLACK_US
    ):
        raise Refused("certificate_expired")
    return Authenticated(sender, claimed)
