"""What became of a call of the demonstration: the line between its agent and its report.

Owns: the type. Refuses: importing any SDK: whoever only shows outcomes does not wait for them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Expected = Literal["allowed", "denied"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one call. ``upstream``: the far end's counter that would have counted it."""

    name: str
    client: str
    asked: str
    expected: Expected
    outcome: str
    detail: str
    exception: str | None

    @property
    def as_expected(self) -> bool:
        return self.outcome == self.expected
