"""A shipped batch, from bytes to verified records, before any database is asked.

Owns: bounded decompression, the split into lines, and for each line what it is: a verified
record, or evidence with the cause why not. Refuses: the chain (``chain.py``) and storage; one
bad line never hides its neighbours.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Final

import msgspec

from central.errors import Refused
from central.record_store.index_row import EMPTY, IndexRow, index_row
from central.record_store.keyring import Keyring
from gateway import documents, limits, record, seal
from gateway.documents import Envelope
from gateway.errors import DocumentInvalid
from gateway.record import Heartbeat, Leading, Recovered, Rotate, Start

_GZIP: Final = 16 + zlib.MAX_WBITS
_INTEGER_MAX: Final = limits.JSON_INTEGER_MAX
_UNPLACED: Final = -1
_envelopes: Final = msgspec.json.Decoder(Envelope)


class Item(msgspec.Struct, kw_only=True):
    """One line. ``fault``: why it is no record of this chain, or None.

    ``hash``: the 32-byte record hash; of a line that holds no payload and signature, the SHA-256
    of the line. ``seq``: as signed, or the place in the batch where the line does not say.
    """

    line: bytes
    seq: int
    hash: bytes
    fault: str | None = None
    leading: Leading | None = None
    payload: bytes = b""
    signature: bytes = b""
    row: IndexRow = EMPTY
    sealed: bool = False
    retires: bool = False
    recovers: Recovered | None = None


def decompress(body: bytes, encoding: str) -> bytes:
    """The batch as sent, at most ``SHIP_BYTES_MAX`` bytes. ``encoding``: of Content-Encoding.

    Raises Refused (``content_encoding_unsupported``, ``malformed_request``, ``body_too_large``).
    """
    if encoding in ("", "identity"):
        if len(body) > limits.SHIP_BYTES_MAX:
            raise Refused("body_too_large", f"a batch has at most {limits.SHIP_BYTES_MAX} bytes")
        return body
    if encoding != "gzip":
        raise Refused("content_encoding_unsupported")
    inflater = zlib.decompressobj(_GZIP)
    try:
        data = inflater.decompress(body, limits.SHIP_BYTES_MAX + 1)
    except zlib.error as error:
        raise Refused("malformed_request", f"the gzip stream cannot be read: {error}") from error
    if len(data) > limits.SHIP_BYTES_MAX:
        raise Refused(
            "body_too_large", f"a batch has at most {limits.SHIP_BYTES_MAX} bytes decompressed"
        )
    if not inflater.eof or inflater.unused_data:
        raise Refused("malformed_request", "the gzip stream is cut, or something follows it")
    return data


def split(data: bytes) -> list[bytes]:
    """The lines of a batch. Raises Refused (``body_too_large``, ``malformed_request``)."""
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if len(lines) > limits.SHIP_RECORDS_MAX:
        raise Refused("body_too_large", f"a batch has at most {limits.SHIP_RECORDS_MAX} records")
    if not lines:
        raise Refused("malformed_request", "the batch is empty")
    return lines


def read_batch(
    lines: list[bytes], keyring: Keyring, tenant: str, region: str, first_seq: int | None
) -> list[Item]:
    """Every line as an ``Item``, in order. ``first_seq``: of the first line, if it is known.

    Keys that the batch itself brings (a start's, a rotation's) count from their line on. A line
    that does not say its seq gets the one between its neighbours.
    """
    items: list[Item] = []
    expected = _UNPLACED if first_seq is None else first_seq
    for line in lines:
        item = _read_line(line, keyring, tenant, region, expected)
        items.append(item)
        expected = _UNPLACED if item.seq == _UNPLACED else item.seq + 1
    following = len(items)
    for item in reversed(items):
        if item.seq == _UNPLACED:
            item.seq = max(0, following - 1)
        following = item.seq
    return items


def _read_line(line: bytes, keyring: Keyring, tenant: str, region: str, expected: int) -> Item:
    try:
        envelope = _envelopes.decode(line)
        payload = seal.unbase64(envelope.payload, "unreadable")
        (entry,) = envelope.signatures
        signature = seal.unbase64(entry.sig, "unreadable")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DocumentInvalid, ValueError):
        return Item(
            line=line,
            seq=expected,
            hash=hashlib.sha256(line).digest(),
            fault="the line is not a DSSE envelope with one signature",
        )
    framed = seal.record_pae(payload)
    item = Item(
        line=line,
        seq=expected,
        hash=hashlib.sha256(framed + signature).digest(),
        payload=payload,
        signature=signature,
    )
    if envelope.payload_type != documents.RECORD:
        item.fault = "the payload type is not that of a record"
        return item
    item.fault = _check(item, entry.keyid, framed, keyring, tenant, region)
    return item


def _check(
    item: Item, keyid: str, framed: bytes, keyring: Keyring, tenant: str, region: str
) -> str | None:
    """The fault of ``item``, or None. Fills in what was read."""
    try:
        # The first members are read before the signature is checked, because they name the key;
        # nothing else is.
        leading = record.decode_leading(item.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "the first members of the record cannot be read"
    if not (0 <= leading.chain.seq <= _INTEGER_MAX and 0 <= leading.v <= _INTEGER_MAX):
        return "the version or the seq is out of range"
    kid = leading.chain.kid
    if keyid != kid:
        return "the envelope names another key than the record"
    if leading.chain.instance != keyring.instance:
        return "the record is of another instance than the request"
    known = keyring.public(kid)
    public = known or _declared_key(item, leading)
    if public is None:
        return "no certificate and no start is known for the record's key"
    if not seal.verify(framed, item.signature, public):
        return "the signature is not valid"
    # Only what is signed may say which place in the chain the answer is about.
    item.seq = leading.chain.seq
    if known is None:
        keyring.declare(kid, public)
    if (leading.tenant, leading.region) != (tenant, region):
        return "the record is of another tenant or region than the sender"
    fault = _decode(item, leading, keyring)
    if fault is None and not keyring.entitled(leading):
        return "no certificate covers this key for this instance"
    item.leading = leading
    return fault


def _declared_key(item: Item, leading: Leading) -> bytes | None:
    """The key that a start declares for itself, if it is the one that its chain names."""
    if leading.v != record.VERSION or leading.kind != "start":
        return None
    try:
        started = record.decode(item.payload)
        public = seal.public_key(started.pub) if isinstance(started, Start) else b""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DocumentInvalid):
        return None
    return public if seal.key_id(public) == leading.chain.kid else None


def _decode(item: Item, leading: Leading, keyring: Keyring) -> str | None:
    """Read a record of a known version and kind; others are kept as they are, unindexed."""
    if leading.v != record.VERSION or leading.kind not in record.KINDS:
        return None
    if len(item.payload) > limits.RECORD_BYTES_MAX:
        return f"the record is over {limits.RECORD_BYTES_MAX} bytes"
    try:
        decoded = record.decode(item.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "the payload is not the exact form of its kind"
    if isinstance(decoded, Start | Heartbeat):
        keyring.bring(decoded.certificate)
    elif isinstance(decoded, Rotate):
        keyring.bring(decoded.next_certificate)
        item.retires = True
    elif isinstance(decoded, record.Seal):
        item.sealed = True
    elif isinstance(decoded, Recovered):
        item.recovers = decoded
    if not keyring.may_write(leading.chain.kid, decoded):
        return "the key is certified for another topology than writes such a record"
    item.row = index_row(decoded)
    return None
