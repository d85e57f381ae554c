"""What a client made of what it saw: the form in which two implementations are compared."""

from __future__ import annotations

import msgspec


class Verdict(msgspec.Struct, frozen=True):
    """``code``: why it was refused, "" if the policy served is in force.

    ``root``: version trusted after it; ``head`` and ``content`` only where it is in force.
    """

    code: str
    root: int
    head: int | None = None
    content: str | None = None

    def agrees(self, other: Verdict) -> bool:
        """Whether both accepted the same, or both refused and trust the same root."""
        same = (self.root, self.head, self.content) == (other.root, other.head, other.content)
        return same and bool(self.code) == bool(other.code)
