"""Audit of one instance's chain, records in any order: what is missing, forked or out of turn.

Owns: contiguity, ``prev`` links, forks, and the turns of keys (nothing after ``seal``, nothing by
a key after its ``rotate``). Refuses: signatures and certificates: only verified records come here.

Memory is 32 bytes per record while they come in order, as they do in an export.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

_HASH_BYTES: Final = 32

Finding = Literal["chain", "forks"]


class Link(msgspec.Struct, frozen=True, gc=False):
    """A verified record's place. ``line``: where it stands in the export, from 1."""

    seq: int
    prev: str
    hash: bytes
    kid: str
    line: int


class Trouble(msgspec.Struct, frozen=True):
    """``finding``: the verdict that it makes false. ``taken``: the place had a record before, so
    this one says nothing new."""

    finding: Finding
    line: int
    detail: str
    taken: bool = False


class Gap(msgspec.Struct, frozen=True):
    """Records that are not in the export; both ends are missing."""

    first_seq: int
    last_seq: int


class ChainAudit:
    """One instance. ``add`` every record, then ask ``finish``."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.sealed_seq: int | None = None
        self.last: Link | None = None
        """The record with the highest seq."""
        self._base = 0
        self._base_link: Link | None = None
        self._hashes = bytearray()
        self._end: Link | None = None
        self._pending: dict[int, Link] = {}
        self._retired: dict[str, tuple[int, str]] = {}
        self._spans: dict[str, tuple[Link, Link]] = {}

    def add(self, link: Link) -> Trouble | None:
        """Take ``link`` in; the trouble that shows at once, if any."""
        if self._end is not None and link.seq == self._end.seq + 1 and not self._pending:
            # As they come in an export: the end is the highest, and nothing waits for it.
            self.last = link
            self._note_span(link)
            return self._append(link)
        known = self._hash_at(link.seq)
        if known is not None:
            at = self._at(link.seq)
            if known == link.hash:
                return Trouble("chain", link.line, f"{at} stands there twice", taken=True)
            return Trouble("forks", link.line, f"{at} has two different records", taken=True)
        if self.last is None or link.seq > self.last.seq:
            self.last = link
        self._note_span(link)
        if self._end is None:
            self._base, self._base_link = link.seq, link
            return self._append(link)
        if link.seq == self._end.seq + 1:
            trouble = self._append(link)
            self._drain()
            return trouble
        self._pending[link.seq] = link
        return None

    def seal(self, link: Link) -> None:
        """``link`` is a ``seal``: nothing may follow it, not even another one."""
        if self.sealed_seq is None or link.seq < self.sealed_seq:
            self.sealed_seq = link.seq

    def rotate(self, link: Link, next_kid: str) -> None:
        """``link`` is a ``rotate``: its key signs nothing after it, not even another one."""
        known = self._retired.get(link.kid)
        if known is None or link.seq < known[0]:
            self._retired[link.kid] = (link.seq, next_kid)

    def finish(self) -> Iterator[Trouble]:
        """What only shows when every record is in."""
        yield from self._unlinked()
        sealed_seq, last = self.sealed_seq, self.last
        if sealed_seq is not None and last is not None and last.seq > sealed_seq:
            detail = f"{self._at(last.seq)} comes after the seal at seq {sealed_seq}"
            yield Trouble("chain", last.line, detail)
        yield from self._turns()

    def gaps(self) -> list[Gap]:
        """The holes below the highest seq, in order."""
        if self._end is None:
            return []
        found, before = [], -1
        for first, last in self._stretches():
            if first > before + 1:
                found.append(Gap(before + 1, first - 1))
            before = last
        return found

    def hash_at(self, seq: int) -> bytes | None:
        """The record hash at ``seq``, or None where there is no record."""
        return self._hash_at(seq)

    def contradiction(self, link: Link) -> Trouble | None:
        """What a record that a store set aside says against this chain; ask it after ``finish``.

        None where it stands here, too, or at a place that nothing is known of.
        """
        known, before = self._hash_at(link.seq), self._hash_at(link.seq - 1)
        at = self._at(link.seq)
        if known == link.hash:
            return None
        if known is not None or (before is not None and link.prev != _text(before)):
            return Trouble("forks", link.line, f"another record was signed for {at}")
        if self.sealed_seq is not None and link.seq > self.sealed_seq:
            return Trouble("chain", link.line, f"{at} was signed after the seal")
        retired = self._retired.get(link.kid)
        if retired is not None and link.seq > retired[0]:
            return Trouble("chain", link.line, f"{at} was signed by a key retired at {retired[0]}")
        return None

    def _append(self, link: Link) -> Trouble | None:
        before, self._end = self._end, link
        self._hashes += link.hash
        if link.seq == 0:
            wanted = "sha256:" + link.kid.removeprefix("ed25519:")
            return self._broken(link, "the hash of its key") if link.prev != wanted else None
        if before is not None and link.prev != _text(before.hash):
            return self._broken(link, f"the record at seq {before.seq}")
        return None

    def _drain(self) -> None:
        # Filling a hole joins what came before; their links are checked like any other.
        while self._end is not None and self._end.seq + 1 in self._pending:
            link = self._pending.pop(self._end.seq + 1)
            if link.prev != _text(self._end.hash):
                self._pending[link.seq] = link
                return
            self._hashes += link.hash
            self._end = link

    def _hash_at(self, seq: int) -> bytes | None:
        place = seq - self._base
        if self._end is not None and 0 <= place <= self._end.seq - self._base:
            return bytes(self._hashes[place * _HASH_BYTES : (place + 1) * _HASH_BYTES])
        link = self._pending.get(seq)
        return None if link is None else link.hash

    def _unlinked(self) -> Iterator[Trouble]:
        for seq in sorted(self._pending):
            link = self._pending[seq]
            if seq == 0:
                if link.prev != "sha256:" + link.kid.removeprefix("ed25519:"):
                    yield self._broken(link, "the hash of its key")
                continue
            before = self._hash_at(seq - 1)
            if before is not None and link.prev != _text(before):
                yield self._broken(link, f"the record at seq {seq - 1}")
        base = self._base_link
        if base is not None and base.seq > 0:
            before = self._hash_at(base.seq - 1)
            if before is not None and base.prev != _text(before):
                yield self._broken(base, f"the record at seq {base.seq - 1}")

    def _turns(self) -> Iterator[Trouble]:
        for kid, (first, last) in self._spans.items():
            retired = self._retired.get(kid)
            if retired is not None and last.seq > retired[0]:
                yield Trouble(
                    "chain", last.line, f"{self._at(last.seq)} is by a key retired at {retired[0]}"
                )
            if first.seq == 0 or not self._has_before(first.seq):
                continue
            handed = any(
                seq == first.seq - 1 and next_kid == kid for seq, next_kid in self._retired.values()
            )
            if not handed:
                yield Trouble(
                    "chain",
                    first.line,
                    f"{self._at(first.seq)} is by another key, without a rotate",
                )

    def _has_before(self, seq: int) -> bool:
        return self._hash_at(seq - 1) is not None

    def _note_span(self, link: Link) -> None:
        span = self._spans.get(link.kid)
        if span is None:
            self._spans[link.kid] = (link, link)
        elif link.seq > span[1].seq:
            self._spans[link.kid] = (span[0], link)
        elif link.seq < span[0].seq:
            self._spans[link.kid] = (link, span[1])

    def _stretches(self) -> Iterator[tuple[int, int]]:
        assert self._end is not None
        run = (self._base, self._end.seq)
        return iter(sorted([run, *((seq, seq) for seq in self._pending)]))

    def _broken(self, link: Link, wanted: str) -> Trouble:
        return Trouble("chain", link.line, f"prev of {self._at(link.seq)} is not {wanted}")

    def _at(self, seq: int) -> str:
        return f"seq {seq} of {self.instance}"


def _text(digest: bytes) -> str:
    return "sha256:" + digest.hex()
