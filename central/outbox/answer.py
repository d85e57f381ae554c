"""What the record store's answer says about the records that were sent.

Owns: reading it, and not believing one that is about something else. Refuses: HTTP.
"""

from __future__ import annotations

from central.outbox.shelf import Unsent
from gateway import shipping
from gateway.errors import DocumentInvalid
from gateway.vocabulary import EXCEPTION_CODES


class Unsendable(Exception):
    """Nothing could be sent now. The text says why, for the log and for who asks."""


def resolved(body: bytes, batch: Unsent) -> tuple[int, int]:
    """(the newest seq that is resolved, how many records are kept as evidence only).

    Raises Unsendable for an answer that is not about ``batch``, and where nothing is resolved.
    """
    try:
        answer = shipping.decode_answer(body)
    except DocumentInvalid as error:
        raise Unsendable(str(error)) from error
    seqs = range(batch.first_seq, batch.last_seq + 1)
    strange = [one for one in answer.exceptions if one.seq not in seqs]
    unknown = [one for one in answer.exceptions if one.code not in EXCEPTION_CODES]
    if answer.through_seq > batch.last_seq or strange or unknown:
        raise Unsendable("the record store's answer is not about what was sent")
    if answer.through_seq < batch.first_seq:
        raise Unsendable("the record store took nothing of what was sent")
    lost = {one.seq for one in answer.exceptions if one.code not in ("duplicate", "retry")}
    return answer.through_seq, len(lost)
