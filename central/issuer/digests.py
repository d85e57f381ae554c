"""Digests of a text or body under the digest keys of instances, and the end of those keys.

Records hold keyed digests only. Who has a prompt, and may see records, finds it by asking here for
its digest under each candidate's key.

Owns: the request and answer shapes, the work's bounds, reading keys and destroying them. Refuses:
who may ask (``service.py``), searching records (the record store does), and giving a key away.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from central.errors import Refused
from gateway import limits, seal
from gateway.timestamp import time_micros, time_text

Instances = Annotated[
    list[Annotated[str, Meta(max_length=64)]],
    Meta(min_length=1, max_length=limits.DIGEST_INSTANCES_MAX),
]

_DESTROYED: Final = b""


class DigestRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/digests``: either ``text`` (its UTF-8 is digested, as of ``digest.input``)
    or ``body_base64`` (exact bytes, as of ``digest.request``)."""

    tenant: str
    region: str
    instances: Instances
    text: str | None = None
    body_base64: str | None = None


class InstanceDigest(msgspec.Struct, frozen=True):
    """``digest``: ``hmac-sha256:<hex>``, as it would stand in a record of ``instance``."""

    instance: str
    digest: str


class WithoutKey(msgspec.Struct, frozen=True):
    """``reason``: ``destroyed``, or ``unknown``: never enrolled here for this place."""

    instance: str
    reason: str


class DigestAnswer(msgspec.Struct, frozen=True):
    """In the order of the request. What stands in ``without`` cannot be searched by content."""

    digests: list[InstanceDigest]
    without: list[WithoutKey]


class DestroyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/digest-keys/destroy``: ``instances``, or all whose last certificate ended
    before ``ended_before``, a time that is not to come: so no instance that runs loses its key."""

    tenant: str
    region: str
    instances: Instances | None = None
    ended_before: str | None = None


class DestroyAnswer(msgspec.Struct, frozen=True):
    """``destroyed``: how many keys were there and are no more."""

    destroyed: int


def content_of(request: DigestRequest) -> bytes:
    """The bytes to digest. Raises Refused (``malformed_request``, ``body_too_large``)."""
    if (request.text is None) == (request.body_base64 is None):
        raise Refused("malformed_request", "name either text or body_base64")
    if request.text is not None:
        content = request.text.encode()
    else:
        try:
            content = base64.b64decode(request.body_base64 or "", validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused("malformed_request", "body_base64 is not base64") from error
    if len(content) * len(request.instances) > limits.DIGEST_WORK_BYTES_MAX:
        raise Refused("body_too_large", "name fewer instances for a content of this size")
    return content


def wrapped_keys(connection: sqlite3.Connection, request: DigestRequest) -> dict[str, bytes]:
    """Instance → its wrapped key, empty for one that was destroyed; of this place only."""
    marks = ",".join("?" * len(request.instances))
    rows = connection.execute(
        "SELECT instance, digest_key FROM instance"  # noqa: S608 - question marks only
        f" WHERE tenant = ? AND region = ? AND instance IN ({marks})",
        (request.tenant, request.region, *request.instances),
    )
    return dict(rows.fetchall())


def digests(
    request: DigestRequest, content: bytes, wrapped: dict[str, bytes], wrap_key: bytes
) -> DigestAnswer:
    """The digests of ``content`` under each key that there is."""
    found: list[InstanceDigest] = []
    without: list[WithoutKey] = []
    for instance in dict.fromkeys(request.instances):
        sealed = wrapped.get(instance)
        if sealed:
            key = seal.unwrap(sealed, wrap_key)
            found.append(InstanceDigest(instance, seal.keyed_digest(key, content)))
        else:
            reason = "unknown" if sealed is None else "destroyed"
            without.append(WithoutKey(instance, reason))
    return DigestAnswer(digests=found, without=without)


def destroy(connection: sqlite3.Connection, request: DestroyRequest, now_us: int) -> DestroyAnswer:
    """Overwrite the keys that ``request`` names. Raises Refused (``malformed_request``)."""
    if (request.instances is None) == (request.ended_before is None):
        raise Refused("malformed_request", "name either instances or ended_before")
    values: list[str | int]
    if request.instances is not None:
        which = f"instance IN ({','.join('?' * len(request.instances))})"
        values = [*request.instances]
    else:
        which = (
            "(SELECT max(not_after_us) FROM certificate c WHERE c.instance = instance.instance) < ?"
        )
        values = [_past(request.ended_before or "", now_us)]
    # What is overwritten must not stay in the pages of the file; builds of SQLite differ in this.
    connection.execute("PRAGMA secure_delete=ON")
    done = connection.execute(
        "UPDATE instance SET digest_key = ?, digest_key_destroyed_us = ?"  # noqa: S608 - as above
        " WHERE tenant = ? AND region = ? AND digest_key_destroyed_us IS NULL AND " + which,
        (_DESTROYED, now_us, request.tenant, request.region, *values),
    )
    return DestroyAnswer(destroyed=done.rowcount)


def _past(text: str, now_us: int) -> int:
    try:
        time_us = time_micros(text)
    except ValueError as error:
        raise Refused("malformed_request", f"ended_before: {error}") from error
    if time_us > now_us:
        raise Refused(
            "malformed_request",
            f"ended_before is to come and would end keys in use; it is {time_text(now_us)} here",
        )
    return time_us
