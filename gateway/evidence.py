"""The offline verifier: an export and one fingerprint in, separate verdicts out.

Owns: what is proved by an export, line by line, and the exit code that says so. The parts have
their own modules: documents (``head_audit.py``), records (``record_audit.py``), the log
(``log_audit.py``), what was seen of it (``seen_audit.py``, ``witness_audit.py``), revoked keys
(``revocation_audit.py``), times (``time_audit.py``). Refuses: files, networks, stores, clocks, and
any single "valid": each verdict says what it is about, how much it counted and what it could not
know. Trust starts at the fingerprint of root 1 and nowhere else; a root found in an export counts
only if it chains from there.

Imports nothing but the standard library, msgspec and (through ``seal``) PyNaCl.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway import checkpoint, envelope_line, log_line, note, signature_check
from gateway.checkpoint import Opened
from gateway.errors import DocumentInvalid
from gateway.head_audit import HeadAudit
from gateway.log_audit import LogAudit, Mark, Place, Waiting
from gateway.log_line import LogLine
from gateway.record_audit import RecordAudit
from gateway.revocation_audit import RevocationAudit
from gateway.seen_audit import Current, SeenAudit
from gateway.signature_check import Answers, Checked, OpenedLine, SameThread, SignatureCheck
from gateway.time_audit import TimeAudit
from gateway.timestamp import time_text
from gateway.verdicts import VERDICTS, Anchor, Cosignature, Grades, Report, Tallies
from gateway.witness_audit import WitnessAudit
from gateway.witness_policy import Policy

__all__ = ["VERDICTS", "Asked", "Auditor", "Report", "verify_export"]

_SECOND_US: Final = 1_000_000
_Begun = tuple[list[bytes], list[OpenedLine | None], Answers]
"""A block: its lines, its record lines taken apart, and what is being found out of them."""
_CUT: Final = "the export does not end in a checkpoint: it was cut, or no store wrote it"


class Asked(msgspec.Struct, frozen=True):
    """What an auditor brings beside the fingerprint. ``pin``: the note of a checkpoint that they
    saw earlier; ``witnesses``: whose cosignatures count, and which of them are enough."""

    pin: str | None = None
    witnesses: Policy | None = None


NOTHING_MORE: Final = Asked()


def verify_export(lines: Iterable[bytes], fingerprint: str, asked: Asked = NOTHING_MORE) -> Report:
    """The report on an export. ``lines``: each with its newline, as a binary file yields them;
    ``fingerprint``: ``sha256:<hex>`` of root 1's payload, known from elsewhere."""
    auditor = Auditor(fingerprint, asked)
    auditor.add_all(lines, SameThread())
    return auditor.report()


class Auditor:
    """Takes the lines of one export in order, then ``report``, once."""

    def __init__(self, fingerprint: str, asked: Asked = NOTHING_MORE) -> None:
        self._fingerprint = fingerprint
        self._asked = asked
        self._line = 0
        self._tallies = Tallies()
        self._form = self._tallies.of("form")
        self._head = HeadAudit(fingerprint, self._tallies)
        self._records = RecordAudit(self._head, self._tallies)
        self._log = LogAudit(self._head.leaves, self._place, self._tallies)
        self._seen = SeenAudit(self._tallies)
        self._witnesses = WitnessAudit(asked.witnesses, self._tallies)
        self._revocations = RevocationAudit(self._head, self._tallies)
        self._time = TimeAudit(self._tallies, _size_of(asked.pin))
        self._note: tuple[str, int] | None = None

    def add_all(self, lines: Iterable[bytes], check: SignatureCheck) -> None:
        """Judge the next ``lines``, in order. ``check``: who verifies the signatures of records
        whose keys are certified; the verdicts do not depend on it."""
        under_way: deque[_Begun] = deque()
        for block in signature_check.blocks(lines):
            under_way.append(self._begin(block, check))
            # Documents say which keys the lines behind them may be by.
            ahead = 0 if signature_check.is_document(block[0]) else check.blocks_ahead
            while len(under_way) > ahead:
                self._add_begun(under_way.popleft())
        while under_way:
            self._add_begun(under_way.popleft())

    def add(self, line: bytes) -> None:
        """Judge the next line."""
        self._add(line, None, None)

    def _begin(self, block: list[bytes], check: SignatureCheck) -> _Begun:
        opened = [self._opened_record(line) for line in block]
        tasks = [
            (one.framed, one.parts.signature, one.public)
            for one in opened
            if one is not None and one.public is not None
        ]
        return block, opened, check.begin(tasks)

    def _opened_record(self, line: bytes) -> OpenedLine | None:
        """None where ``line`` is no record, or fails its form check, which ``add`` then says."""
        try:
            return self._records.open(line) if envelope_line.is_record(line) else None
        except DocumentInvalid:
            return None

    def _add_begun(self, begun: _Begun) -> None:
        block, opened, answers = begun
        valid = iter(answers())
        for line, one in zip(block, opened, strict=True):
            public = None if one is None else one.public
            self._add(line, one, None if public is None else Checked(public, next(valid)))

    def _add(self, line: bytes, opened: OpenedLine | None, checked: Checked | None) -> None:
        self._line += 1
        self._form.counted += 1
        if self._note is not None:
            self._tallies.false("form", "something follows the checkpoint", self._line)
        try:
            if opened is not None:
                self._add_record(opened, checked)
            elif envelope_line.is_record(line):
                self._add_unopened(line)
            elif log_line.is_log_line(line):
                self._add_log_line(log_line.read(line))
            else:
                self._head.add(*envelope_line.read_envelope(line), self._line)
        except DocumentInvalid as error:
            self._tallies.false("form", error.detail, self._line)

    def _add_unopened(self, line: bytes) -> None:
        try:
            opened = self._records.open(line)
        except DocumentInvalid:
            # What cannot be read still stands before the next line of the log.
            self._log.record(Waiting(self._line, None, None))
            raise
        self._add_record(opened, None)

    def _add_record(self, opened: OpenedLine, checked: Checked | None) -> None:
        waiting = self._records.add(opened, self._line, checked)
        self._log.record(waiting)
        mark = waiting.mark
        if mark is None:
            return
        if self._head.revoked:
            self._revocations.record(mark)
        if mark.log_seen is not None:
            self._seen.seen(mark.log_seen, self._line, self._log.history)

    def _add_log_line(self, found: LogLine) -> None:
        if found.leaves is not None:
            self._log.leaves(found.leaves, self._line)
        elif found.range is not None:
            self._log.range(found.range, self._line)
        elif found.evidence is not None:
            self._records.set_aside(self._log.evidence(found.evidence, self._line), self._line)
        elif found.consistency is not None:
            self._seen.proof(found.consistency, self._line)
        elif found.checkpoint is not None:
            self._note = (found.checkpoint, self._line)

    def _place(self, mark: Mark, place: Place) -> None:
        self._time.placed(mark, place, self._log.history)
        self._revocations.placed(mark, place)

    # -- the end ------------------------------------------------------------------------------

    def report(self) -> Report:
        """The verdicts on everything that was added."""
        self._head.finish()
        instances = self._records.finish()
        if self._tallies.counted("entitlement") == 0:
            self._tallies.incomplete("form", "the export holds no record", None)
        opened = self._opened()
        proved = self._log.finish(None if opened is None else opened.checkpoint)
        history = self._log.history if proved else None
        self._time.finish(proved=proved)
        self._witnesses.checkpoint(opened, None if self._note is None else self._note[1])
        self._judge_seen(opened if proved else None)
        self._revocations.finish(self._witnesses.witnessed(), proved=proved)
        if history is not None:
            self._judge_instances()
        return Report(
            fingerprint=self._fingerprint,
            custody=self._head.roots[-1].custody if self._head.roots else None,
            lines=self._line,
            records=self._tallies.counted("entitlement"),
            instances=instances,
            complete=history is not None,
            anchor=self._anchor(opened) if proved and opened is not None else None,
            grades=self._grades(opened, proved=proved),
            verdicts=self._tallies.verdicts(),
            notices=self._notices(proved=proved),
        )

    def _opened(self) -> Opened | None:
        """The checkpoint in the last line, if it counts."""
        if self._note is None:
            self._tallies.incomplete("inclusion", _CUT, None)
            return None
        text, line = self._note
        keys = self._head.log_keys()
        self._tallies.count("signatures")
        if keys is None:
            self._tallies.incomplete("signatures", "no root says who signs the log", line)
            return None
        try:
            opened = checkpoint.open_note(text, None, keys)
            place = checkpoint.place_of(opened.checkpoint.origin)
        except DocumentInvalid as error:
            name = "signatures" if error.reason in ("signature", "threshold") else "form"
            self._tallies.false(name, f"checkpoint: {error}", line)
            self._tallies.incomplete("inclusion", "the export has no checkpoint that counts", line)
            return None
        if any(one != (place.tenant, place.region) for one in self._records.places.values()):
            cause = f"{opened.checkpoint.origin} is the log of another tenant or region"
            self._tallies.false("inclusion", cause, line)
            return None
        return opened

    def _judge_seen(self, proved: Opened | None) -> None:
        pinned = self._pinned()
        if pinned is not None:
            self._seen.pin(pinned.checkpoint)
        current = None
        if proved is not None:
            statements = self._head.statements
            current = Current(proved.checkpoint, self._log.history, statements)
        self._seen.finish(current)
        if self._seen.pin_holds and self._asked.pin is not None:
            self._witnesses.kept(self._asked.pin)

    def _pinned(self) -> Opened | None:
        """The auditor's own checkpoint, signed by whoever signed the log then."""
        if self._asked.pin is None:
            return None
        refused = DocumentInvalid("signature", "no root says who signs the log")
        for keys in self._head.log_keys_ever():
            try:
                return checkpoint.open_note(self._asked.pin, None, keys)
            except DocumentInvalid as error:
                refused = error
        self._tallies.false("consistency", f"the pinned checkpoint does not count: {refused}", None)
        return None

    def _judge_instances(self) -> None:
        for instance, line in self._head.certified.items():
            self._tallies.count("instances")
            if instance not in self._records.places:
                cause = f"{instance} was certified, and no record of it is in the log"
                self._tallies.incomplete("instances", cause, line)

    def _anchor(self, opened: Opened) -> Anchor:
        found = opened.checkpoint
        seen = [Cosignature(one.name, _time_text(one.time)) for one in self._witnesses.cosigned]
        return Anchor(found.origin, found.size, base64.b64encode(found.root).decode(), seen)

    def _grades(self, opened: Opened | None, *, proved: bool) -> Grades:
        records = self._tallies.counted("entitlement")
        if not proved or opened is None:
            return Grades(claimed=records, bracketed=0, cosigned=0)
        placed, seen = self._time.placed_count, 0
        if self._witnesses.now is not None:
            seen = placed
        elif self._witnesses.earlier is not None:
            seen = self._time.placed_below
        return Grades(claimed=records - placed, bracketed=placed - seen, cosigned=seen)

    def _notices(self, *, proved: bool) -> list[str]:
        notices = []
        if self._head.roots:
            root = self._head.roots[-1]
            notices.append(f"custody of root {root.version}: {root.custody}")
            if root.custody == "development":
                notices.append(
                    "custody development: one operator holds every key, the root's included; what"
                    " is proved here is proved against everybody else"
                )
            elif set(root.roles.issuer.keyids) & set(root.roles.log.keyids):
                notices.append("one operator: the same key issues certificates and signs the log")
        for one in self._head.statements:
            notices.append(f"{one.closed_origin} lost leaves and was closed: {one.reason}")
        if self._note is None:
            notices.append(
                "no checkpoint in this export: that records are missing at the end of a chain, or"
                " whole chains, cannot be seen from it alone"
            )
        elif proved and self._log.history is None:
            notices.append(
                "not a complete export: what is here is in the log, and nothing says what else is"
            )
        if self._records.unknown_kinds:
            count = self._records.unknown_kinds
            notices.append(f"{count} records are of kinds this version does not read")
        return notices


def _size_of(pin: str | None) -> int:
    """The size that a note speaks of, whoever signed it; 0 where it speaks of none."""
    try:
        return 0 if pin is None else checkpoint.read(note.parse(pin).text).size
    except DocumentInvalid:
        return 0


def _time_text(seconds: int) -> str:
    try:
        return time_text(seconds * _SECOND_US)
    except (ValueError, OverflowError):
        return f"{seconds} s after 1970"
