"""Test vectors of heads that offer a candidate to a part of the fleet.

Owns: the cases of two channels, whose verdicts are written here by hand. Refuses: the form of
vectors (``vectors.py``).
"""

from __future__ import annotations

from gateway import documents, issuing
from gateway.documents import POLICY_HEAD
from gateway.issuing import Issued
from policy_cache.trusted import Floors
from tests.unit.policy_cache.policy_world import HEAD, Publisher, candidate, policy
from tests.unit.policy_cache.vectors import Cases, changed

TAKES, TAKES_NONE = "eu-3", "eu-1"
"""Their places in SCOPE are 38 and 91: at 50 % the first takes a candidate, the other does not."""


def add_to(cases: Cases) -> None:
    """Every case."""
    for part in (_choices, _floors, _forms):
        part(cases)


def _choices(cases: Cases) -> None:
    publisher = Publisher()
    stable, new = publisher.bundle(5), publisher.bundle(6, policy(show_rule_ids=True))

    def served(verdict: str, name: str, percent: int, bundle: Issued, who: str | None) -> None:
        head = publisher.head(stable, bundle_version=5, candidate=candidate(new, 6, percent))
        cases.add(verdict, name, publisher, head=head, bundle=bundle, placement=who)

    served("accepted", "the candidate for a daemon that is chosen", 50, new, TAKES)
    served("accepted", "the pinned bundle for one that is not", 50, stable, TAKES_NONE)
    served("accepted", "the pinned bundle for one without a name", 100, stable, None)
    served("accepted", "a candidate for 0 %", 0, stable, TAKES)
    served("accepted", "a candidate for 100 %", 100, new, TAKES_NONE)
    served("length", "the pinned bundle for a daemon that is chosen", 50, stable, TAKES)
    served("length", "the candidate for a daemon that is not", 50, new, TAKES_NONE)


def _floors(cases: Cases) -> None:
    publisher = Publisher()
    stable, new = publisher.bundle(5), publisher.bundle(8)
    other = publisher.bundle(8, policy(show_rule_ids=True))
    floors = Floors(
        epoch=1, head_version=10, head_digest="sha256:" + "0" * 64, bundle_version=5,
        bundle_digest=stable.digest, candidate_version=8, candidate_digest=new.digest,
    )  # fmt: skip

    def head(
        verdict: str, name: str, pinned: Issued, version: int,
        offered: Issued | None = None, above: int = 0, study: int = 0,
    ) -> None:  # fmt: skip
        made = publisher.head(
            pinned, 11, bundle_version=version,
            candidate=None if offered is None else candidate(offered, above),
        )  # fmt: skip
        cases.add(
            verdict, name, publisher, head=made, bundle=offered or pinned, floors=floors,
            placement=TAKES, study=[study] if study else [],
        )  # fmt: skip

    head("accepted", "the same candidate again", stable, 5, new, 8)
    head("accepted", "a candidate that is withdrawn", stable, 5)
    head("accepted", "a candidate that is promoted", new, 8)
    later = publisher.bundle(7)
    head("accepted", "a pinned bundle between the two floors", later, 7)
    head("accepted", "a higher candidate", stable, 5, publisher.bundle(9), 9)
    head("rollback", "a candidate below an earlier one", stable, 5, later, 7, 16)
    head("rollback", "a pinned bundle below the pinned one", publisher.bundle(4), 4, new, 8, 16)
    head("rollback", "a candidate below the pinned bundle", later, 7, publisher.bundle(6), 6, 16)
    head("rollback", "a candidate that is the pinned bundle", new, 8, new, 8, 16)
    head("equivocation", "another candidate of the same version", stable, 5, other, 8, 18)
    head("equivocation", "a pinned bundle that is another than the candidate", other, 8, study=18)
    head("equivocation", "two of one version in one head", later, 7, other, 7, 18)
    far = 8 + 1_000_001
    head("jump", "a candidate a million and one above", stable, 5, publisher.bundle(far), far, 21)
    renewed = Publisher()
    renewed.roots.clear()
    renewed.add_root(epoch=2)
    first, second = renewed.bundle(epoch=2), renewed.bundle(2, epoch=2)
    begun = renewed.head(first, epoch=2, candidate=candidate(second, 2))
    cases.add(
        "accepted", "a new epoch begins the candidates anew", renewed, head=begun, bundle=second,
        floors=floors, placement=TAKES, study=[21],
    )  # fmt: skip
    ended = renewed.head(first, epoch=2)
    cases.add(
        "accepted", "a new epoch without a candidate", renewed, head=ended, bundle=first,
        floors=floors, study=[21],
    )  # fmt: skip


def _forms(cases: Cases) -> None:
    publisher = Publisher()
    stable, new = publisher.bundle(), publisher.bundle(2)
    good = publisher.head(stable, candidate=candidate(new, 2, 50))

    def bad(verdict: str, name: str, old: bytes, by: bytes) -> None:
        head = changed(good, old, by, POLICY_HEAD, [HEAD])
        cases.add(verdict, f"a candidate for {name}", publisher, head=head, study=[13])

    bad("unreadable", "101 %", b'"percent":50', b'"percent":101')
    bad("unreadable", "-1 %", b'"percent":50', b'"percent":-1')
    bad("unreadable", "a fraction of a percent", b'"percent":50', b'"percent":0.5')
    bad("unreadable", "nobody says how many", b',"percent":50', b"")
    empty = documents.Candidate(version=2, digest=new.digest, length=0, percent=50)
    head = publisher.head(stable, candidate=empty)
    cases.add("length", "a candidate of no bytes", publisher, head=head, study=[22])
    wrong = issuing.sign(documents.BUNDLE, new.payload, [HEAD])
    cases.add(
        "signature", "a candidate that the head's key signed", publisher, head=good, bundle=wrong,
        placement=TAKES, study=[11],
    )  # fmt: skip
