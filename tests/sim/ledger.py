"""What everybody outside the daemon knows: each call, what became of it, and what is wrong.

Owns: the facts that checkers compare with records, kept by those who saw them happen (agents,
providers, the wires). Refuses: asking the daemon anything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from tests.sim.twists import PLAIN, Door, Twist

Kind = Literal[
    "chat",
    "stream",
    "quick",
    "tool",
    "events",
    "batch",
    "session",
    "listen",
    "response",
    "responses",
    "message",
    "messages",
    "gemini",
    "geminis",
    "converse",
    "converses",
    "embedding",
    "models",
    "http",
    "file",
]
"""What is asked for; ``asking.FORMS`` says how. A plural is a stream."""


class Sent(msgspec.Struct, frozen=True):
    """What a provider said of its answer: the model, token counts and the reason of its end."""

    served: str | None
    input: int | None
    output: int | None
    reason: str | None


@dataclass
class Call:
    """One call of an agent. ``forwarded``: how often it reached a provider; ``life``: of the
    daemon that was asked; ``complete``: whether its answer came whole; ``version_floor``: of the
    policy in force when it was asked; ``asked_at`` and ``asked_us``: loop time and true time;
    ``sent``: what a provider sent whole; ``asked``: the body as the agent sent it; ``got``: as a
    provider got it, None where none did."""

    name: str
    kind: Kind
    life: int
    version_floor: int = 0
    status: int | None = None
    decision_id: str | None = None
    code: str | None = None
    complete: bool = False
    hung_up: bool = False
    forwarded: int = 0
    twist: Twist = PLAIN
    door: Door = "unix"
    asked_at: float = 0.0
    asked_us: int = 0
    sent: Sent | None = None
    asked: bytes = b""
    got: bytes | None = None


@dataclass(frozen=True)
class Violation:
    """A law was broken. ``checker`` is its stable name."""

    checker: str
    text: str


@dataclass(frozen=True)
class Rotten:
    """A record that no longer reads back. ``name``: of the call, if it is a decision."""

    id: str
    name: str | None


@dataclass
class Ledger:
    """Everything that was seen. ``answered``: decision → status; ``answered_under``: decision →
    version of the policy in force then; ``turned_away``: answers without a decision, by life;
    ``crashes``: by the operation before which they came; ``rotten``: by
    instance and seq; ``alarmed``: instances of which a daemon's status said so; ``gone``: ids by
    instance and seq of what a restored store lost and nobody else has, ``gone_names`` of the
    calls; ``digest_keys``: what keys the digests in records, by instance."""

    calls: dict[str, Call] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    answered_under: dict[str, int] = field(default_factory=dict)
    turned_away: Counter[int] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    rotten: dict[tuple[str, int], Rotten] = field(default_factory=dict)
    alarmed: set[str] = field(default_factory=set)
    gone: dict[tuple[str, int], str] = field(default_factory=dict)
    gone_names: set[str | None] = field(default_factory=set)
    digest_keys: dict[str, bytes] = field(default_factory=dict)
    crashes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def violate(self, checker: str, text: str) -> None:
        """Note a broken law; the world stops at the first."""
        self.violations.append(Violation(checker, text))

    def arrived(self, name: str) -> None:
        """A provider got call ``name``."""
        call = self.calls.get(name)
        if call is None:
            self.violate("forwarding", f"{name} reached a provider and nobody asked for it")
            return
        call.forwarded += 1
        if call.forwarded > 1:
            self.violate("forwarding", f"{name} reached a provider {call.forwarded} times")
