"""What an export proves of its records by the log: each line held against a leaf.

Two forms. A *complete* export gives every entry of the log in order; the tree is rebuilt from
them, and each record, document and set-aside line must be the leaf that stands at its place. Other
exports give, behind each stretch of neighbouring records, the proof that leads from their hashes
to a root. Both must lead to the checkpoint in the last line, or nothing is included.

Owns: the inclusion verdict, and what the log knows of each record (index, time of arrival).
Refuses: whose key signed the checkpoint (``evidence.py`` opens it), and what was seen of the log
earlier (``seen_audit.py``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from gateway import logproof, merkle, seal
from gateway.checkpoint import Checkpoint
from gateway.documents import Envelope, LogSeen
from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.log_history import LogHistory
from gateway.log_line import LEAVES_MAX, Evidence, Leaves, Range
from gateway.logproof import Entry, LeafType
from gateway.verdicts import Tallies

_WAITING_MAX: Final = 1_024
"""Records that wait for the line about them; the longest stretch that a store writes is half."""
_NO_PROOF: Final = "nothing in the export says where in the log the record stands"
_RECORD: Final = bytes([LeafType.RECORD])
_envelopes: Final = msgspec.json.Decoder(Envelope)


class Mark(msgspec.Struct, frozen=True, gc=False):
    """What the other checks want to know of a record whose place in the log is found.

    ``time_us``: its own time, None for kinds without one; ``log_seen``: what it says that its
    writer had seen. Records that failed a check before have no mark.
    """

    line: int
    instance: str
    seq: int
    kid: str
    time_us: int | None
    log_seen: LogSeen | None


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A line that its leaf is not known of yet. ``digest``: None if it cannot be read at all."""

    line: int
    digest: bytes | None
    mark: Mark | None


class Place(msgspec.Struct, frozen=True, gc=False):
    """A record's leaf: ``index`` from 0, ``received_us`` by the store's clock."""

    index: int
    received_us: int


Placed = Callable[[Mark, Place], None]


class LogAudit:
    """``documents``: (leaf type, hash) → line, filled before the first record comes.

    ``placed`` is told of every record whose leaf is found; whether the leaves are those of the
    checkpoint shows in ``finish`` only.
    """

    def __init__(
        self, documents: dict[tuple[int, bytes], int], placed: Placed, tallies: Tallies
    ) -> None:
        self._documents = documents
        self._placed = placed
        self._tallies = tallies
        self._records: deque[Waiting] = deque()
        self._unproved = array("q")
        self._evidence: dict[int, tuple[int, Entry]] = {}
        self._found: set[tuple[int, bytes]] = set()
        self._counted = 0
        self._roots: dict[tuple[int, bytes], int] = {}
        self._range_end = 0
        self.history: LogHistory | None = None
        """The tree, of a complete export."""
        self.begun = False
        """Whether anything of the log stood in the export yet."""

    def record(self, waiting: Waiting) -> None:
        """The next record line."""
        self._records.append(waiting)
        if len(self._records) > _WAITING_MAX:
            self._unproved.append(self._records.popleft().line)

    def evidence(self, found: Evidence, line: int) -> bytes:
        """The bytes that a line of evidence holds. Raises DocumentInvalid."""
        self.begun = True
        if self.history is None and self._roots:
            raise DocumentInvalid("unreadable", "evidence stands in complete exports only")
        data = _canonical(found.line, "the line of evidence")
        entry = Entry(LeafType.EVIDENCE, found.received_us, evidence_hash(data))
        self._evidence[found.index] = (line, entry)
        if len(self._evidence) > LEAVES_MAX:
            raise DocumentInvalid("unreadable", "more evidence than leaves")
        return data

    # -- complete exports ---------------------------------------------------------------------

    def leaves(self, found: Leaves, line: int) -> None:
        """All entries of the next stretch. Raises DocumentInvalid for what is none."""
        if self._roots:
            raise DocumentInvalid("unreadable", "leaves and ranges in one export")
        self.begun = True
        history = self.history = self.history or LogHistory()
        data = _canonical(found.entries, "entries")
        count, over = divmod(len(data), logproof.ENTRY_BYTES)
        if over or not 0 < count <= LEAVES_MAX:
            raise DocumentInvalid("unreadable", f"a line has 1 to {LEAVES_MAX} entries")
        entries = [
            data[at : at + logproof.ENTRY_BYTES] for at in range(0, len(data), logproof.ENTRY_BYTES)
        ]
        if found.first_index != history.size:
            cause = f"leaf {history.size} should follow, and leaf {found.first_index} does"
            self._tallies.false("inclusion", cause, line)
        first = history.size
        others = [
            (first + at, logproof.decode_entry(entry))
            for at, entry in enumerate(entries)
            if entry[:1] != _RECORD
        ]
        times = [int.from_bytes(entry[1:9], "big") for entry in entries]
        history.extend([merkle.leaf_hash(entry) for entry in entries], times)
        self._match_records(first, entries, times, line)
        for index, other in others:
            self._match_other(index, other, line)
        for at, _ in self._evidence.values():
            self._tallies.false("inclusion", "the log holds no such evidence there", at)
        self._evidence.clear()

    def _match_records(self, first: int, entries: list[bytes], times: list[int], line: int) -> None:
        """Pair the waiting records with the record leaves of ``entries``, in order."""
        waiting, self._records = list(self._records), deque()
        leaves = [(first + at, one) for at, one in enumerate(entries) if one[:1] == _RECORD]
        if [one.digest for one in waiting] == [entry[9:] for _, entry in leaves]:
            for one, (index, _) in zip(waiting, leaves, strict=True):
                self._place(one, Place(index, times[index - first]))
            return
        self._match_some(waiting, leaves, line)

    def _match_some(
        self, waiting: list[Waiting], leaves: list[tuple[int, bytes]], line: int
    ) -> None:
        """The same where something does not fit: say which line, which leaf."""
        by_digest = {entry[9:]: (index, entry) for index, entry in leaves}
        strangers, last = 0, -1
        for one in waiting:
            found = None if one.digest is None else by_digest.pop(one.digest, None)
            if found is None:
                strangers += 1
                self._tallies.false("inclusion", "the log holds no such record there", one.line)
                continue
            index, entry = found
            if index < last:
                cause = f"the record is leaf {index}, and leaf {last} stands before it"
                self._tallies.false("inclusion", cause, one.line)
            last = max(last, index)
            self._place(one, Place(index, int.from_bytes(entry[1:9], "big")))
        # A leaf without its record is explained by a record without its leaf: that was the change.
        for index, _ in list(by_digest.values())[strangers:]:
            self._tallies.incomplete("inclusion", f"the record of leaf {index} is not here", line)

    def _match_other(self, index: int, entry: Entry, line: int) -> None:
        if entry.type == LeafType.EVIDENCE:
            at, held = self._evidence.pop(index, (None, None))
            if held is None:
                cause = f"the evidence of leaf {index} is not here"
                self._tallies.incomplete("inclusion", cause, line)
            elif held != entry:
                self._tallies.false("inclusion", f"leaf {index} is other evidence", at)
            else:
                self._counted += 1
            return
        key = (entry.type, entry.digest)
        if key in self._documents:
            self._found.add(key)
            self._counted += 1
            return
        kind = LeafType(entry.type).name.lower().replace("_", "-")
        cause = f"the {kind} of leaf {index} is not among the documents of the export"
        self._tallies.incomplete("inclusion", cause, line)

    # -- other exports ------------------------------------------------------------------------

    def range(self, found: Range, line: int) -> None:
        """The proof for the records just before. Raises DocumentInvalid for what is none."""
        if self.history is not None:
            raise DocumentInvalid("unreadable", "leaves and ranges in one export")
        self.begun = True
        waiting, self._records = list(self._records), deque()
        times = list(_times(found, len(waiting)))
        if len(times) != len(waiting):
            cause = f"{sum(one.count for one in found.arrived)} records are proved here, and"
            self._tallies.false("inclusion", f"{cause} {len(waiting)} stand before it", line)
            return
        if found.first_index < self._range_end:
            cause = f"leaf {found.first_index} comes after leaf {self._range_end - 1}"
            self._tallies.false("inclusion", cause, line)
        self._range_end = max(self._range_end, found.first_index + len(waiting))
        leaves = [
            Entry(LeafType.RECORD, at, one.digest or b"").leaf_hash()
            for one, at in zip(waiting, times, strict=True)
        ]
        proof = [_canonical(one, "the proof") for one in found.proof]
        try:
            root = merkle.root_of_range(leaves, found.first_index, found.size, proof)
        except DocumentInvalid as error:
            self._tallies.false("inclusion", str(error), line)
            return
        self._roots.setdefault((found.size, root), line)
        for offset, (one, at) in enumerate(zip(waiting, times, strict=True)):
            self._place(one, Place(found.first_index + offset, at))

    # -- the end ------------------------------------------------------------------------------

    def finish(self, checkpoint: Checkpoint | None) -> bool:
        """Hold everything against ``checkpoint`` (None: there is none that counts). Returns
        whether every leaf that was placed is under it."""
        if self.begun or checkpoint is not None:
            for line in (*self._unproved, *(one.line for one in self._records)):
                self._tallies.incomplete("inclusion", _NO_PROOF, line)
        if checkpoint is None:
            return False
        proved = self._rebuilt(checkpoint) if self.history else self._led_to(checkpoint)
        if proved:
            self._tallies.count("inclusion", self._counted)
        return proved

    def _rebuilt(self, checkpoint: Checkpoint) -> bool:
        assert self.history is not None
        for key, line in self._documents.items():
            if key not in self._found:
                self._tallies.false("inclusion", "the log does not hold this document", line)
        size = self.history.size
        if size != checkpoint.size:
            cause = f"the leaves here are {size}, those of the checkpoint {checkpoint.size}"
            self._tallies.false("inclusion", cause, None)
            return False
        if self.history.root(size) != checkpoint.root:
            cause = "the leaves add up to another root than the checkpoint's"
            self._tallies.false("inclusion", cause, None)
            return False
        return True

    def _led_to(self, checkpoint: Checkpoint) -> bool:
        wrong = [
            line
            for (size, root), line in self._roots.items()
            if (size, root) != (checkpoint.size, checkpoint.root)
        ]
        for line in wrong:
            cause = "the proof leads to another root than the checkpoint's"
            self._tallies.false("inclusion", cause, line)
        return not wrong

    def _place(self, one: Waiting, place: Place) -> None:
        self._counted += 1
        if one.mark is not None:
            self._placed(one.mark, place)


def evidence_hash(line: bytes) -> bytes:
    """What the leaf of a line that a store set aside commits to: the record hash, where the line is
    an envelope with one signature, else the SHA-256 of the line."""
    try:
        envelope = _envelopes.decode(line)
        payload = seal.unbase64(envelope.payload, "unreadable")
        (entry,) = envelope.signatures
        signature = seal.unbase64(entry.sig, "unreadable")
    except (*UNREADABLE, DocumentInvalid, ValueError):
        return hashlib.sha256(line).digest()
    return hashlib.sha256(seal.record_pae(payload) + signature).digest()


def _times(found: Range, most: int) -> Iterator[int]:
    """When each record of ``found`` arrived; no more than ``most`` and one."""
    left = most + 1
    for one in found.arrived:
        if one.count < 1 or one.received_us < 0:
            raise DocumentInvalid("unreadable", "a count below 1, or a time before 1970")
        yield from [one.received_us] * min(one.count, left)
        left -= min(one.count, left)


def _canonical(text: str, what: str) -> bytes:
    """The bytes of base64 in its one form. Raises DocumentInvalid."""
    try:
        data = binascii.a2b_base64(text.encode())
    except (binascii.Error, UnicodeEncodeError) as error:
        raise DocumentInvalid("inexact", f"{what}: not base64: {error}") from error
    if base64.b64encode(data).decode() != text:
        raise DocumentInvalid("inexact", f"{what}: base64 that encodes back differently")
    return data
