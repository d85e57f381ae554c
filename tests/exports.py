"""Exports made by hand, line by line: what the tests of the verifier change and sign again."""

from __future__ import annotations

import base64
import hashlib

import msgspec

from gateway import checkpoint, documents, envelope_line, issuing, log_line, merkle, record, seal
from gateway.checkpoint import Checkpoint
from gateway.documents import Attestation, KeyCert
from gateway.errors import DocumentInvalid
from gateway.log_line import LEAVES_MAX, Leaves, LogLine
from gateway.logproof import Entry, LeafType
from gateway.note import NoteSignature
from gateway.timestamp import time_micros, time_text
from tests import specimens

NOW_US = time_micros(specimens.T0)
DAY_US = 86_400_000_000
ROOT_KEY = seal.Signer(b"r" * 32)
NEXT_ROOT_KEY = seal.Signer(b"R" * 32)
ISSUER = seal.Signer(b"i" * 32)
OTHER = seal.Signer(b"o" * 32)
LOG_KEY, REVOCATION_KEY, BUNDLE_KEY = (
    seal.Signer(name.encode().ljust(32)) for name in ("log", "revocation", "bundle")
)
ORIGIN = "store.example/log/acme/eu-west-1/1"
RECEIVED_US = NOW_US + 2_000_000
"""When everything arrives at the store, unless a test says otherwise."""


def root(version: int = 1, custody: str = "offline", *signers: seal.Signer) -> issuing.Issued:
    holders = {
        "root": [ROOT_KEY] if version == 1 else [NEXT_ROOT_KEY],
        "issuer": [ISSUER],
        "policy_head": [BUNDLE_KEY],
        "log": [LOG_KEY],
        "revocation": [REVOCATION_KEY],
        "bundle": [BUNDLE_KEY],
    }
    return issuing.build_root(
        version=version,
        epoch=1,
        custody=custody,
        issued_us=NOW_US,
        expires_us=NOW_US + 365 * DAY_US,
        scopes=["acme"],
        keys={
            key.kid: base64.b64encode(key.public).decode()
            for held in holders.values()
            for key in held
        },
        roles={name: issuing.role(held) for name, held in holders.items()},
        signers=list(signers) or [ROOT_KEY],
    )


PIN = root().digest


class Writer:
    """An instance that writes records, and the export line of its certificate."""

    def __init__(self, number: int = 1, *, tenant: str = "acme") -> None:
        self.instance = base64.b32encode(bytes([number]) * 16).decode().rstrip("=").lower()
        self.signer = seal.Signer(bytes([number]) * 32)
        self.tenant = tenant
        self.sealer = seal.Sealer(self.signer, self.instance)
        self._drawn = number * 1_000

    def certificate(
        self,
        signer: seal.Signer | None = None,
        issuer: seal.Signer = ISSUER,
        /,
        **changes: object,
    ) -> bytes:
        holder = signer or self.signer
        certificate = KeyCert(
            serial=holder.kid[8:40],
            kid=holder.kid,
            pub=base64.b64encode(holder.public).decode(),
            instance=self.instance,
            tenant=self.tenant,
            region="eu-west-1",
            topology="sidecar",
            issued=specimens.T0,
            not_before=specimens.T0,
            not_after=time_text(NOW_US + DAY_US),
            attestation=Attestation("host_key", None, "node-1", None, 0),
            issuer_kid=issuer.kid,
        )
        certificate = msgspec.structs.replace(certificate, **changes)
        return documents.encode(issuer.sign_document(documents.KEY_CERT, certificate)) + b"\n"

    def write(self, draft: record.Record, **changes: object) -> seal.Sealed:
        self._drawn += 1
        ours = {
            "tenant": self.tenant,
            "id": f"019a0c6e-9d00-7abc-8def-{self._drawn:012x}",
            "chain": record.UNCHAINED,
        }
        return self.sealer.seal(msgspec.structs.replace(draft, **{**ours, **changes}))

    def start(self) -> seal.Sealed:
        pub = base64.b64encode(self.signer.public).decode()
        return self.write(specimens.START, pub=pub, certificate=None)

    def call(self) -> list[seal.Sealed]:
        decision = self.write(specimens.DECISION)
        return [decision, self.write(specimens.COMPLETION, of=decision.id)]

    def whole(self, calls: int = 1) -> list[seal.Sealed]:
        records = [self.start()]
        for _ in range(calls):
            records += self.call()
        return [*records, self.write(specimens.SEAL)]


def line(sealed: seal.Sealed) -> bytes:
    return sealed.envelope_line() + b"\n"


def export(writer: Writer, records: list[seal.Sealed]) -> list[bytes]:
    """Documents and records, and nothing of a log."""
    return [root().envelope + b"\n", writer.certificate(), *map(line, records)]


def logged(lines: list[bytes]) -> list[bytes]:
    """``lines`` as a complete export of a store that logged just these, whatever they say."""
    entries = [entry for entry in map(entry_of, lines) if entry is not None]
    return [*lines, *log_lines(entries)]


def log_lines(entries: list[Entry], *more: NoteSignature, origin: str = ORIGIN) -> list[bytes]:
    """The leaves, at most a bundle, and the checkpoint over them with ``more`` signatures."""
    assert len(entries) <= LEAVES_MAX
    text = base64.b64encode(b"".join(entry.encode() for entry in entries)).decode()
    stretch = [log_line.write(LogLine(leaves=Leaves(0, text)))] if entries else []
    return [*stretch, checkpoint_line(entries, *more, origin=origin)]


def checkpoint_of(entries: list[Entry], origin: str = ORIGIN) -> Checkpoint:
    frontier = merkle.Frontier()
    for entry in entries:
        frontier.append(entry.leaf_hash())
    return Checkpoint(origin, frontier.size, frontier.root())


def checkpoint_line(
    entries: list[Entry],
    *more: NoteSignature,
    origin: str = ORIGIN,
    signer: seal.Signer = LOG_KEY,
) -> bytes:
    signed = checkpoint.write(checkpoint_of(entries, origin), [signer])
    whole = msgspec.structs.replace(signed, signatures=[*signed.signatures, *more])
    return log_line.write(LogLine(checkpoint=whole.encode()))


def entry_of(data: bytes, received_us: int = RECEIVED_US) -> Entry | None:
    """The leaf of a record or a certificate; None for roots and for what cannot be read."""
    try:
        if envelope_line.is_record(data):
            parts = envelope_line.read_record(data)
            framed, signature = seal.record_pae(parts.payload), parts.signature
            kind = LeafType.RECORD
        else:
            envelope, payload = envelope_line.read_envelope(data)
            kind = {
                documents.KEY_CERT: LeafType.KEY_CERT,
                documents.REVOCATION: LeafType.REVOCATION,
                documents.LOG_STATEMENT: LeafType.LOG_STATEMENT,
            }[envelope.payload_type]
            framed = seal.pae(envelope.payload_type, payload)
            signature = seal.unbase64(envelope.signatures[0].sig, "unreadable")
    except (DocumentInvalid, KeyError):
        return None
    return Entry(kind, received_us, hashlib.sha256(framed + signature).digest())


def sound() -> list[bytes]:
    """A complete export in which everything is proved: root, certificate, four records, leaves,
    checkpoint."""
    writer = Writer()
    return logged(export(writer, writer.whole()))
