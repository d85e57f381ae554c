"""What a dead instance left, judged: which damage may have been an answered record?

A crash can only tear the batch whose sync had not returned, and that batch was not answered.
So damage is *proved* to have been durable, and may have been answered, when anything was written
after it that is only written after a sync: a frame of a later batch, an end frame, or another
segment. Damage in the last batch with nothing after it is *ambiguous*: a torn write that nobody
was answered for, or rot in a batch that was. It cannot be told here, and is said so.

Every readable record is kept and shipped, whatever stands around it; a hole is evidence.

Owns: this judgement, from scanned segments in order. Refuses: I/O, signatures (the store checks
them; 40 µs each would make starts slow), and repairing anything.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway import limits, record
from gateway.documents import Envelope
from gateway.errors import UNREADABLE
from gateway.record import DamagedRange, Heartbeat, Quarantined, Rotate, Start
from spool.scan import Scan, SegmentEnd, StoredRecord, Stretch

NOTES: Final = frozenset(
    {
        "chain",
        "damaged",
        "foreign",
        "foreign_segment",
        "header",
        "hole",
        "missing_segment",
        "repeat",
        "torn_or_rot",
        "unknown_record",
    }
)
"""The words of ``Findings.notes``; what each means stands in docs/spool.md."""

_PROVED_BY_LATER_SEGMENT: Final = 2**64


class Damage(msgspec.Struct, frozen=True):
    """Bytes of one segment to be quarantined before the segment goes.

    ``rule``: ``torn_or_rot`` (ambiguous) | ``damaged`` | ``repeat`` | ``foreign`` | ``header``.
    """

    base_seq: int
    offset: int
    length: int
    rule: str


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one dead instance.

    ``first_seq`` … ``records`` describe the readable records (older ones may have been shipped
    and deleted). ``cut_bytes``: bytes of the ambiguous last batch that cannot be read.
    ``damaged``: holes in the seqs. ``chain_breaks``: seqs whose ``prev`` is not the hash of the
    record before. ``notes``: stable words for what was met. ``sealed``: orderly end.
    """

    instance: str
    first_seq: int | None
    last_seq: int | None
    last_hash: str | None
    last_id: str | None
    records: int
    cut_bytes: int
    ambiguous: bool
    damaged: list[DamagedRange]
    quarantined: list[Quarantined]
    chain_breaks: list[int]
    notes: list[str]
    sealed: bool
    tenant: str | None
    region: str | None
    public_key: str | None
    certificates: list[Envelope]

    @property
    def clean(self) -> bool:
        """A sealed chain without damage: there is nothing to record about it."""
        return self.sealed and self.whole

    @property
    def whole(self) -> bool:
        """No damage, wherever the chain ends."""
        return not (self.ambiguous or self.damaged or self.quarantined or self.chain_breaks)


def split_findings(findings: Findings) -> list[Findings]:
    """Parts that each fit one ``recovered`` record; the other members are the same in all."""
    parts: list[Findings] = []
    damaged, quarantined = findings.damaged, findings.quarantined
    while damaged or quarantined or not parts:
        parts.append(
            msgspec.structs.replace(
                findings,
                damaged=damaged[: limits.DAMAGED_RANGES_MAX],
                quarantined=quarantined[: limits.QUARANTINED_MAX],
            )
        )
        damaged = damaged[limits.DAMAGED_RANGES_MAX :]
        quarantined = quarantined[limits.QUARANTINED_MAX :]
    return parts


def with_rot(findings: Findings, seq: int | None, kept: Quarantined) -> Findings:
    """``findings`` and what rotted since: the record ``seq``, if it is known which one it was."""
    lost = [] if seq is None else [DamagedRange(first_seq=seq, last_seq=seq)]
    return msgspec.structs.replace(
        findings,
        damaged=findings.damaged + lost,
        quarantined=[*findings.quarantined, kept],
        notes=sorted({*findings.notes, "damaged"}),
    )


def joined(before: Findings, now: Findings) -> Findings:
    """What an earlier start found, of segments that may be gone by now, and what is there now.

    ``records`` counts only those that are there.
    """
    newest = now if (now.last_seq or -1) >= (before.last_seq or -1) else before
    files = {one.file for one in before.quarantined}
    return msgspec.structs.replace(
        now,
        first_seq=before.first_seq if before.first_seq is not None else now.first_seq,
        last_seq=newest.last_seq,
        last_hash=newest.last_hash,
        last_id=newest.last_id,
        cut_bytes=max(before.cut_bytes, now.cut_bytes),
        ambiguous=before.ambiguous or now.ambiguous,
        damaged=before.damaged + [one for one in now.damaged if one not in before.damaged],
        quarantined=before.quarantined + [one for one in now.quarantined if one.file not in files],
        chain_breaks=sorted({*before.chain_breaks, *now.chain_breaks}),
        notes=sorted({*before.notes, *now.notes}),
        sealed=before.sealed or now.sealed,
        tenant=before.tenant or now.tenant,
        region=before.region or now.region,
        public_key=before.public_key or now.public_key,
        certificates=before.certificates
        + [one for one in now.certificates if one not in before.certificates],
    )


class Examiner:
    """Feed it the segments of one directory in order, then take ``findings``."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._first: StoredRecord | None = None
        self._last: StoredRecord | None = None
        self._last_hash: str | None = None
        self._records = 0
        self._next: int | None = None
        self._cut_bytes = 0
        self._ambiguous = False
        self._damaged: list[DamagedRange] = []
        self._breaks: list[int] = []
        self._notes: set[str] = set()
        self._public_key: str | None = None
        self._certificates: list[Envelope] = []

    def segment(self, base_seq: int, scan: Scan, *, last: bool) -> list[Damage]:
        """Take in the next segment; returns what of it must be quarantined."""
        self._expect(base_seq, "missing_segment")
        proofs = _proofs(scan, last=last)
        found = []
        for piece, proof in zip(scan.pieces, proofs, strict=True):
            if isinstance(piece, SegmentEnd):
                self._expect(piece.next_seq, "hole")
            elif isinstance(piece, StoredRecord):
                if self._next is not None and piece.seq < self._next:
                    length = piece.end - piece.offset
                    found.append(self._damage(base_seq, piece.offset, length, "repeat"))
                else:
                    self._record(piece, proof)
            else:
                found.append(self._stretch(base_seq, piece, proof))
        return found

    @property
    def last_seq(self) -> int:
        """The newest readable seq so far, or -1."""
        return -1 if self._last is None else self._last.seq

    def note(self, word: str) -> None:
        """Something met outside the segments' frames."""
        self._notes.add(word)

    def findings(self, quarantined: list[Quarantined]) -> Findings:
        """The whole of it, after the last segment."""
        first, last = self._first, self._last
        return Findings(
            instance=self._instance,
            first_seq=None if first is None else first.seq,
            last_seq=None if last is None else last.seq,
            last_hash=self._last_hash,
            last_id=None if last is None else last.leading.id,
            records=self._records,
            cut_bytes=self._cut_bytes,
            ambiguous=self._ambiguous,
            damaged=self._damaged,
            quarantined=quarantined,
            chain_breaks=self._breaks,
            notes=sorted(self._notes),
            sealed=last is not None and last.leading.kind == "seal",
            tenant=None if first is None else first.leading.tenant,
            region=None if first is None else first.leading.region,
            public_key=self._public_key,
            certificates=self._certificates,
        )

    def _expect(self, seq: int, word: str) -> None:
        """The next record should be ``seq``: what is missing before it is a hole."""
        if self._next is not None and seq > self._next:
            self._damaged.append(DamagedRange(first_seq=self._next, last_seq=seq - 1))
            self._notes.add(word)
        self._next = seq if self._next is None else max(seq, self._next)

    def _record(self, stored: StoredRecord, proof: int) -> None:
        last = self._last
        if self._next is not None and stored.seq > self._next:
            # The batches known to be synced end below ``proof``; the hole may reach beyond.
            self._ambiguous |= stored.seq - 1 >= max(proof, stored.batch_first)
        self._expect(stored.seq, "hole")
        follows = last is not None and last.seq + 1 == stored.seq
        if follows and stored.leading.chain.prev != self._last_hash:
            self._breaks.append(stored.seq)
            self._notes.add("chain")
        self._first = self._first or stored
        self._last = stored
        self._last_hash = stored.record_hash()
        self._records += 1
        self._next = stored.seq + 1
        self._certify(stored)

    def _certify(self, stored: StoredRecord) -> None:
        """Keep the key and the certificates that the chain itself carries."""
        if stored.leading.kind not in ("start", "heartbeat", "rotate"):
            return
        try:
            found = record.decode(stored.payload)
        except UNREADABLE:
            self._notes.add("unknown_record")
            return
        certificate: Envelope | None = None
        if isinstance(found, Start):
            self._public_key = found.pub
            certificate = found.certificate
        elif isinstance(found, Heartbeat):
            certificate = found.certificate
        elif isinstance(found, Rotate):
            certificate = found.next_certificate
        if certificate is not None:
            self._certificates.append(certificate)

    def _stretch(self, base_seq: int, stretch: Stretch, proof: int) -> Damage:
        if stretch.what in ("foreign", "after_end"):
            return self._damage(base_seq, stretch.offset, stretch.length, "foreign")
        seq = stretch.seq if stretch.seq is not None else (self._next or 0)
        if proof > seq:
            return self._damage(base_seq, stretch.offset, stretch.length, "damaged")
        self._ambiguous = True
        self._cut_bytes += stretch.length
        return self._damage(base_seq, stretch.offset, stretch.length, "torn_or_rot")

    def _damage(self, base_seq: int, offset: int, length: int, rule: str) -> Damage:
        self._notes.add(rule)
        return Damage(base_seq=base_seq, offset=offset, length=length, rule=rule)


def _proofs(scan: Scan, *, last: bool) -> list[int]:
    """For each piece, the largest ``batch_first`` after it: every lower seq had been synced."""
    if not last:
        return [_PROVED_BY_LATER_SEGMENT] * len(scan.pieces)
    batches = list(scan.batches)
    proof = 0
    proofs = []
    for piece in reversed(scan.pieces):
        while batches and batches[-1][0] > piece.offset:
            proof = max(proof, batches.pop()[1])
        proofs.append(proof)
    return proofs[::-1]
