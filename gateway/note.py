"""Signed notes (C2SP signed-note): a text, and signature lines under it.

    text, ending in a newline
    (empty line)
    — <key name> <base64: 4 bytes key id ‖ signature>

Owns: this form both ways, and the two kinds of keys that sign our checkpoints: Ed25519 (``0x01``)
and timestamped witness cosignatures (``0x04``, C2SP tlog-cosignature). Refuses: what a text means
(``checkpoint.py``), and trust: keys are given, and what nobody was given is passed over.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway import seal
from gateway.errors import DocumentInvalid

NOTE_BYTES_MAX: Final = 16 * 1024
"""A checkpoint and its cosignatures; most are below 1 KiB."""
SIGNATURES_MAX: Final = 48
"""A log and the witnesses that a policy may name (``witness_policy.py``); specified are 16."""

_KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_ED25519: Final = 0x01
_COSIGNATURE: Final = 0x04
_NAME: Final = re.compile(r"[^\s+]{1,255}")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_VERIFIER_KEY: Final = re.compile(r"([^\s+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")


class NoteSignature(msgspec.Struct, frozen=True):
    """One line: ``key_id`` is 4 bytes; ``blob`` is what follows them."""

    name: str
    key_id: bytes
    blob: bytes

    def line(self) -> str:
        """The line as it stands in a note, newline included."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"


class Note(msgspec.Struct, frozen=True):
    """``text`` ends in a newline. Nothing says yet that a signature is valid."""

    text: str
    signatures: list[NoteSignature]

    def encode(self) -> str:
        """The whole note."""
        return self.text + "\n" + "".join(one.line() for one in self.signatures)


class NoteKey(msgspec.Struct, frozen=True):
    """A key that may sign notes. ``cosigns``: it is a witness's, and its signatures have times."""

    name: str
    public: bytes
    cosigns: bool = False

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256 over name, newline, type and key."""
        kind = _COSIGNATURE if self.cosigns else _ED25519
        framed = self.name.encode() + b"\n" + bytes([kind]) + self.public
        return hashlib.sha256(framed).digest()[:_KEY_ID_BYTES]

    def verifier_key(self) -> str:
        """The one-line form that people exchange: ``name+hex id+base64(type ‖ key)``."""
        kind = _COSIGNATURE if self.cosigns else _ED25519
        key = base64.b64encode(bytes([kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"


class Cosigned(msgspec.Struct, frozen=True):
    """A valid cosignature. ``time``: seconds since 1970, by the witness's clock."""

    key: NoteKey
    time: int

    @property
    def name(self) -> str:
        return self.key.name


def is_key_name(text: str) -> bool:
    """Whether a key may have this name."""
    return _NAME.fullmatch(text) is not None


def parse(data: bytes | str) -> Note:
    """The note in ``data``. Raises DocumentInvalid (``note``)."""
    try:
        whole = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as error:
        raise DocumentInvalid("note", f"not UTF-8: {error}") from error
    if len(whole) > NOTE_BYTES_MAX or _CONTROL.search(whole):
        raise DocumentInvalid("note", f"over {NOTE_BYTES_MAX} characters, or control characters")
    text, separator, lines = whole.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise DocumentInvalid("note", "no empty line and signatures at the end")
    signatures = [_signature(line) for line in lines[:-1].split("\n")]
    if len(signatures) > SIGNATURES_MAX:
        raise DocumentInvalid("note", f"more than {SIGNATURES_MAX} signatures")
    return Note(text + "\n", signatures)


def parse_signatures(lines: str) -> list[NoteSignature]:
    """Bare signature lines, as a witness answers them. Raises DocumentInvalid (``note``)."""
    if not lines.endswith("\n") or len(lines) > NOTE_BYTES_MAX:
        raise DocumentInvalid("note", "not lines of signatures")
    found = [_signature(line) for line in lines[:-1].split("\n")]
    if len(found) > SIGNATURES_MAX:
        raise DocumentInvalid("note", f"more than {SIGNATURES_MAX} signatures")
    return found


def _signature(line: str) -> NoteSignature:
    dash, _, rest = line.partition(" ")
    name, _, text = rest.partition(" ")
    if dash != "—" or _NAME.fullmatch(name) is None:
        raise DocumentInvalid("note", "a signature line is not '— name signature'")
    blob = seal.unbase64(text, "note")
    if len(blob) <= _KEY_ID_BYTES or base64.b64encode(blob).decode() != text:
        raise DocumentInvalid("note", f"the signature of {name} is not base64 in its one form")
    return NoteSignature(name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:])


def parse_key(text: str) -> NoteKey:
    """A verifier key in its one-line form. Raises DocumentInvalid (``key``)."""
    found = _VERIFIER_KEY.fullmatch(text.strip())
    if found is None:
        raise DocumentInvalid("key", "a verifier key is name+8 hex digits+base64")
    raw = seal.unbase64(found[3], "key")
    if raw[:1] not in (bytes([_ED25519]), bytes([_COSIGNATURE])):
        raise DocumentInvalid("key", "the key is neither Ed25519 nor an Ed25519 cosigner's")
    public = seal.public_key(base64.b64encode(raw[1:]).decode())
    key = NoteKey(found[1], public, raw[0] == _COSIGNATURE)
    if key.key_id.hex() != found[2]:
        raise DocumentInvalid("key", f"the key's id is {key.key_id.hex()}, not {found[2]}")
    return key


def sign(text: str, name: str, signer: seal.Signer) -> NoteSignature:
    """The Ed25519 signature of ``signer``, as ``name``, over ``text``."""
    key = NoteKey(name, signer.public)
    return NoteSignature(name, key.key_id, signer.sign(text.encode()))


def cosign(text: str, name: str, signer: seal.Signer, time: int) -> NoteSignature:
    """A witness's signature over ``text`` at ``time``, seconds since 1970."""
    key = NoteKey(name, signer.public, cosigns=True)
    signature = signer.sign(_cosigned_bytes(text, time))
    return NoteSignature(name, key.key_id, time.to_bytes(_TIME_BYTES, "big") + signature)


def signers(note: Note, keys: Iterable[NoteKey]) -> list[NoteKey]:
    """Those of ``keys`` (none of them a witness's) that signed ``note``, each once.

    Raises DocumentInvalid (``signature``) for a line that names a known key and is not by it.
    """
    found: list[NoteKey] = []
    for key, line in _known(note.signatures, keys):
        if not seal.verify(note.text.encode(), line.blob, key.public):
            raise DocumentInvalid("signature", f"the signature of {key.name} is not valid")
        if key not in found:
            found.append(key)
    return found


def cosigned(note: Note, witnesses: Sequence[NoteKey]) -> list[Cosigned]:
    """The valid cosignatures by the keys of ``witnesses``, the latest of each.

    Raises DocumentInvalid (``signature``) as ``signers`` does.
    """
    latest: dict[NoteKey, Cosigned] = {}
    for key, line in _known(note.signatures, witnesses):
        time = int.from_bytes(line.blob[:_TIME_BYTES], "big")
        signed = _cosigned_bytes(note.text, time)
        if not seal.verify(signed, line.blob[_TIME_BYTES:], key.public):
            raise DocumentInvalid("signature", f"the cosignature of {key.name} is not valid")
        if key not in latest or latest[key].time < time:
            latest[key] = Cosigned(key, time)
    return list(latest.values())


def _known(
    signatures: Iterable[NoteSignature], keys: Iterable[NoteKey]
) -> list[tuple[NoteKey, NoteSignature]]:
    by_id = {(key.name, key.key_id): key for key in keys}
    named = ((by_id.get((line.name, line.key_id)), line) for line in signatures)
    return [(key, line) for key, line in named if key is not None]


def _cosigned_bytes(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
