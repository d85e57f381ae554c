"""What of a record can be asked for: the columns beside its exact bytes.

Owns: the mapping from a decoded record to its index columns and categories. Refuses: judging;
the columns are made from verified bytes and can be made again at any time.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway import record
from gateway.record import Completion, Decision, Record, Start
from gateway.timestamp import time_micros


class IndexRow(msgspec.Struct, frozen=True, kw_only=True):
    """Column values; None where a kind has no such thing. ``time_us``: None for no own time."""

    time_us: int | None = None
    of_id: str | None = None
    person: str | None = None
    agent: str | None = None
    provider: str | None = None
    model: str | None = None
    operation: str | None = None
    route: str | None = None
    tool: str | None = None
    tool_server: str | None = None
    outcome: str | None = None
    reason: str | None = None
    stage: str | None = None
    level: str | None = None
    policy_version: int | None = None
    policy_digest: str | None = None
    input_digest: bytes | None = None
    request_digest: bytes | None = None
    categories: list[str] = []


COLUMNS: Final = (
    "of_id",
    "person",
    "agent",
    "provider",
    "model",
    "operation",
    "route",
    "tool",
    "tool_server",
    "outcome",
    "reason",
    "stage",
    "level",
    "policy_version",
    "policy_digest",
    "input_digest",
    "request_digest",
)
"""The columns of table ``record`` that come from here, in order, after ``time_us``."""

EMPTY: Final = IndexRow()
_DIGEST_BYTES: Final = 32


def index_row(decoded: Record) -> IndexRow:
    """The columns of ``decoded``. A time that cannot be read is None, never an error."""
    if isinstance(decoded, Decision):
        return _decision(decoded)
    if isinstance(decoded, Completion):
        return IndexRow(
            time_us=_micros(decoded.time.ended),
            of_id=decoded.of,
            model=decoded.served,
            outcome=decoded.outcome,
            request_digest=digest_bytes(decoded.digest.request),
        )
    if isinstance(decoded, Start):
        return IndexRow(time_us=_micros(decoded.time.started))
    if isinstance(decoded, record.Admin):
        return IndexRow(person=decoded.who, operation=decoded.what)
    return EMPTY


def _decision(decoded: Decision) -> IndexRow:
    model, ruling = decoded.model, decoded.decision
    return IndexRow(
        time_us=_micros(decoded.time.decided),
        person=decoded.person.id,
        agent=decoded.agent.id,
        provider=model.provider,
        model=model.requested,
        operation=model.operation,
        route=model.route,
        tool=model.tool,
        tool_server=model.tool_server,
        outcome=ruling.outcome,
        reason=ruling.reason,
        stage=ruling.stage,
        level=decoded.data.level,
        policy_version=decoded.policy.version,
        policy_digest=decoded.policy.digest,
        input_digest=digest_bytes(decoded.digest.input),
        request_digest=digest_bytes(decoded.digest.request),
        categories=decoded.data.categories,
    )


def digest_bytes(text: str | None) -> bytes | None:
    """The 32 bytes of ``hmac-sha256:<hex>``; None for what is not of that form, never an error."""
    scheme, _, digits = (text or "").partition(":")
    try:
        digest = bytes.fromhex(digits)
    except ValueError:
        return None
    return digest if scheme == "hmac-sha256" and len(digest) == _DIGEST_BYTES else None


def _micros(text: str) -> int | None:
    try:
        return time_micros(text)
    except ValueError:
        return None
