"""One line of an export or a shipment: a DSSE envelope in its one exact form.

Owns: reading a line back so strictly that no two lines mean the same: members in order, no
whitespace, canonical base64, one newline at the end. Refuses: keys and meaning.

Record lines are cut by position instead of parsed: all of their form is constant but payload, kid
and signature, and an auditor reads millions of them.
"""

from __future__ import annotations

import binascii
from typing import Final

import msgspec

from gateway import documents, seal
from gateway.documents import Envelope
from gateway.errors import UNREADABLE, DocumentInvalid

_PREFIX: Final = b'{"payloadType":"%b","payload":"' % documents.RECORD.encode()
_AFTER_PAYLOAD: Final = b'","signatures":[{"keyid":"'
_AFTER_KEYID: Final = b'","sig":"'
_END: Final = b'"}]}\n'
_KEYID_CHARS: Final = len("ed25519:") + 64
_SIG_CHARS: Final = 88

# Where the parts stand, counted from the end but for the payload's beginning.
_SIG_END: Final = -len(_END)
_SIG_AT: Final = _SIG_END - _SIG_CHARS
_KEYID_END: Final = _SIG_AT - len(_AFTER_KEYID)
_KEYID_AT: Final = _KEYID_END - _KEYID_CHARS
_PAYLOAD_END: Final = _KEYID_AT - len(_AFTER_PAYLOAD)
_PAYLOAD_AT: Final = len(_PREFIX)
_BYTES_MIN: Final = _PAYLOAD_AT - _PAYLOAD_END

_envelopes: Final = msgspec.json.Decoder(Envelope)
_base64: Final = msgspec.json.Decoder(bytes)
_GROUP_CHARS: Final = 4
_GROUP_BYTES: Final = 3
_ENCODES_DIFFERENTLY: Final = "base64 that encodes back differently"


class RecordLine(msgspec.Struct, frozen=True, gc=False):
    """Raw parts of a record's envelope with one signature."""

    payload: bytes
    kid: str
    signature: bytes


def is_record(line: bytes) -> bool:
    """Whether ``line`` begins as the envelope of a record does."""
    return line.startswith(_PREFIX)


def read_record(line: bytes) -> RecordLine:
    """The parts of a record line. Raises DocumentInvalid (``inexact``)."""
    if (
        not line.endswith(_END)
        or line[_KEYID_END:_SIG_AT] != _AFTER_KEYID
        or line[_PAYLOAD_END:_KEYID_AT] != _AFTER_PAYLOAD
        or len(line) < _BYTES_MIN
    ):
        raise DocumentInvalid("inexact", "not the exact form of a record's envelope")
    payload = _canonical_payload(line[_PAYLOAD_AT:_PAYLOAD_END])
    signature = _canonical(line[_SIG_AT:_SIG_END])
    try:
        kid = line[_KEYID_AT:_KEYID_END].decode("ascii")
    except UnicodeDecodeError as error:
        raise DocumentInvalid("inexact", "the keyid is not ASCII") from error
    return RecordLine(payload, kid, signature)


def read_envelope(line: bytes) -> tuple[Envelope, bytes]:
    """The envelope in ``line``, of any type, and its payload.

    Raises DocumentInvalid (``unreadable``, ``inexact``).
    """
    try:
        envelope = _envelopes.decode(line)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"not a DSSE envelope: {error}") from error
    if documents.encode(envelope) + b"\n" != line:
        raise DocumentInvalid("inexact", "not the exact form of an envelope")
    for entry in envelope.signatures:
        _canonical(entry.sig.encode())
    return envelope, _canonical(envelope.payload.encode())


def write_record(payload: bytes, kid: str, signature: bytes) -> bytes:
    """The line of a record, newline included: what ``read_record`` reads."""
    return documents.encode(seal.envelope(documents.RECORD, payload, [(kid, signature)])) + b"\n"


def _canonical(text: bytes) -> bytes:
    data = _decoded(text)
    # Encoding back is the whole check: escapes, foreign characters, padding, and the unused bits of
    # the last character, which can be set in several ways.
    if binascii.b2a_base64(data, newline=False) != text:
        raise DocumentInvalid("inexact", _ENCODES_DIFFERENTLY)
    return data


def _canonical_payload(text: bytes) -> bytes:
    """``_canonical``, in half the time where the text is long."""
    data = _decoded(text)
    # The decoder takes the alphabet alone and skips nothing. Two things are left that encode back
    # differently: escapes, which are longer, and the last group, whose unused bits are free.
    groups = len(data) // _GROUP_BYTES
    end = binascii.b2a_base64(data[groups * _GROUP_BYTES :], newline=False)
    if len(text) != groups * _GROUP_CHARS + len(end) or not text.endswith(end):
        raise DocumentInvalid("inexact", _ENCODES_DIFFERENTLY)
    return data


def _decoded(text: bytes) -> bytes:
    try:
        # As a JSON string: that decoder is three times as fast as binascii's.
        return _base64.decode(b'"%b"' % text)
    except UNREADABLE as error:
        raise DocumentInvalid("inexact", f"not base64: {error}") from error
