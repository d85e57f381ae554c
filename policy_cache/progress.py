"""What became of the newest policy that was seen, and when: what a daemon reports of it.

Owns: the times of the policy in force, the last refusal, and telling a waiter that one of them
changed. Refuses: sending anything. The latest wins: who is slow misses what lay between.
"""

from __future__ import annotations

import anyio
import msgspec

from gateway.policy_report import Channel


class Refusal(msgspec.Struct, frozen=True):
    """A candidate that was refused. Version and digest are None where its head was."""

    code: str
    time_us: int
    head_version: int | None = None
    version: int | None = None
    digest: str | None = None


class Progress:
    """``received_us``, ``verified_us``, ``activated_us``: of the policy in force, None where it
    came from the disk; ``refused``: None once a newer candidate was accepted; ``channel``: whether
    a canary's candidate is in force."""

    def __init__(self) -> None:
        self.received_us: int | None = None
        self.verified_us: int | None = None
        self.activated_us: int | None = None
        self.refused: Refusal | None = None
        self.channel: Channel = "stable"
        self.news = anyio.Event()
        self._came_us: int | None = None
        self._checked_us: int | None = None

    def came(self, now_us: int) -> None:
        """A head was received."""
        self._came_us, self._checked_us = now_us, None

    def checked(self, now_us: int) -> None:
        """The bundle that it pins was verified, compiled and tested."""
        self._checked_us = now_us

    def in_force(self, now_us: int) -> None:
        """Another bundle or lock decides calls from here on."""
        self.received_us, self.verified_us = self._came_us, self._checked_us
        self.activated_us = None if self._came_us is None else now_us
        self._tell()

    def on_channel(self, channel: Channel) -> None:
        """What is in force came this way; a candidate that is promoted stays in force."""
        if channel != self.channel:
            self.channel = channel
            self._tell()

    def refuse(self, refusal: Refusal) -> None:
        """Keep ``refusal``; the same one again is no news."""
        before = self.refused
        self.refused = refusal
        if before is None or _what(before) != _what(refusal):
            self._tell()

    def accepted(self) -> None:
        """A candidate was accepted whole: what was refused before is past."""
        if self.refused is not None:
            self.refused = None
            self._tell()

    def _tell(self) -> None:
        told, self.news = self.news, anyio.Event()
        told.set()


def _what(refusal: Refusal) -> tuple[str, int | None, str | None]:
    # A head is signed again each minute: only its content makes another refusal.
    return refusal.code, refusal.version, refusal.digest
