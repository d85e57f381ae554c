"""What the books say against what is here: where one does not fit the other.

Owns: four comparisons of one log: certificates with chains, decisions with completions, what
instances counted with the records that came, and holes. Each gives a count and its first hundred.
Refuses: explaining. A certificate without a chain may be a daemon that was not used, and a decision
without a completion one whose outcome nobody knows.

Everything is read from indexes: at a million records it takes a second or two, not the payloads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

from central.record_store import counted, holes
from central.record_store.counted import Told
from central.record_store.logs import Log
from gateway.shipping import SeqRange
from gateway.timestamp import time_text

SHOWN_MAX: Final = 100
INSTANCES_MAX: Final = 10_000
"""The newest ones whose counters are compared."""

_SECOND_US: Final = 1_000_000
_WITHOUT_CHAIN: Final = """
SELECT c.instance, c.serial, max(c.issued_us)
FROM certificate c LEFT JOIN instance i ON i.log = c.log AND i.instance = c.instance
WHERE c.log = ? AND coalesce(i.head_seq, -1) < 0
GROUP BY c.instance HAVING min(c.received_us) < ? ORDER BY max(c.issued_us) DESC
"""
# The words are those of the partial index; only completions have an of_id.
_WITHOUT_COMPLETION: Final = """
SELECT r.id, r.instance, r.seq, r.time_us FROM record r
WHERE r.log = ? AND r.time_us < ?
AND r.kind = 'decision' AND r.stage = 'request' AND r.outcome IN ('allow', 'error_open')
AND NOT EXISTS (SELECT 1 FROM record c
    WHERE c.log = r.log AND c.of_id = r.id AND c.instance = r.instance)
ORDER BY r.time_us DESC
"""
_KEPT: Final = """
SELECT kind, outcome, count(*) FROM record
WHERE log = ? AND instance = ? AND kind IN ('decision', 'completion') AND seq <= ?
GROUP BY kind, outcome
"""
_CHAINS: Final = """
SELECT i.instance, i.head_seq, i.records, coalesce(h.acked_seq, -1), coalesce(h.durable_seq, -1)
FROM instance i LEFT JOIN chain_head h ON h.log = i.log AND h.instance = i.instance
WHERE i.log = ? ORDER BY i.first_seen_us DESC, i.instance LIMIT ?
"""


class BareCertificate(msgspec.Struct, frozen=True):
    """An instance that was certified and of which no record came. ``serial``: of its newest."""

    instance: str
    serial: str
    issued: str


class OpenDecision(msgspec.Struct, frozen=True):
    """A call that was allowed and whose completion did not come."""

    id: str
    instance: str
    seq: int
    time: str


class Discrepancy(msgspec.Struct, frozen=True):
    """``kind``: decisions or completions. ``counted``: by the instance, up to ``through_seq``;
    ``kept``: of these the records that are here. ``missing``: holes in its chain."""

    instance: str
    kind: str
    outcome: str
    counted: int
    kept: int
    through_seq: int
    missing: int


class Holed(msgspec.Struct, frozen=True):
    """A chain with holes; ``gaps``: the first hundred of them."""

    instance: str
    missing: int
    gaps: list[SeqRange]


class BareCertificates(msgspec.Struct, frozen=True):
    count: int
    items: list[BareCertificate]


class OpenDecisions(msgspec.Struct, frozen=True):
    count: int
    items: list[OpenDecision]


class Discrepancies(msgspec.Struct, frozen=True):
    count: int
    items: list[Discrepancy]


class Holes(msgspec.Struct, frozen=True):
    """``count``: of chains that have any; ``missing``: of records, over all of them."""

    count: int
    missing: int
    items: list[Holed]


class Reconciliation(msgspec.Struct, frozen=True):
    """``older_than_seconds``: certificates and decisions younger than that are left out.
    ``instances``: whose counters were compared, the newest ten thousand at most. ``turned_away``:
    calls by code, which have no records."""

    at: str
    older_than_seconds: int
    instances: int
    certificates_without_chain: BareCertificates
    decisions_without_completion: OpenDecisions
    discrepancies: Discrepancies
    holes: Holes
    turned_away: dict[str, int]


class _Chain(msgspec.Struct, frozen=True):
    instance: str
    head_seq: int
    records: int
    acked_seq: int
    durable_seq: int

    @property
    def end(self) -> int:
        """Past the last seq that must be here: what came, or was acknowledged."""
        return max(self.head_seq, self.acked_seq) + 1

    @property
    def missing(self) -> int:
        return self.end - self.records


def reconcile(
    connection: sqlite3.Connection, log: Log | None, older_than_seconds: int, now_us: int
) -> Reconciliation:
    """Compare everything of ``log``; None: a log without a leaf."""
    number = -1 if log is None else log.log
    before_us = now_us - older_than_seconds * _SECOND_US
    chains = [_Chain(*row) for row in connection.execute(_CHAINS, (number, INSTANCES_MAX))]
    turned_away: dict[str, int] = {}
    found: list[Discrepancy] = []
    for chain in chains:
        told = counted.newest(connection, number, chain.instance)
        if told is not None:
            found += _compare(connection, number, chain, told)
            for code, by_listener in told.counters.turned_away.items():
                turned_away[code] = turned_away.get(code, 0) + sum(by_listener.values())
    bare, bare_count = _first(connection.execute(_WITHOUT_CHAIN, (number, before_us)))
    unfinished, open_count = _first(connection.execute(_WITHOUT_COMPLETION, (number, before_us)))
    return Reconciliation(
        at=time_text(now_us),
        older_than_seconds=older_than_seconds,
        instances=len(chains),
        certificates_without_chain=BareCertificates(
            bare_count,
            [BareCertificate(one[0], one[1], time_text(one[2])) for one in bare],
        ),
        decisions_without_completion=OpenDecisions(
            open_count, [OpenDecision(*one[:3], time_text(one[3])) for one in unfinished]
        ),
        discrepancies=Discrepancies(len(found), found[:SHOWN_MAX]),
        holes=_holes(connection, number, chains),
        turned_away=dict(sorted(turned_away.items())),
    )


def _first(rows: sqlite3.Cursor) -> tuple[list[tuple[str, str, int, int]], int]:
    """The first hundred rows, and how many there are."""
    shown = rows.fetchmany(SHOWN_MAX)
    return shown, len(shown) + sum(1 for _ in rows)


def _compare(
    connection: sqlite3.Connection, log: int, chain: _Chain, told: Told
) -> Iterator[Discrepancy]:
    """Where fewer records are here than were counted, or, of a sealed chain, more.

    A call is counted after its record was signed, so a running instance's counters may be behind,
    never ahead. What it has not shipped yet is no discrepancy.
    """
    kept: dict[tuple[str, str], int] = {
        (kind, outcome): count
        for kind, outcome, count in connection.execute(_KEPT, (log, chain.instance, told.seq))
    }
    said = {("decision", outcome): count for outcome, count in told.counters.decisions.items()}
    said |= {("completion", outcome): count for outcome, count in told.counters.completions.items()}
    lacking = sum(max(0, count - kept.get(key, 0)) for key, count in said.items())
    unshipped = max(0, told.seq - chain.end + 1)
    for key in sorted(said.keys() | kept.keys()):
        ours, theirs = kept.get(key, 0), said.get(key, 0)
        if (theirs > ours and lacking > unshipped) or (ours > theirs and told.final):
            yield Discrepancy(
                chain.instance, f"{key[0]}s", key[1], theirs, ours, told.seq, chain.missing
            )


def _holes(connection: sqlite3.Connection, log: int, chains: list[_Chain]) -> Holes:
    holed = [chain for chain in chains if chain.missing]
    return Holes(
        count=len(holed),
        missing=sum(chain.missing for chain in holed),
        items=[
            Holed(
                chain.instance,
                chain.missing,
                holes.shown(connection, log, chain.instance, chain.end),
            )
            for chain in holed[:SHOWN_MAX]
        ],
    )
