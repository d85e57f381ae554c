"""Records of an instance as lines of an export: DSSE JSON, exactly as shipped.

A verifier takes lines in order, and believes a record's key only from a certificate that came
before. So the certificates that the chain carries anywhere come first, and finding them is a
pass of its own.

Owns: both passes, what belongs between two seqs, and saying what is missing. Refuses: root
documents (the spool has none), writing anything, and trusting a certificate: the verifier does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from gateway import documents
from gateway.documents import Envelope
from gateway.ports import FileSystem
from spool.scan import StoredRecord
from spool.survey import Survey
from spool.walk import Walk


class Taken(msgspec.Struct):
    """What went out of one instance. ``missing``: reasons why it is not the whole chain."""

    instance: str
    first_seq: int | None = None
    last_seq: int | None = None
    records: int = 0
    sealed: bool = False
    missing: list[str] = []

    @property
    def complete(self) -> bool:
        """The chain from its start to its seal."""
        return not self.missing


def certificate_lines(survey: Survey) -> Iterator[bytes]:
    """The certificates that the chain carries, each once, with newlines."""
    certificates: list[Envelope] = [] if survey.findings is None else survey.findings.certificates
    for line in dict.fromkeys(map(documents.encode, certificates)):
        yield line + b"\n"


def record_lines(
    files: FileSystem,
    survey: Survey,
    taken: Taken,
    *,
    from_seq: int,
    to_seq: int | None,
    advance: Callable[[int], None],
) -> Iterator[bytes]:
    """The lines of records ``from_seq`` to ``to_seq``, both included, with newlines.

    Ends where the survey ended, however much was written since: later records may be by keys
    whose certificates it did not see. Fills ``taken``, whole when the last one was given;
    tells ``advance`` the bytes of each segment. Raises OSError and NewerFormat.
    """
    found = survey.findings
    end = -1 if found is None or found.last_seq is None else found.last_seq
    last_seq = end if to_seq is None else min(end, to_seq)
    expected = 0
    place = survey.home
    walk = Walk(files, place.directory, place.instance, may_be_written=place.may_be_written)
    for view in walk:
        if view.base_seq > last_seq:
            break
        for item in view.items:
            if not isinstance(item, StoredRecord) or not from_seq <= item.seq <= last_seq:
                continue
            if item.seq > expected:
                taken.missing.append(_hole(expected, item.seq - 1, from_seq))
            expected = item.seq + 1
            taken.first_seq = item.seq if taken.first_seq is None else taken.first_seq
            taken.last_seq = item.seq
            taken.records += 1
            taken.sealed = item.leading.kind == "seal"
            yield item.envelope_line() + b"\n"
        advance(view.bytes_read)
    if expected <= last_seq:
        taken.missing.append(_hole(expected, last_seq, from_seq))
    if not taken.sealed:
        taken.missing.append(_open_end(survey, taken, to_seq))


def _hole(first: int, last: int, from_seq: int) -> str:
    named = f"seq {first}" if first == last else f"seq {first} to {last}"
    if last < from_seq:
        return f"{named} not asked for"
    if first == 0:
        return f"{named} not here: shipped and deleted, damaged, or not asked for"
    return f"{named} not here: damaged, or shipped and deleted meanwhile"


def _open_end(survey: Survey, taken: Taken, to_seq: int | None) -> str:
    if to_seq is not None and taken.last_seq == to_seq:
        return f"nothing after seq {to_seq} was asked for"
    if survey.condition == "live":
        return "the process is running: its chain goes on"
    return "the chain has no seal"
