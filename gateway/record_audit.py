"""The records of an export: their exact form, their keys, their signatures and their chains.

Order of the checks on a record: its signature, its exact form, the certificate that entitles its
key (instance, tenant, region, time), then its place in the chain.

Owns: these checks over all chains of an export. Refuses: documents (``head_audit.py``) and the log
(``log_audit.py``).
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from gateway import envelope_line, record, seal
from gateway.chain_audit import ChainAudit, Link
from gateway.envelope_line import RecordLine
from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.head_audit import HeadAudit, Window
from gateway.log_audit import Mark, Waiting
from gateway.signature_check import Checked, OpenedLine
from gateway.timestamp import time_micros
from gateway.verdicts import Tallies

_EXPECTS_COMPLETION: Final = frozenset({"allow", "error_open"})
_GAPS_NAMED: Final = 5
_CONTRADICTIONS_KEPT: Final = 1_000
_OTHER_KEY: Final = "the envelope names another key than the record"


class _Found(msgspec.Struct, frozen=True):
    """What ``by`` said of the end of a chain that it found: the newest seq and its hash."""

    by: str
    last_seq: int | None
    last_hash: str | None
    line: int


class RecordAudit:
    """Takes the record lines of one export in order."""

    def __init__(self, head: HeadAudit, tallies: Tallies) -> None:
        self._head = head
        self._tallies = tallies
        self._entitlement = tallies.of("entitlement")
        self._signatures = tallies.of("signatures")
        self._chain = tallies.of("chain")
        self._declared: dict[str, bytes] = {}
        self._chains: dict[str, ChainAudit] = {}
        self._recovered: dict[str, list[_Found]] = {}
        self._services: set[str] = set()
        """Instances that are certified as central services."""
        self._awaiting: dict[tuple[str, str], int] = {}
        self._completed: set[tuple[str, str]] = set()
        self._contradictions: list[Link] = []
        self._contradicted: list[str] = []
        self.places: dict[str, tuple[str, str]] = {}
        """Instance → its (tenant, region)."""
        self.unknown_kinds = 0
        """Records of kinds or versions that this version does not read."""

    def open(self, line: bytes) -> OpenedLine:
        """A record line taken apart, to be added. Raises DocumentInvalid (``inexact``)."""
        parts = envelope_line.read_record(line)
        windows = self._head.windows.get(parts.kid)
        return OpenedLine(
            parts, seal.record_pae(parts.payload), windows[0].public if windows else None
        )

    def add(self, opened: OpenedLine, line: int, checked: Checked | None = None) -> Waiting:
        """Judge the next record; what the log must hold of it. ``checked``: what was found out
        ahead of its signature."""
        self._entitlement.counted += 1
        self._signatures.counted += 1
        parts, framed = opened.parts, opened.framed
        hashed = hashlib.sha256(framed)
        hashed.update(parts.signature)
        digest = hashed.digest()
        return Waiting(line, digest, self._judge(parts, framed, digest, line, checked))

    def _judge(
        self, parts: RecordLine, framed: bytes, digest: bytes, line: int, checked: Checked | None
    ) -> Mark | None:
        windows = self._head.windows.get(parts.kid)
        public = windows[0].public if windows else self._declared.get(parts.kid)
        if public is None:
            public = _declared_key(parts)
        if public is None:
            self._no_key(parts, line)
            return None
        if checked is not None and checked.public == public:
            valid = checked.valid
        else:
            valid = seal.verify(framed, parts.signature, public)
        if not valid:
            self._tallies.false("signatures", "the record's signature is not valid", line)
            return None
        if not windows:
            self._declared.setdefault(parts.kid, public)
        decoded = self._decode(parts, line)
        if decoded is None:
            return None
        leading, body = decoded
        if leading.chain.kid != parts.kid:
            self._tallies.false("signatures", _OTHER_KEY, line)
            return None
        time_us = None
        try:
            time_us = _time_of(body)
        except ValueError as error:
            self._tallies.false("form", str(error), line)
        self._check_entitled(leading, body, time_us, windows, line)
        self._link(leading, body, digest, line)
        chain = leading.chain
        log_seen = body.log_seen if isinstance(body, record.Heartbeat) else None
        return Mark(line, chain.instance, chain.seq, chain.kid, time_us, log_seen)

    def _no_key(self, parts: RecordLine, line: int) -> None:
        try:
            named = record.decode_leading(parts.payload).chain.kid
        except UNREADABLE:
            self._tallies.false("form", "the first members of the record cannot be read", line)
            return
        if named != parts.kid:
            self._tallies.false("signatures", _OTHER_KEY, line)
            return
        cause = "no certificate and no start holds the record's key"
        self._tallies.incomplete("signatures", cause, line)
        self._tallies.incomplete("entitlement", "the record's key is not certified", line)

    def _decode(
        self, parts: RecordLine, line: int
    ) -> tuple[record.Leading | record.Record, record.Record | None] | None:
        """(first members, the record or None for an unknown kind), or None with a verdict."""
        try:
            body = record.decode(parts.payload)
        except UNREADABLE as error:
            return self._decode_unknown(parts, error, line)
        return body, body

    def _decode_unknown(
        self, parts: RecordLine, error: Exception, line: int
    ) -> tuple[record.Leading, None] | None:
        try:
            leading = record.decode_leading(parts.payload)
        except UNREADABLE:
            self._tallies.false("form", f"the record cannot be read: {error}", line)
            return None
        if leading.v == record.VERSION and leading.kind in record.KINDS:
            self._tallies.false("form", f"the record is not in its exact form: {error}", line)
            return None
        self.unknown_kinds += 1
        return leading, None

    def _check_entitled(
        self,
        leading: record.Leading | record.Record,
        body: record.Record | None,
        time_us: int | None,
        windows: list[Window] | None,
        line: int,
    ) -> None:
        if not windows:
            self._tallies.incomplete("entitlement", "the record's key is not certified", line)
            return
        instance = leading.chain.instance
        named, other = False, None
        for window in windows:
            if (
                window.instance != instance
                or window.tenant != leading.tenant
                or window.region != leading.region
            ):
                continue
            if body is not None and not seal.may_write(window.topology, body):
                other = window.topology
                continue
            named = True
            if window.topology == seal.CENTRAL:
                self._services.add(instance)
            if time_us is None or window.not_before_us <= time_us <= window.not_after_us:
                return
        if named:
            cause = "the record's time is in no window of its key"
            self._tallies.incomplete("entitlement", cause, line)
        elif other is not None:
            cause = f"the key is certified for topology {other}, not for this record"
            self._tallies.false("entitlement", cause, line)
        else:
            cause = "the key is certified for another instance or tenant"
            self._tallies.false("entitlement", cause, line)

    def _link(
        self,
        leading: record.Leading | record.Record,
        body: record.Record | None,
        digest: bytes,
        line: int,
    ) -> None:
        chain = leading.chain
        audit = self._chains.get(chain.instance)
        if audit is None:
            audit = self._chains[chain.instance] = ChainAudit(chain.instance)
            self.places[chain.instance] = (leading.tenant, leading.region)
        elif self.places[chain.instance] != (leading.tenant, leading.region):
            self._tallies.false("chain", "the chain changes its tenant or region", line)
        if chain.seq < 0:
            self._tallies.false("chain", "the seq is below 0", line)
            return
        self._chain.counted += 1
        link = Link(chain.seq, chain.prev, digest, chain.kid, line)
        trouble = audit.add(link)
        if trouble is not None:
            self._tallies.false(trouble.finding, trouble.detail, line)
        if body is not None and not (trouble is not None and trouble.taken):
            self._note(audit, link, body)

    def _note(self, audit: ChainAudit, link: Link, body: record.Record) -> None:
        if isinstance(body, record.Decision):
            if body.decision.outcome in _EXPECTS_COMPLETION and body.decision.stage == "request":
                self._tallies.count("outcomes")
                if (audit.instance, body.id) not in self._completed:
                    self._awaiting[audit.instance, body.id] = link.line
        elif isinstance(body, record.Completion):
            # Only who made a call says how it ended.
            if self._awaiting.pop((audit.instance, body.of), None) is None:
                self._completed.add((audit.instance, body.of))
        elif isinstance(body, record.Seal):
            audit.seal(link)
        elif isinstance(body, record.Rotate):
            audit.rotate(link, body.next_kid)
        elif isinstance(body, record.Recovered):
            found = _Found(audit.instance, body.last_seq, body.last_hash, link.line)
            self._recovered.setdefault(body.instance, []).append(found)

    # -- what a store set aside -----------------------------------------------------------------

    def set_aside(self, data: bytes, line: int) -> None:
        """Bytes that a store kept as evidence. A certified key that signed them against its own
        chain did so, whatever the store made of it; anything else proves nothing."""
        if not envelope_line.is_record(data):
            return
        try:
            parts = envelope_line.read_record(data + b"\n")
            leading = record.decode_leading(parts.payload)
        except (*UNREADABLE, DocumentInvalid):
            return
        windows = self._head.windows.get(parts.kid)
        framed = seal.record_pae(parts.payload)
        chain = leading.chain
        if (
            not windows
            or chain.kid != parts.kid
            or all(window.instance != chain.instance for window in windows)
            or not seal.verify(framed, parts.signature, windows[0].public)
        ):
            return
        if len(self._contradictions) >= _CONTRADICTIONS_KEPT:
            # Else a thousand harmless ones would hide a fork behind them.
            cause = f"over {_CONTRADICTIONS_KEPT} set-aside records: this one is held against none"
            self._tallies.incomplete("forks", cause, line)
            return
        digest = hashlib.sha256(framed + parts.signature).digest()
        self._contradictions.append(Link(chain.seq, chain.prev, digest, chain.kid, line))
        self._contradicted.append(chain.instance)

    # -- what shows at the end ------------------------------------------------------------------

    def finish(self) -> int:
        """What only shows when every record is in. Returns the number of chains."""
        for instance, audit in self._chains.items():
            self._tallies.count("forks")
            self._tallies.count("tail")
            for trouble in audit.finish():
                self._tallies.false(trouble.finding, trouble.detail, trouble.line)
            gaps = audit.gaps()
            if gaps:
                named = ", ".join(f"{gap.first_seq}–{gap.last_seq}" for gap in gaps[:_GAPS_NAMED])
                more = f" and {len(gaps) - _GAPS_NAMED} more" if len(gaps) > _GAPS_NAMED else ""
                self._tallies.incomplete("chain", f"{instance} lacks seq {named}{more}", None)
            self._judge_tail(audit)
        for instance, link in zip(self._contradicted, self._contradictions, strict=True):
            chain = self._chains.get(instance)
            said = None if chain is None else chain.contradiction(link)
            if said is not None:
                self._tallies.false(said.finding, said.detail, said.line)
        for (_, call), line in self._awaiting.items():
            self._tallies.incomplete("outcomes", f"the outcome of {call} is not known", line)
        return len(self._chains)

    def _judge_tail(self, audit: ChainAudit) -> None:
        last = audit.last
        if last is None or audit.sealed_seq == last.seq:
            return
        successors = self._successors(audit.instance)
        if not successors:
            cause = f"{audit.instance} is open after seq {last.seq}"
            self._tallies.incomplete("tail", cause, last.line)
        # Each that spoke is held to: the last word is not the truest.
        for found in successors:
            if found.last_seq is None or found.last_seq > last.seq:
                cause = f"{audit.instance}: its successor found more than is here"
                self._tallies.incomplete("tail", cause, found.line)
            elif _text(audit.hash_at(found.last_seq)) != found.last_hash:
                cause = f"{audit.instance}: its successor found another record at {found.last_seq}"
                self._tallies.false("forks", cause, found.line)

    def _successors(self, instance: str) -> list[_Found]:
        """What successors found of ``instance``. A service is no daemon's successor: whoever keeps
        the log could end a chain where its records were withheld."""
        kept = []
        for found in self._recovered.get(instance, []):
            if found.by in self._services and instance not in self._services:
                cause = f"a central service says where the chain of {instance} ends"
                self._tallies.false("entitlement", cause, found.line)
            else:
                kept.append(found)
        return kept


def _text(digest: bytes | None) -> str | None:
    """``sha256:<hex>`` of raw bytes, None for None."""
    return None if digest is None else "sha256:" + digest.hex()


def _declared_key(parts: RecordLine) -> bytes | None:
    """The key that a start holds, if it is the one its envelope names."""
    try:
        body = record.decode(parts.payload)
        public = seal.public_key(body.pub) if isinstance(body, record.Start) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DocumentInvalid):
        return None
    return public if public is not None and seal.key_id(public) == parts.kid else None


def _time_of(body: record.Record | None) -> int | None:
    """A record's own time in µs; None for kinds without one. Raises ValueError."""
    if isinstance(body, record.Decision):
        return time_micros(body.time.decided)
    if isinstance(body, record.Completion):
        return time_micros(body.time.ended)
    if isinstance(body, record.Start):
        return time_micros(body.time.started)
    return None
