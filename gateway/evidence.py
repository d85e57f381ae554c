"""The offline verifier: an export and one fingerprint in, separate verdicts out.

Owns: what is proved by an export, line by line, and the exit code that says so. Refuses: files,
networks, stores, clocks, and any single "valid": each verdict says what it is about, how much it
counted and what it could not know. Trust starts at the fingerprint of root 1 and nowhere else; a
root found in an export counts only if it chains from there.

Order of the checks on a record: its exact form, the certificate that entitles its key (instance,
tenant, region, time), its signature, then its place in the chain. Imports nothing but the
standard library, msgspec and (through ``seal``) PyNaCl.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway import documents, envelope_line, record, roots, seal
from gateway.chain_audit import ChainAudit, Link
from gateway.documents import Envelope, KeyCert, Root
from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.timestamp import time_micros
from gateway.verdicts import VERDICTS, Report, Tally

__all__ = ["VERDICTS", "Auditor", "Report", "verify_export"]

_EXPECTS_COMPLETION: Final = frozenset({"allow", "error_open"})
_GAPS_NAMED: Final = 5
_OTHER_KEY: Final = "the envelope names another key than the record"


def verify_export(lines: Iterable[bytes], fingerprint: str) -> Report:
    """The report on an export. ``lines``: each with its newline, as a binary file yields them;
    ``fingerprint``: ``sha256:<hex>`` of root 1's payload, known from elsewhere."""
    auditor = Auditor(fingerprint)
    for line in lines:
        auditor.add(line)
    return auditor.report()


class _Window(msgspec.Struct, frozen=True):
    """One certificate as the hot path asks it."""

    certificate: KeyCert
    public: bytes
    not_before_us: int
    not_after_us: int


class Auditor:
    """Takes the lines of one export in order: roots, certificates, records."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._line = 0
        self._tallies = {name: Tally() for name in VERDICTS}
        self._roots: list[Root] = []
        self._issuer_keys: dict[str, bytes] = {}
        self._windows: dict[str, list[_Window]] = {}
        self._declared: dict[str, bytes] = {}
        self._chains: dict[str, ChainAudit] = {}
        self._places: dict[str, tuple[str, str]] = {}
        self._recovered: dict[str, tuple[int | None, str | None, int]] = {}
        self._awaiting: dict[str, int] = {}
        self._completed: set[str] = set()
        self._unknown_kinds = 0

    def add(self, line: bytes) -> None:
        """Judge the next line."""
        self._line += 1
        self._tallies["form"].counted += 1
        try:
            if envelope_line.is_record(line):
                self._add_record(envelope_line.read_record(line))
            else:
                self._add_document(*envelope_line.read_envelope(line))
        except DocumentInvalid as error:
            self._false("form", error.detail)

    def report(self) -> Report:
        """The verdicts on everything that was added."""
        self._judge_roots()
        self._judge_chains()
        self._judge_outcomes()
        if self._tallies["signatures"].counted == 0:
            self._incomplete("form", "the export holds no record", line=None)
        return Report(
            fingerprint=self._fingerprint,
            lines=self._line,
            records=self._tallies["entitlement"].counted,
            instances=len(self._chains),
            verdicts=[self._tallies[name].verdict(name) for name in VERDICTS],
            notices=self._notices(),
        )

    # -- documents --------------------------------------------------------------------------

    def _add_document(self, envelope: Envelope, payload: bytes) -> None:
        kind = envelope.payload_type
        if kind == documents.ROOT:
            self._add_root(envelope, payload)
        elif kind == documents.KEY_CERT:
            self._add_certificate(envelope)
        elif kind in documents.PAYLOAD_TYPES:
            self._incomplete("form", f"this version does not judge {kind}")
        else:
            self._false("form", "the payload type is not known")

    def _add_root(self, envelope: Envelope, payload: bytes) -> None:
        self._tallies["roots"].counted += 1
        try:
            if self._roots:
                following = roots.open_next(envelope, self._roots[-1])
                signers = roots.role_keys(self._roots[-1], "root").keys
            else:
                following = roots.open_first(envelope, self._fingerprint)
                signers = {}
            signers = signers | roots.role_keys(following, "root").keys
            _check_every_signature(envelope, payload, signers)
        except DocumentInvalid as error:
            self._false("roots", str(error))
            return
        self._roots.append(following)
        # A certificate outlives the issuer key's place in the newest root.
        self._issuer_keys |= roots.role_keys(following, "issuer").keys

    def _add_certificate(self, envelope: Envelope) -> None:
        self._tallies["signatures"].counted += 1
        try:
            certificate = seal.open_certificate(envelope, self._issuer_keys)
            if [entry.keyid for entry in envelope.signatures] != [certificate.issuer_kid]:
                raise DocumentInvalid("signature", "a certificate has its issuer's one signature")
        except DocumentInvalid as error:
            self._false("signatures", f"certificate: {error}")
            return
        window = _Window(
            certificate=certificate,
            public=seal.public_key(certificate.pub),
            not_before_us=time_micros(certificate.not_before),
            not_after_us=time_micros(certificate.not_after),
        )
        self._windows.setdefault(certificate.kid, []).append(window)

    # -- records ----------------------------------------------------------------------------

    def _add_record(self, parts: envelope_line.RecordLine) -> None:
        self._tallies["entitlement"].counted += 1
        self._tallies["signatures"].counted += 1
        framed = seal.record_pae(parts.payload)
        windows = self._windows.get(parts.kid)
        public = windows[0].public if windows else self._declared.get(parts.kid)
        if public is None:
            public = _declared_key(parts)
        if public is None:
            self._no_key(parts)
            return
        if not seal.verify(framed, parts.signature, public):
            self._false("signatures", "the record's signature is not valid")
            return
        self._declared.setdefault(parts.kid, public)
        decoded = self._decode(parts)
        if decoded is None:
            return
        leading, body = decoded
        if leading.chain.kid != parts.kid:
            self._false("signatures", _OTHER_KEY)
            return
        self._check_entitled(leading, body, windows)
        self._link(leading, body, hashlib.sha256(framed + parts.signature).digest())

    def _no_key(self, parts: envelope_line.RecordLine) -> None:
        try:
            named = record.decode_leading(parts.payload).chain.kid
        except UNREADABLE:
            self._false("form", "the first members of the record cannot be read")
            return
        if named != parts.kid:
            self._false("signatures", _OTHER_KEY)
            return
        self._incomplete("signatures", "no certificate and no start holds the record's key")
        self._incomplete("entitlement", "the record's key is not certified")

    def _decode(
        self, parts: envelope_line.RecordLine
    ) -> tuple[record.Leading | record.Record, record.Record | None] | None:
        """(first members, the record or None for an unknown kind), or None with a verdict."""
        try:
            body = record.decode(parts.payload)
        except UNREADABLE as error:
            return self._decode_unknown(parts, error)
        return body, body

    def _decode_unknown(
        self, parts: envelope_line.RecordLine, error: Exception
    ) -> tuple[record.Leading, None] | None:
        try:
            leading = record.decode_leading(parts.payload)
        except UNREADABLE:
            self._false("form", f"the record cannot be read: {error}")
            return None
        if leading.v == record.VERSION and leading.kind in record.KINDS:
            self._false("form", f"the record is not in its exact form: {error}")
            return None
        self._unknown_kinds += 1
        return leading, None

    def _check_entitled(
        self,
        leading: record.Leading | record.Record,
        body: record.Record | None,
        windows: list[_Window] | None,
    ) -> None:
        if not windows:
            self._incomplete("entitlement", "the record's key is not certified")
            return
        chain = leading.chain
        time_us = None
        try:
            time_us = _time_of(body)
        except ValueError as error:
            self._false("form", str(error))
        named = False
        for window in windows:
            certificate = window.certificate
            if (
                certificate.instance != chain.instance
                or certificate.tenant != leading.tenant
                or certificate.region != leading.region
            ):
                continue
            named = True
            if time_us is None or window.not_before_us <= time_us <= window.not_after_us:
                return
        if named:
            self._incomplete("entitlement", "the record's time is in no window of its key")
        else:
            self._false("entitlement", "the key is certified for another instance or tenant")

    def _link(
        self, leading: record.Leading | record.Record, body: record.Record | None, digest: bytes
    ) -> None:
        chain = leading.chain
        audit = self._chains.get(chain.instance)
        if audit is None:
            audit = self._chains[chain.instance] = ChainAudit(chain.instance)
            self._places[chain.instance] = (leading.tenant, leading.region)
        elif self._places[chain.instance] != (leading.tenant, leading.region):
            self._false("chain", "the chain changes its tenant or region")
        if chain.seq < 0:
            self._false("chain", "the seq is below 0")
            return
        self._tallies["chain"].counted += 1
        link = Link(chain.seq, chain.prev, digest, chain.kid, self._line)
        trouble = audit.add(link)
        if trouble is not None:
            self._false(trouble.finding, trouble.detail)
        if body is not None and not (trouble is not None and trouble.taken):
            self._note(audit, link, body)

    def _note(self, audit: ChainAudit, link: Link, body: record.Record) -> None:
        if isinstance(body, record.Decision):
            if body.decision.outcome in _EXPECTS_COMPLETION and body.decision.stage == "request":
                self._tallies["outcomes"].counted += 1
                if body.id not in self._completed:
                    self._awaiting[body.id] = self._line
        elif isinstance(body, record.Completion):
            if self._awaiting.pop(body.of, None) is None:
                self._completed.add(body.of)
        elif isinstance(body, record.Seal):
            audit.seal(link)
        elif isinstance(body, record.Rotate):
            audit.rotate(link, body.next_kid)
        elif isinstance(body, record.Recovered):
            self._recovered[body.instance] = (body.last_seq, body.last_hash, self._line)

    # -- what shows at the end --------------------------------------------------------------

    def _judge_roots(self) -> None:
        if not self._roots:
            self._false("roots", "no root in the export has the pinned fingerprint", line=None)

    def _judge_chains(self) -> None:
        for instance, audit in self._chains.items():
            self._tallies["forks"].counted += 1
            self._tallies["tail"].counted += 1
            for trouble in audit.finish():
                self._false(trouble.finding, trouble.detail, line=trouble.line)
            gaps = audit.gaps()
            if gaps:
                named = ", ".join(f"{gap.first_seq}–{gap.last_seq}" for gap in gaps[:_GAPS_NAMED])
                more = f" and {len(gaps) - _GAPS_NAMED} more" if len(gaps) > _GAPS_NAMED else ""
                self._incomplete("chain", f"{instance} lacks seq {named}{more}", line=None)
            self._judge_tail(audit)

    def _judge_tail(self, audit: ChainAudit) -> None:
        last = audit.last
        if last is None or audit.sealed_seq == last.seq:
            return
        found = self._recovered.get(audit.instance)
        if found is None:
            self._incomplete(
                "tail", f"{audit.instance} is open after seq {last.seq}", line=last.line
            )
            return
        last_seq, last_hash, line = found
        if last_seq is None or last_seq > last.seq:
            self._incomplete(
                "tail", f"{audit.instance}: its successor found more than is here", line=line
            )
        elif _text(audit.hash_at(last_seq)) != last_hash:
            self._false(
                "forks", f"{audit.instance}: its successor found another record at {last_seq}",
                line=line,
            )  # fmt: skip

    def _judge_outcomes(self) -> None:
        for call, line in self._awaiting.items():
            self._incomplete("outcomes", f"the outcome of {call} is not known", line=line)

    def _notices(self) -> list[str]:
        notices = []
        if self._roots:
            root = self._roots[-1]
            if root.custody == "development":
                notices.append(
                    "custody development: one operator holds every key, the root's included; what"
                    " is proved here is proved against everybody else"
                )
            elif set(root.roles.issuer.keyids) & set(root.roles.log.keyids):
                notices.append("one operator: the same key issues certificates and signs the log")
        notices.append(
            "no checkpoint in this export: that records are missing at the end of a chain, or whole"
            " chains, cannot be seen from it alone"
        )
        if self._unknown_kinds:
            notices.append(f"{self._unknown_kinds} records are of kinds this version does not read")
        return notices

    # -- tallies ----------------------------------------------------------------------------

    def _false(self, name: str, cause: str, line: int | None = -1) -> None:
        tally = self._tallies[name]
        tally.false += 1
        tally.note(self._line if line == -1 else line, cause)

    def _incomplete(self, name: str, cause: str, line: int | None = -1) -> None:
        tally = self._tallies[name]
        tally.incomplete += 1
        tally.note(self._line if line == -1 else line, cause)


def _text(digest: bytes | None) -> str | None:
    """``sha256:<hex>`` of raw bytes, None for None."""
    return None if digest is None else "sha256:" + digest.hex()


def _declared_key(parts: envelope_line.RecordLine) -> bytes | None:
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


def _check_every_signature(envelope: Envelope, payload: bytes, keys: dict[str, bytes]) -> None:
    """Every signature must be by one of ``keys`` and valid: nothing rides along unchecked."""
    framed = seal.pae(envelope.payload_type, payload)
    for entry in envelope.signatures:
        public = keys.get(entry.keyid)
        if public is None:
            raise DocumentInvalid("signature", "a signature is by no root key")
        if not seal.verify(framed, seal.unbase64(entry.sig, "unreadable"), public):
            raise DocumentInvalid("signature", "a signature is not valid")
    if len({entry.keyid for entry in envelope.signatures}) != len(envelope.signatures):
        raise DocumentInvalid("signature", "a key signed twice")
