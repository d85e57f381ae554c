"""Who must have cosigned a checkpoint for it to count (C2SP tlog-policy).

    witness alpha <verifier key> https://witness.example/
    witness beta <verifier key> https://other.example/
    group both 2 alpha beta
    quorum both

Owns: this text, and whether some witnesses are a quorum. Refuses: files, the cosignatures
themselves (``note.py``), and asking witnesses for them (``witness.py``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from gateway import note
from gateway.errors import DocumentInvalid
from gateway.note import NoteKey

POLICY_BYTES_MAX: Final = 64 * 1024
LINES_MAX: Final = 32
"""Logs, witnesses and groups, of each; the specification recommends to take as many."""

_NONE: Final = "none"
_SOME: Final = "some of them"
"""No key has this name: there are spaces in it."""
_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_THRESHOLD: Final = re.compile(r"[1-9][0-9]{0,3}")


class Witness(msgspec.Struct, frozen=True):
    """``name``: within the policy only; ``url``: the submission prefix, or None."""

    name: str
    key: NoteKey
    url: str | None


class Group(msgspec.Struct, frozen=True):
    """Witnesses a checkpoint when ``threshold`` of its ``members`` do."""

    threshold: int
    members: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """``quorum``: name of a witness or a group, or None where no cosignature is asked for."""

    logs: tuple[NoteKey, ...]
    witnesses: tuple[Witness, ...]
    groups: dict[str, Group]
    quorum: str | None

    def met(self, cosigners: Collection[str]) -> bool:
        """Whether the witnesses with these names, in this policy, are a quorum."""
        return self.quorum is None or self._witnessed(self.quorum, cosigners)

    def _witnessed(self, name: str, cosigners: Collection[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigners
        # A group names only what stands above it: this ends.
        found = sum(self._witnessed(member, cosigners) for member in group.members)
        return found >= group.threshold


def some_of(keys: Sequence[NoteKey], count: int) -> Policy:
    """The policy that ``count`` of the witnesses with these keys are enough. Keys of one name are
    those of one witness, and count once."""
    witnesses = tuple(Witness(key.verifier_key(), key, None) for key in keys)
    groups = {
        name: Group(1, tuple(one.name for one in witnesses if one.key.name == name))
        for name in {key.name: None for key in keys}
    }
    groups[_SOME] = Group(count, tuple(groups))
    return Policy((), witnesses, groups, _SOME)


def parse(data: bytes) -> Policy:
    """The policy in ``data``. Raises DocumentInvalid (``policy``), naming the line."""
    if len(data) > POLICY_BYTES_MAX or _FORBIDDEN.search(data):
        raise DocumentInvalid("policy", f"over {POLICY_BYTES_MAX} bytes, or control characters")
    reading = _Reading()
    # Octets above ASCII are opaque: names are compared and nothing else.
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = line.replace("\t", " ").strip(" ").split(" ")
        words = [word for word in words if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            reading.take(words[0], words[1:])
        except DocumentInvalid as error:
            raise DocumentInvalid("policy", f"line {number}: {error.detail}") from error
    return reading.policy()


class _Reading:
    """A policy as far as it was read."""

    def __init__(self) -> None:
        self._logs: list[NoteKey] = []
        self._witnesses: dict[str, Witness] = {}
        self._groups: dict[str, Group] = {}
        self._members: set[str] = set()
        self._quorums: list[str] = []

    def take(self, word: str, rest: Sequence[str]) -> None:
        match word, rest:
            case "log", [key] | [key, _]:
                self._add_log(_key(key, [*self._logs], cosigns=False))
            case "witness", [name, key]:
                self._add_witness(name, key, None)
            case "witness", [name, key, url]:
                self._add_witness(name, key, url)
            case "group", [name, threshold, *members] if members:
                self._add_group(name, threshold, members)
            case "quorum", [name]:
                if name != _NONE:
                    self._check_known(name)
                self._quorums.append(name)
            case _:
                raise DocumentInvalid("policy", f"{word!r} with {len(rest)} words is not known")

    def policy(self) -> Policy:
        if len(self._quorums) != 1:
            raise DocumentInvalid("policy", f"{len(self._quorums)} quorum lines, wanted one")
        (quorum,) = self._quorums
        return Policy(
            logs=tuple(self._logs),
            witnesses=tuple(self._witnesses.values()),
            groups=self._groups,
            quorum=None if quorum == _NONE else quorum,
        )

    def _add_log(self, key: NoteKey) -> None:
        _check_room(len(self._logs), "logs")
        self._logs.append(key)

    def _add_witness(self, name: str, key: str, url: str | None) -> None:
        self._check_new(name)
        _check_room(len(self._witnesses), "witnesses")
        known = [one.key for one in self._witnesses.values()]
        self._witnesses[name] = Witness(name, _key(key, known, cosigns=True), url)

    def _add_group(self, name: str, threshold: str, members: Sequence[str]) -> None:
        self._check_new(name)
        _check_room(len(self._groups), "groups")
        for member in members:
            self._check_known(member)
            if member in self._members:
                raise DocumentInvalid("policy", f"{member!r} is a member for the second time")
            self._members.add(member)
        counts = {"any": 1, "all": len(members)}
        if threshold not in counts and _THRESHOLD.fullmatch(threshold) is None:
            raise DocumentInvalid("policy", f"{threshold!r} is neither a number nor any nor all")
        count = counts.get(threshold) or int(threshold)
        if count > len(members):
            raise DocumentInvalid("policy", f"{count} of {len(members)} members is too many")
        self._groups[name] = Group(count, tuple(members))

    def _check_new(self, name: str) -> None:
        if name == _NONE or name in self._witnesses or name in self._groups:
            raise DocumentInvalid("policy", f"the name {name!r} is taken")

    def _check_known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise DocumentInvalid("policy", f"nothing above is named {name!r}")


def _check_room(count: int, what: str) -> None:
    if count >= LINES_MAX:
        raise DocumentInvalid("policy", f"more than {LINES_MAX} {what}")


def _key(text: str, known: Sequence[NoteKey], *, cosigns: bool) -> NoteKey:
    key = note.parse_key(text)
    if key.cosigns != cosigns:
        wanted = "a witness's" if cosigns else "a log's"
        raise DocumentInvalid("policy", f"the key of {key.name} is not {wanted}")
    if key.public in {one.public for one in known}:
        raise DocumentInvalid("policy", f"the key of {key.name} stands there twice")
    return key
