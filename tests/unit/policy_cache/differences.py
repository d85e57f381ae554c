"""Where our verifier parts from the TUF specification on purpose, and why.

Each difference holds for exactly the steps that its predicate describes: another one of the same
look is a fault of one of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.limits import POLICY_VERSION_JUMP_MAX
from tests.unit.policy_cache.histories import BundlePlan, HeadPlan, RootPlan, Step
from tests.unit.policy_cache.verdict import Verdict


class Past(msgspec.Struct):
    """What both made of the steps before, alike. ``accepted``: the newest that is in force, under
    ``root``; ``newest_root``: trusted since."""

    accepted: Step | None = None
    held: Verdict | None = None
    root: RootPlan | None = None
    newest_root: RootPlan | None = None
    refused: list[Step] = []

    def note(self, step: Step, verdict: Verdict) -> None:
        """Both came to ``verdict``."""
        self.newest_root = self.trusted(step, verdict)
        if verdict.code:
            self.refused.append(step)
        else:
            self.accepted, self.held, self.root = step, verdict, self.newest_root

    def trusted(self, step: Step, verdict: Verdict) -> RootPlan | None:
        """The root that is trusted after ``step``, which may have been withheld in it."""
        if self.newest_root is not None and self.newest_root.version == verdict.root:
            return self.newest_root
        return next((root for root in step.roots if root.version == verdict.root), None)


Holds = Callable[[Step, Verdict, Verdict, Past], bool]


class Difference(msgspec.Struct, frozen=True):
    """``why`` we do otherwise; ``holds``: whether a step (ours, theirs, past) is a case of it."""

    name: str
    why: str
    holds: Holds


def _unsigned(plan: HeadPlan | BundlePlan) -> HeadPlan | BundlePlan:
    changes: dict[str, object] = {"signed_by": ()}
    if isinstance(plan, HeadPlan):
        changes["bundle"] = _unsigned(plan.bundle)
    return msgspec.structs.replace(plan, **changes)


def _new_epoch(step: Step, past: Past) -> bool:
    return past.accepted is not None and step.head.epoch > past.accepted.head.epoch


def _two_of_one_version(step: Step, ours: Verdict, theirs: Verdict, past: Past) -> bool:
    if ours.code != "equivocation" or theirs.code or past.accepted is None:
        return False
    held = past.accepted.head
    heads = step.head.version == held.version and _unsigned(step.head) != _unsigned(held)
    bundle, other = step.head.bundle, held.bundle
    return heads or (bundle.version == other.version and _unsigned(bundle) != _unsigned(other))


def _far_jump(step: Step, ours: Verdict, theirs: Verdict, past: Past) -> bool:
    before = past.accepted.head.version if past.accepted is not None else 0
    far = before > 0 and step.head.version - before > POLICY_VERSION_JUMP_MAX
    return far and ours.code == "jump" and not theirs.code


def _refused_before(step: Step, ours: Verdict, theirs: Verdict, past: Past) -> bool:
    return not ours.code and any(
        one.head.version >= step.head.version or one.head.bundle.version > step.head.bundle.version
        for one in past.refused
    )


def _epoch_alone(step: Step, ours: Verdict, theirs: Verdict, past: Past) -> bool:
    if past.accepted is None or not _new_epoch(step, past):
        return False
    held = past.accepted.head
    lower = step.head.version <= held.version or step.head.bundle.version <= held.bundle.version
    # Of a version that it holds python-tuf reads nothing more, be that good or bad.
    return lower and (theirs.head == held.version or bool(theirs.code and not ours.code))


def _keys_alone(step: Step, ours: Verdict, theirs: Verdict, past: Past) -> bool:
    if past.accepted is None or theirs.code or _new_epoch(step, past):
        return False
    root = past.trusted(step, ours)
    rotated = root is not None and past.root is not None and root.head != past.root.head
    return rotated and ours.code in ("rollback", "equivocation", "jump")


def _root_withheld(step: Step, ours: Verdict, theirs: Verdict, past: Past) -> bool:
    known = max(root.version for root in step.roots)
    return ours.code == "root_behind" and not theirs.code and step.head.root_version > known


def _other_epoch(step: Step, ours: Verdict, theirs: Verdict, past: Past) -> bool:
    if theirs.code or ours.code not in ("mismatch", "epoch"):
        return False
    epochs = (step.head.epoch, step.head.bundle.epoch)
    return epochs != (step.roots[-1].epoch,) * 2


DIFFERENCES: Final = (
    Difference(
        "two of one version",
        "two documents of one version are an alarm; TUF keeps the older head without a word, and"
        " takes the other bundle",
        _two_of_one_version,
    ),
    Difference(
        "far jump",
        "a stolen head key must not be able to use up the version numbers at one blow",
        _far_jump,
    ),
    Difference(
        "refused before",
        "a refused candidate changes nothing that is held; TUF keeps the timestamp of an update"
        " whose rest was refused, so that whoever holds the head key can shut out good updates",
        _refused_before,
    ),
    Difference(
        "epoch alone",
        "the way back from a version that was driven up is a new epoch, which only a root begins",
        _epoch_alone,
    ),
    Difference(
        "keys alone",
        "floors stay when keys are rotated in the course of business; TUF forgets them",
        _keys_alone,
    ),
    Difference(
        "root withheld",
        "a head names the root that it was made under: whoever withholds a root is noticed",
        _root_withheld,
    ),
    Difference(
        "other epoch",
        "a head or bundle of another epoch than the root's is not the policy, however it is signed",
        _other_epoch,
    ),
)


def listed(step: Step, ours: Verdict, theirs: Verdict, past: Past) -> Difference | None:
    """The difference that explains why ``ours`` is not ``theirs``, if one does."""
    for difference in DIFFERENCES:
        if difference.holds(step, ours, theirs, past):
            return difference
    return None
