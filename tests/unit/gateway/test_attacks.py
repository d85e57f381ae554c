"""One export for every attack on records: which verdicts it changes, exactly, and what is named."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pytest

from gateway.evidence import Report, verify_export
from tests.attacked import World
from tests.attacks import (
    Attack,
    after_rotate,
    back_dated,
    changed_line,
    cut_below_pin,
    cut_chain,
    ended_by_the_store,
    foreign_checkpoint,
    forged_after_rotation,
    half_a_line,
    hidden_certificate,
    made_up_call,
    made_up_look,
    malleated,
    missing_line,
    other_view,
    post_dated,
    replayed_start,
    revoked_key,
    rewritten,
    small_order_key,
    stale_checkpoint,
    swapped_lines,
    truncated,
    unlogged_certificate,
    withheld_chain,
    wrong_kid,
    wrong_origin,
)
from tests.exports import PIN


@lru_cache(maxsize=1)
def good() -> Report:
    world = World().play()
    return verify_export(world.lines(), PIN, world.asked())


def judged(attack: Attack) -> tuple[dict[str, str], Report]:
    """The verdicts that are other ones than those of the good export, and the report."""
    lines, asked = attack
    report = verify_export(lines, PIN, asked)
    before = {one.name: one.state for one in good().verdicts}
    return {one.name: one.state for one in report.verdicts if one.state != before[one.name]}, report


def test_the_good_export_is_proved_in_every_respect() -> None:
    assert {one.state for one in good().verdicts} == {"true"}
    assert good().exit_code == 0
    assert good().cause is None
    assert good().complete
    assert good().grades.cosigned == good().records
    assert good().anchor is not None


FALSE, LACKING, NONE = "false", "incomplete", "not_applicable"
UNANCHORED = {
    "inclusion": LACKING,
    "consistency": LACKING,
    "witnesses": LACKING,
    "revocations": LACKING,
    "time": LACKING,
    "instances": NONE,
}
"""What follows from having no checkpoint that counts."""
UNLOGGED = {**UNANCHORED, "time": NONE}
"""The same where no leaves are left to give a time of arrival."""
OTHER_LOG = {"consistency": FALSE, "witnesses": LACKING, "revocations": LACKING}
"""The log is not the one that the auditor and the witness have seen."""

ATTACKS: dict[str, tuple[Callable[[], Attack], dict[str, str], str]] = {
    "A1 a record is altered": (
        lambda: changed_line(logged=False),
        {"signatures": FALSE, "chain": LACKING, "inclusion": FALSE},
        "signatures: the record's signature is not valid",
    ),
    "A1 a record is altered, and the log rewritten": (
        lambda: changed_line(logged=True),
        {"signatures": FALSE, "chain": LACKING, **OTHER_LOG},
        "signatures: the record's signature is not valid",
    ),
    "A2 a record is deleted": (
        lambda: missing_line(logged=False),
        {"chain": LACKING, "inclusion": LACKING, "outcomes": LACKING},
        "chain: aeaqcaibaeaqcaibaeaqcaibae lacks seq 2",
    ),
    "A2 a record is deleted, and the log rewritten": (
        lambda: missing_line(logged=True),
        {"chain": LACKING, **OTHER_LOG, "outcomes": LACKING},
        "two histories",
    ),
    "A3 a chain is cut at its end, and the log rewritten": (
        cut_chain,
        {"witnesses": LACKING, "tail": LACKING},
        "witnesses: 0 of 1 witnesses cosigned",
    ),
    "A3 a log is cut below what was seen of it": (
        cut_below_pin,
        {
            "consistency": FALSE,
            "witnesses": LACKING,
            "revocations": NONE,
            "instances": LACKING,
            "tail": LACKING,
            "outcomes": LACKING,
        },
        "consistency: the pinned checkpoint (8 leaves",
    ),
    "A4 records are reordered": (
        lambda: swapped_lines(logged=False),
        {"inclusion": FALSE},
        "inclusion: the record is leaf 11, and leaf 12 stands before it",
    ),
    "A4 records are reordered, and the log rewritten": (
        lambda: swapped_lines(logged=True),
        OTHER_LOG,
        "two histories",
    ),
    "A5 a record is back-dated": (
        back_dated,
        {"time": FALSE},
        "is earlier than what its chain had seen by then",
    ),
    "A5 a record is post-dated": (post_dated, {"time": FALSE}, "is later than it arrived"),
    "A6 a record is forged with a key stolen after its rotation": (
        forged_after_rotation,
        {"forks": FALSE, "revocations": FALSE},
        "forks: seq 4 of aeaqcaibaeaqcaibaeaqcaibae has two different records",
    ),
    "A6 a revoked key goes on": (
        revoked_key,
        {"revocations": FALSE},
        "revocations: its key is not trusted from",
    ),
    "A7 an instance's whole chain is withheld": (
        withheld_chain,
        {"instances": LACKING},
        "was certified, and no record of it is in the log",
    ),
    "A7 a certificate is hidden": (
        hidden_certificate,
        {"entitlement": LACKING, "inclusion": LACKING},
        "entitlement: the record's key is not certified",
    ),
    "A7 a certificate is kept out of the log": (
        unlogged_certificate,
        {"inclusion": FALSE, "instances": LACKING},
        "inclusion: the log does not hold this document",
    ),
    "A8 a daemon was shown another log": (
        lambda: other_view(pinned=False),
        {"consistency": FALSE},
        "consistency: a daemon's log_seen (3 leaves",
    ),
    "A8 the auditor was shown another log": (
        lambda: other_view(pinned=True),
        {"consistency": FALSE, "revocations": LACKING},
        "consistency: the pinned checkpoint (3 leaves",
    ),
    "duplicate keys": (
        lambda: rewritten(lambda payload: payload.replace(b'"v":1,', b'"v":1,"v":1,', 1)),
        {"form": FALSE, "chain": LACKING},
        "form: the record is not in its exact form",
    ),
    "wrong kid": (
        wrong_kid,
        {"signatures": FALSE, "chain": LACKING},
        "signatures: the envelope names another key than the record",
    ),
    "small-order key": (
        small_order_key,
        {"signatures": FALSE, "entitlement": LACKING},
        "signatures: certificate: key: the public key is not a point",
    ),
    "malleated signature": (
        malleated,
        {"signatures": FALSE, "chain": LACKING, "inclusion": FALSE},
        "signatures: the record's signature is not valid",
    ),
    "swapped tenant": (
        lambda: rewritten(lambda payload: payload.replace(b'"acme"', b'"globex"', 1)),
        {"entitlement": FALSE, "chain": FALSE, "outcomes": LACKING},
        "entitlement: the key is certified for another instance or tenant",
    ),
    "look made up by a daemon": (
        made_up_look,
        {"entitlement": FALSE},
        "certified for topology sidecar",
    ),
    "chain ended by the store": (
        ended_by_the_store,
        {"entitlement": FALSE, "tail": LACKING},
        "a central service says where the chain",
    ),
    "call made up by the store": (
        lambda: made_up_call("sidecar"),
        {"entitlement": FALSE},
        "certified for topology central",
    ),
    "call in the store's own name": (
        lambda: made_up_call("central"),
        {"entitlement": FALSE},
        "certified for topology central",
    ),
    "replayed start": (replayed_start, {"chain": FALSE}, "stands there twice"),
    "record after rotate": (after_rotate, {"chain": FALSE}, "is by a key retired at 4"),
    "stale checkpoint": (
        stale_checkpoint,
        {"consistency": FALSE, "revocations": LACKING, "tail": LACKING},
        "is larger than the log is here, 18",
    ),
    "checkpoint by a foreign key": (
        foreign_checkpoint,
        {"signatures": FALSE, **UNANCHORED},
        "signatures: checkpoint: signature: 0 of 1",
    ),
    "wrong origin: another tenant's log": (
        lambda: wrong_origin("store.example/log/globex/eu-west-1/1"),
        {**UNANCHORED, "inclusion": FALSE},
        "globex/eu-west-1/1 is the log of another tenant or region",
    ),
    "wrong origin: another host's log": (
        lambda: wrong_origin("other.example/log/acme/eu-west-1/1"),
        OTHER_LOG,
        "and no statement leads there",
    ),
    "wrong origin: a log that nothing opened": (
        lambda: wrong_origin("store.example/log/acme/eu-west-1/2"),
        OTHER_LOG,
        "and no statement leads there",
    ),
    "truncated: no checkpoint": (
        lambda: truncated(1),
        UNANCHORED,
        "inclusion: the export does not",
    ),
    "truncated: no leaves": (lambda: truncated(2), UNLOGGED, "inclusion: the export does not"),
    "truncated: records are missing": (
        lambda: truncated(5),
        {**UNLOGGED, "tail": LACKING},
        "inclusion: the export does not",
    ),
    "truncated: in the middle of a line": (
        half_a_line,
        {"form": FALSE, **UNANCHORED},
        "form: not a line of an export",
    ),
}
"""Name → the attack, the verdicts that it changes, and what the report names first."""


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_changes_just_these_verdicts(name: str) -> None:
    make, expected, cause = ATTACKS[name]
    changed, report = judged(make())
    assert changed == expected
    assert report.cause is not None
    found, problem = report.cause
    assert cause in f"{found}: {problem.cause}"
    assert report.exit_code == (1 if FALSE in expected.values() else 3)
