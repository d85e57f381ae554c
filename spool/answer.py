"""Whether the store's answer may be believed about the batch that we sent.

Owns: the checks of an answer against what was sent. Refuses: HTTP, and acting on the answer.
An answer that fails here changes nothing: the batch is sent again, and the store finds
duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import DocumentInvalid
from gateway.shipping import ShipAnswer
from gateway.vocabulary import EXCEPTION_CODES
from spool.scan import StoredRecord


def check_answer(answer: ShipAnswer, sent: Sequence[StoredRecord]) -> int:
    """How many of ``sent``, from the first, the answer resolves; 0 is possible.

    Raises DocumentInvalid (``answer``): for a seq that was not in the batch, a record that is
    both resolved and to be repeated, an unknown code, and a head that is not our record.
    """
    first, last = sent[0].seq, sent[-1].seq
    if not -1 <= answer.through_seq <= last:
        raise DocumentInvalid("answer", f"through_seq {answer.through_seq}, sent {first}-{last}")
    seqs = {record.seq for record in sent}
    for exception in answer.exceptions:
        if exception.seq not in seqs:
            raise DocumentInvalid("answer", f"an exception for seq {exception.seq}, not sent")
        if exception.code not in EXCEPTION_CODES:
            raise DocumentInvalid("answer", f"unknown exception code {exception.code!r}")
        if (exception.code == "retry") == (exception.seq <= answer.through_seq):
            raise DocumentInvalid(
                "answer",
                f"{exception.code} for seq {exception.seq} with through_seq {answer.through_seq}",
            )
    _check_head(answer, sent)
    return sum(1 for record in sent if record.seq <= answer.through_seq)


def _check_head(answer: ShipAnswer, sent: Sequence[StoredRecord]) -> None:
    """A head within the batch must be the record we sent, unless it is disputed as such."""
    head = answer.head
    if head is None:
        return
    disputed = {item.seq for item in answer.exceptions if item.code != "duplicate"}
    for record in sent:
        if record.seq == head.seq and record.seq not in disputed:
            if record.record_hash() != head.record_hash:
                raise DocumentInvalid("answer", f"the head at seq {head.seq} is not our record")
            return
