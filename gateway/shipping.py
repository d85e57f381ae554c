"""What the record store answers to a batch of records and to a chain-head: one form for both ends.

Owns: the Structs of the answers of ``POST /v1/records`` and ``POST /v1/chain-heads``, and their
reading. Refuses: judging an
answer against what was sent (``spool.answer``) and verifying proofs (``merkle.py``).

Readers pass over members they do not know, because stores are upgraded before daemons.
"""

from __future__ import annotations

import msgspec

from gateway import limits
from gateway.documents import Envelope
from gateway.errors import UNREADABLE, DocumentInvalid

RECORDS_PATH = "/v1/records"
CHAIN_HEADS_PATH = "/v1/chain-heads"
CONTENT_TYPE = "application/jsonl"
"""DSSE JSON, one envelope per line; always with ``Content-Encoding: gzip``."""
CERTIFICATE_UNKNOWN = "certificate_unknown"
"""With status 412: the store does not have the certificate of a signing key yet."""


class ShipException(msgspec.Struct, frozen=True):
    """A record that was not simply appended. ``code``: ``vocabulary.ExceptionCode``.

    All codes but ``retry`` are resolved: the store keeps the bytes.
    """

    seq: int
    code: str


class ShipRun(msgspec.Struct, frozen=True):
    """Records contiguous in seq and in leaf index, with an inclusion proof (base64 hashes)."""

    first_seq: int
    last_seq: int
    first_index: int
    received_us: int
    proof: list[str]


class ShipHead(msgspec.Struct, frozen=True):
    """The newest record of the instance that the store has."""

    seq: int
    record_hash: str


class ShipAnswer(msgspec.Struct, frozen=True):
    """``through_seq``: every record that was sent up to it is resolved; -1 for none.

    ``checkpoint`` is a signed note; ``consistency`` leads to it from the sender's ``log_seen``.
    ``statements``: where the sender saw the log of another origin, what leads to this one.
    """

    through_seq: int
    exceptions: list[ShipException]
    runs: list[ShipRun] | None
    head: ShipHead | None
    checkpoint: str | None
    consistency: list[str] | None
    statements: list[Envelope] | None = None


def encode_answer(answer: ShipAnswer) -> bytes:
    """The body of a 200 answer."""
    return msgspec.json.encode(answer)


def decode_answer(body: bytes) -> ShipAnswer:
    """The inverse of ``encode_answer``. Raises DocumentInvalid (``unreadable``)."""
    try:
        return msgspec.json.decode(body, type=ShipAnswer)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"answer of the record store: {error}") from error


class SeqRange(msgspec.Struct, frozen=True):
    """Both ends belong to it."""

    first_seq: int
    last_seq: int


class ChainHeadAnswer(msgspec.Struct, frozen=True):
    """``missing``: what the store lacks of the records up to ``acked_seq``, in order of seq.

    The newest ``limits.MISSING_RANGES_MAX`` ranges at most; there may be more. Bytes that the
    store keeps as evidence are not missing.
    """

    missing: list[SeqRange] = []


def decode_head_answer(body: bytes) -> ChainHeadAnswer:
    """What a store said to a chain-head; nothing, in an empty body, from one that knows no answer.

    Raises DocumentInvalid (``unreadable``, ``answer``).
    """
    if not body:
        return ChainHeadAnswer()
    try:
        answer = msgspec.json.decode(body, type=ChainHeadAnswer)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"answer of the record store: {error}") from error
    if len(answer.missing) > limits.MISSING_RANGES_MAX:
        raise DocumentInvalid("answer", f"{len(answer.missing)} missing ranges")
    for one in answer.missing:
        if not 0 <= one.first_seq <= one.last_seq:
            raise DocumentInvalid("answer", f"no range: {one.first_seq} to {one.last_seq}")
    return answer


class _Error(msgspec.Struct, frozen=True):
    code: str


class _ErrorBody(msgspec.Struct, frozen=True):
    error: _Error


def refusal_code(body: bytes) -> str | None:
    """The code in ``{"error": {"code": …}}``, or None for any other body."""
    try:
        return msgspec.json.decode(body, type=_ErrorBody).error.code
    except UNREADABLE:
        return None
