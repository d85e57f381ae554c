"""Verdicts on one instance's spool: what its bytes prove by themselves.

A record names its key by hash (``chain.kid``), so whoever shows a key that fits shows *the* key:
the chain's own start, rotate and certificates do. That proves integrity: nobody without that key
changed or added a record. It does not prove entitlement, that the key was anybody's to use; for
that a root is needed from outside (``gateway.evidence``).

Owns: the verdicts, one per check and never one over all, fed in order with what a ``Walk``
yields; memory does not grow with the number of records. Refuses: I/O, and entitlement.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway import documents, record, seal
from gateway.documents import Envelope
from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.record import Heartbeat, Rotate, Start
from gateway.verdicts import Tally, Verdict
from spool.examine import Damage
from spool.scan import SegmentEnd, StoredRecord
from spool.walk import SegmentView

MEANINGS: Final = {
    "frames": "every byte is what was written, by its checksums",
    "order": "no seq is missing or twice from the first that is here to the last",
    "form": "every record is the exact form of a known kind",
    "signatures": "every record is signed by the key that it names",
    "chain": "every record names the hash of the one before; keys change by rotate only",
    "tail": "the chain ends in a seal",
}
"""Verdict → what it being true means."""

_RULES: Final = {
    "torn_or_rot": "torn by a crash before anybody was answered, or rot: it cannot be told here",
    "damaged": "durable once, damaged since",
    "foreign": "sound, and not of this place",
    "header": "the header page of the segment is damaged",
    "repeat": "a seq that stands there already",
}
"""Rule of ``examine.Damage`` → what it says."""


class InstanceAudit:
    """Feed it the views of one pass in order, then ask ``verdicts``. ``keys``: kid → public key,
    as ``shown_keys`` finds them; keys that the pass itself shows are added."""

    def __init__(self, keys: dict[str, bytes], *, open_ended: bool) -> None:
        """``open_ended``: a writer may be at work, so the missing seal says nothing."""
        self._keys = dict(keys)
        self._open_ended = open_ended
        self._tallies = {name: Tally() for name in MEANINGS}
        self._next: int | None = None
        self._torn = False
        self._last: StoredRecord | None = None
        self._last_hash: str | None = None
        self._next_kid: str | None = None

    def add(self, view: SegmentView) -> None:
        """Take in the next segment."""
        if view.begins:
            self._next = self._last = self._last_hash = None
        self._expect(view.base_seq)
        for item in view.items:
            if isinstance(item, Damage):
                self._damage(item)
            elif isinstance(item, SegmentEnd):
                self._expect(item.next_seq)
            else:
                self._record(item)

    def verdicts(self) -> list[Verdict]:
        """After the last segment; in the order of ``MEANINGS``."""
        last = self._last
        if last is not None and not self._open_ended:
            self._tallies["tail"].counted = 1
            if last.leading.kind != "seal":
                self._incomplete("tail", f"it ends without a seal after seq {last.seq}")
        return [tally.verdict(name) for name, tally in self._tallies.items()]

    def _damage(self, damage: Damage) -> None:
        where = f"segment {damage.base_seq} offset {damage.offset} length {damage.length}"
        cause = f"{where}: {damage.rule} ({_RULES[damage.rule]})"
        self._tallies["frames"].counted += 1
        if damage.rule == "torn_or_rot":
            self._torn = True
            self._incomplete("frames", cause)
        else:
            self._false("order" if damage.rule == "repeat" else "frames", cause)

    def _expect(self, seq: int) -> None:
        """The next record should be ``seq``."""
        if self._next is not None and seq > self._next:
            cause = f"seq {self._next} to {seq - 1} are missing"
            # A hole over a torn group is what the crash left, or rot: as little can be told.
            (self._incomplete if self._torn else self._false)("order", cause)
        self._next = seq if self._next is None else max(seq, self._next)

    def _record(self, stored: StoredRecord) -> None:
        self._expect(stored.seq)
        self._next, self._torn = stored.seq + 1, False
        for name in ("frames", "order", "form", "signatures"):
            self._tallies[name].counted += 1
        body = self._decoded(stored)
        if body is not None:
            self._keys |= _keys_of(body)
        framed = seal.record_pae(stored.payload)
        public = self._keys.get(stored.leading.chain.kid)
        if public is None:
            self._incomplete("signatures", f"seq {stored.seq}: its key is shown nowhere here")
        elif not seal.verify(framed, stored.signature, public):
            self._false("signatures", f"seq {stored.seq}: the signature is not its key's")
        self._link(stored)
        self._last = stored
        self._last_hash = seal.record_hash(framed, stored.signature)
        self._next_kid = body.next_kid if isinstance(body, Rotate) else None

    def _decoded(self, stored: StoredRecord) -> record.Record | None:
        try:
            return record.decode(stored.payload)
        except UNREADABLE as error:
            leading = stored.leading
            if leading.v == record.VERSION and leading.kind in record.KINDS:
                self._false("form", f"seq {stored.seq}: {error}")
            else:
                cause = f"seq {stored.seq}: version {leading.v} kind {leading.kind!r} is not known"
                self._incomplete("form", cause)
        return None

    def _link(self, stored: StoredRecord) -> None:
        chain, last = stored.leading.chain, self._last
        if stored.seq == 0:
            self._tallies["chain"].counted += 1
            if chain.prev != "sha256:" + chain.kid.removeprefix("ed25519:"):
                self._false("chain", "seq 0: prev is not the hash of its key")
        if last is None or last.seq + 1 != stored.seq:
            return
        self._tallies["chain"].counted += 1
        before = last.leading
        if chain.prev != self._last_hash:
            self._false("chain", f"seq {stored.seq}: prev is not the hash of seq {last.seq}")
        if chain.kid not in (before.chain.kid, self._next_kid):
            self._false("chain", f"seq {stored.seq}: another key, without a rotate")
        if before.kind == "rotate" and chain.kid != self._next_kid:
            self._false("chain", f"seq {stored.seq}: by a key that seq {last.seq} retired")
        if (before.tenant, before.region) != (stored.leading.tenant, stored.leading.region):
            self._false("chain", f"seq {stored.seq}: another tenant or region")
        if before.kind == "seal":
            self._false("chain", f"seq {stored.seq}: it comes after the seal")

    def _false(self, name: str, cause: str) -> None:
        self._tallies[name].false += 1
        self._tallies[name].note(None, cause)

    def _incomplete(self, name: str, cause: str) -> None:
        self._tallies[name].incomplete += 1
        self._tallies[name].note(None, cause)


def shown_keys(public_key: str | None, certificates: Iterable[Envelope]) -> dict[str, bytes]:
    """Public keys by their id, as a chain's start and certificates show them, the usable ones.

    Nobody's word is taken for a key: its id is its hash, and the records name the id.
    """
    shown = [public_key, *map(_certified_key, certificates)]
    found = {}
    for text in shown:
        if text is None:
            continue
        try:
            public = seal.public_key(text)
        except DocumentInvalid:
            continue
        found[seal.key_id(public)] = public
    return found


def _keys_of(body: record.Record) -> dict[str, bytes]:
    if isinstance(body, Start):
        return shown_keys(body.pub, [] if body.certificate is None else [body.certificate])
    certificate = None
    if isinstance(body, Heartbeat):
        certificate = body.certificate
    elif isinstance(body, Rotate):
        certificate = body.next_certificate
    return {} if certificate is None else shown_keys(None, [certificate])


def _certified_key(envelope: Envelope) -> str | None:
    try:
        payload = seal.unbase64(envelope.payload, "unreadable")
        return documents.decode_exact(payload, documents.KeyCert).pub
    except DocumentInvalid:
        return None
