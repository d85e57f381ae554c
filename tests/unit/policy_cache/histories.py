"""Histories of a policy repository: what an honest publisher does, and what an attacker serves.

A history is plain data, so that two implementations can be handed the same one. Keys are numbers.
Owns: generating histories. Refuses: knowing what should be accepted.
"""

from __future__ import annotations

import random
from typing import Final

import msgspec

HOUR: Final = 3_600
DAY: Final = 24 * HOUR
STRANGER: Final = 99
"""A key that no root names."""


class Role(msgspec.Struct, frozen=True):
    """Keys by number, and how many of them must sign."""

    keys: tuple[int, ...]
    threshold: int


class RootPlan(msgspec.Struct, frozen=True):
    """``expires``: seconds since the history began, as in all plans; ``signed_by``: key numbers."""

    version: int
    epoch: int
    root: Role
    head: Role
    bundle: Role
    expires: int
    signed_by: tuple[int, ...]


class BundlePlan(msgspec.Struct, frozen=True):
    """``content``: which of many policies it carries."""

    version: int
    epoch: int
    content: int
    expires: int
    signed_by: tuple[int, ...]


class HeadPlan(msgspec.Struct, frozen=True):
    """Pins ``bundle`` as it was when the head was made."""

    version: int
    epoch: int
    root_version: int
    bundle: BundlePlan
    expires: int
    signed_by: tuple[int, ...]


class Step(msgspec.Struct, frozen=True):
    """What a client finds at ``now``. ``roots``: in the order of the versions they are served as;
    ``bundle``: what is served where the head's bundle is asked for. ``what``: for a reader."""

    now: int
    roots: tuple[RootPlan, ...]
    head: HeadPlan
    bundle: BundlePlan
    restart: bool
    what: str


class History:
    """A repository under one seed. ``steps`` of it: each a publication, then perhaps an attack."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._now = 0
        self._next_key = 10
        self._content = 0
        threshold = self._dice.choice((1, 2))
        root = Role((1, 2, 3), 2)
        self._roots = [
            RootPlan(1, 1, root, Role((4,), 1), Role((5, 6), threshold), 400 * DAY, (1, 2))
        ]
        self._bundles = [self._new_bundle(1)]
        self._heads = [self._new_head(1)]

    def steps(self, count: int) -> list[Step]:
        """The first ``count`` things a client sees."""
        return [self._step(first=at == 0) for at in range(count)]

    def _step(self, *, first: bool) -> Step:
        what = "first publication" if first else self._publish()
        roots, head = tuple(self._roots), self._heads[-1]
        found = Step(self._now, roots, head, head.bundle, False, what)
        if self._dice.random() < 0.55:
            found = self._attack(found)
        return msgspec.structs.replace(found, restart=self._dice.random() < 0.2)

    # -- an honest publisher -----------------------------------------------------------------

    def _publish(self) -> str:
        self._now += self._dice.choice((30, 30, 600, HOUR, 5 * HOUR, 3 * DAY))
        choice = self._dice.choices(
            ("head", "bundle", "root keys", "head key", "bundle keys", "epoch", "nothing"),
            (4, 5, 1, 1, 1, 1, 1),
        )[0]
        root = self._roots[-1]
        if choice == "nothing":
            return choice
        if choice == "bundle":
            self._bundles.append(self._new_bundle(self._bundles[-1].version + 1))
        elif choice == "root keys":
            self._rotate(root=Role((*root.root.keys[1:], self._new_key()), 2))
        elif choice == "head key":
            self._rotate(head=Role((self._new_key(),), 1))
        elif choice == "bundle keys":
            keys = (root.bundle.keys[1], self._new_key())
            self._rotate(bundle=Role(keys, root.bundle.threshold))
            self._bundles.append(self._new_bundle(self._bundles[-1].version + 1))
        elif choice == "epoch":
            keyed = {"head": Role((self._new_key(),), 1)} if self._dice.random() < 0.5 else {}
            self._rotate(epoch=root.epoch + 1, **keyed)
            self._bundles.append(self._new_bundle(self._version_after(self._bundles[-1].version)))
            self._heads.append(self._new_head(self._version_after(self._heads[-1].version)))
            return choice
        self._heads.append(self._new_head(self._heads[-1].version + 1))
        return choice

    def _version_after(self, version: int) -> int:
        # A new epoch may begin again.
        return self._dice.choice((1, version + 1))

    def _rotate(self, **changes: object) -> None:
        before = self._roots[-1]
        version, expires = before.version + 1, self._now + 400 * DAY
        after = msgspec.structs.replace(before, version=version, expires=expires, **changes)
        signers = (*before.root.keys[:2], *after.root.keys[:2])
        self._roots.append(msgspec.structs.replace(after, signed_by=tuple(dict.fromkeys(signers))))

    def _new_bundle(self, version: int) -> BundlePlan:
        self._content += 1
        root = self._roots[-1]
        life = self._dice.choice((HOUR, 30 * DAY, 30 * DAY))
        signers = root.bundle.keys[: root.bundle.threshold]
        return BundlePlan(version, root.epoch, self._content, self._now + life, signers)

    def _new_head(self, version: int) -> HeadPlan:
        root, life = self._roots[-1], self._dice.choice((600, 4 * HOUR, 4 * DAY))
        expires, bundle = self._now + life, self._bundles[-1]
        return HeadPlan(version, root.epoch, root.version, bundle, expires, root.head.keys)

    def _new_key(self) -> int:
        self._next_key += 1
        return self._next_key

    # -- somebody on the way, who may hold the key of the head ---------------------------------

    def _attack(self, found: Step) -> Step:
        attacks = (
            self._old_head, self._unsigned_head, self._wrongly_signed_head, self._stripped_bundle,
            self._wrongly_signed_bundle, self._swapped_bundle, self._withheld_root,
            self._root_by_one_side, self._skipped_root, self._repeated_root,
            self._stolen_head_rolls_back, self._stolen_head_says_two_things, self._two_contents,
            self._fast_forward, self._extra_signature, self._epoch_without_a_root,
        )  # fmt: skip
        attack = self._dice.choice(attacks)
        bent = attack(found)
        return msgspec.structs.replace(bent, what=f"{found.what}, {attack.__name__.strip('_')}")

    def _serve(self, found: Step, head: HeadPlan) -> Step:
        return msgspec.structs.replace(found, head=head, bundle=head.bundle)

    def _old_head(self, found: Step) -> Step:
        return self._serve(found, self._dice.choice(self._heads))

    def _unsigned_head(self, found: Step) -> Step:
        return self._serve(found, msgspec.structs.replace(found.head, signed_by=()))

    def _wrongly_signed_head(self, found: Step) -> Step:
        key = self._dice.choice((STRANGER, found.roots[-1].bundle.keys[0], 1))
        return self._serve(found, msgspec.structs.replace(found.head, signed_by=(key,)))

    def _extra_signature(self, found: Step) -> Step:
        signers = (STRANGER, *found.head.signed_by)
        return self._serve(found, msgspec.structs.replace(found.head, signed_by=signers))

    def _stripped_bundle(self, found: Step) -> Step:
        stripped = msgspec.structs.replace(found.bundle, signed_by=found.bundle.signed_by[1:])
        return msgspec.structs.replace(found, bundle=stripped)

    def _wrongly_signed_bundle(self, found: Step) -> Step:
        by = self._dice.choice(
            ((found.roots[-1].head.keys[0], STRANGER), (found.roots[-1].bundle.keys[0], STRANGER))
        )
        self._content += self._dice.choice((0, 1))
        bundle = msgspec.structs.replace(
            found.bundle,
            version=found.bundle.version + 1,
            content=self._content,
            signed_by=by,
        )
        return self._stolen_head(found, found.head.version + 1, bundle)

    def _swapped_bundle(self, found: Step) -> Step:
        return msgspec.structs.replace(found, bundle=self._dice.choice(self._bundles))

    def _withheld_root(self, found: Step) -> Step:
        return msgspec.structs.replace(found, roots=found.roots[:-1] or found.roots)

    def _bent_root(self, found: Step, **changes: object) -> Step:
        newest = found.roots[-1]
        bad = msgspec.structs.replace(newest, **{"version": newest.version + 1, **changes})
        return msgspec.structs.replace(found, roots=(*found.roots, bad))

    def _root_by_one_side(self, found: Step) -> Step:
        ours = (STRANGER, STRANGER - 1)
        if self._dice.random() < 0.5:
            # The new keys alone sign, and name themselves.
            return self._bent_root(found, root=Role(ours, 2), signed_by=ours)
        return self._bent_root(found, root=Role(ours, 2), signed_by=found.roots[-1].root.keys[:2])

    def _skipped_root(self, found: Step) -> Step:
        return self._bent_root(found, version=found.roots[-1].version + 2)

    def _repeated_root(self, found: Step) -> Step:
        return msgspec.structs.replace(found, roots=(*found.roots, found.roots[-1]))

    def _stolen_head(self, found: Step, version: int, bundle: BundlePlan) -> Step:
        head = msgspec.structs.replace(found.head, version=version, bundle=bundle)
        return self._serve(found, head)

    def _stolen_head_rolls_back(self, found: Step) -> Step:
        return self._stolen_head(found, found.head.version + 1, self._dice.choice(self._bundles))

    def _stolen_head_says_two_things(self, found: Step) -> Step:
        again = msgspec.structs.replace(found.head, expires=found.head.expires + HOUR)
        return self._serve(found, again)

    def _two_contents(self, found: Step) -> Step:
        # Two publishers of one version, both of whom the root trusts.
        self._content += 1
        other = msgspec.structs.replace(found.bundle, content=self._content)
        return self._stolen_head(found, found.head.version + 1, other)

    def _epoch_without_a_root(self, found: Step) -> Step:
        # Whoever holds the head key would like the floors to fall.
        bundle = msgspec.structs.replace(found.bundle, epoch=found.bundle.epoch + 1)
        stolen = self._stolen_head(found, found.head.version + 1, bundle)
        head = msgspec.structs.replace(stolen.head, epoch=stolen.head.epoch + 1)
        return self._serve(found, head)

    def _fast_forward(self, found: Step) -> Step:
        by = self._dice.choice((1_000, 2_000_000))
        return self._stolen_head(found, found.head.version + by, found.bundle)
