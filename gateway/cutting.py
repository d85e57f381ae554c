"""Cuts values to their caps, and says so: no record can outgrow what was reserved for it.

A cap counts bytes of the value's JSON text without its quotes, because those are the bytes that
a record has; a cut falls between code points. Whatever is cut is named with the length and the
keyed digest of the whole value, so that who holds the value can still find it.

Owns: the cut and its note. Refuses: choosing caps (``limits.py``) and deciding what a cut means
for the call; a value that policy must see whole is only remembered here (``too_long``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway import limits
from gateway.record import Cut
from gateway.seal import keyed_digest

_ESCAPED_BYTES_MAX: Final = 6
"""The longest JSON text of one code point (RFC 8259 section 7): ``\\u0000``; UTF-8 needs 4."""

MANY: Final = "*"
"""Path of the entry that stands for all cuts beyond ``limits.CUTS_MAX``: its length is their
count, its digest covers the JSON text of their entries."""

_encoder: Final = msgspec.json.Encoder()


class Cutter:
    """The cuts of one record, under the digest key of the instance that writes it.

    ``too_long``: the path of the first value given to ``whole`` that had to be cut, or None. The
    caller refuses such a call with ``value_too_long``.
    """

    def __init__(self, digest_key: bytes) -> None:
        self._digest_key = digest_key
        self._cuts: list[Cut] = []
        self.too_long: str | None = None

    def __repr__(self) -> str:
        return f"Cutter(cuts={[cut.path for cut in self._cuts]}, too_long={self.too_long!r})"

    def text(self, path: str, value: str | None, bytes_max: int) -> str | None:
        """``value``, or as many of its first code points as ``bytes_max`` bytes of JSON hold."""
        # Nearly every value is far below its cap; that is decided without looking at it.
        if value is None or len(value) * _ESCAPED_BYTES_MAX <= bytes_max:
            return value
        kept = _fitting(value, bytes_max)
        if len(kept) < len(value):
            whole = value.encode()
            self._note(path, len(whole), whole)
        return kept

    def whole(self, path: str, value: str | None, bytes_max: int) -> str | None:
        """As ``text``, for a value that must not be cut: ``too_long`` names it if it was."""
        kept = self.text(path, value, bytes_max)
        if kept != value and self.too_long is None:
            self.too_long = path
        return kept

    def texts(self, path: str, values: Sequence[str], count_max: int, bytes_max: int) -> list[str]:
        """The first ``count_max`` of ``values``, each cut to ``bytes_max`` as in ``text``.

        A shortened list is noted under ``path`` with its element count and the digest of its
        JSON text; a shortened element under ``path[index]``.
        """
        if not values:  # nearly always: most calls use no more than two of a record's lists
            return []
        if len(values) > count_max:
            self._note(path, len(values), _encoder.encode(values))
        kept = []
        for index, value in enumerate(values[:count_max]):
            one = value
            if len(value) * _ESCAPED_BYTES_MAX > bytes_max:
                one = self.text(f"{path}[{index}]", value, bytes_max) or ""
            kept.append(one)
        return kept

    @property
    def cuts(self) -> list[Cut]:
        """What was cut, in order; beyond ``limits.CUTS_MAX`` the last entry is ``MANY``."""
        if len(self._cuts) <= limits.CUTS_MAX:
            return list(self._cuts)
        listed, rest = self._cuts[: limits.CUTS_MAX - 1], self._cuts[limits.CUTS_MAX - 1 :]
        digest = keyed_digest(self._digest_key, _encoder.encode(rest))
        return [*listed, Cut(path=MANY, length=len(rest), digest=digest)]

    def _note(self, path: str, length: int, whole: bytes) -> None:
        digest = keyed_digest(self._digest_key, whole)
        self._cuts.append(Cut(path=path, length=length, digest=digest))


def json_bytes(value: str) -> int:
    """Bytes of the JSON text of ``value``, without its quotes."""
    return len(_encoder.encode(value)) - 2


def _fitting(value: str, bytes_max: int) -> str:
    # A code point takes at least one byte, so only the first bytes_max of them can matter.
    head = value[:bytes_max]
    if len(head) == len(value) and json_bytes(value) <= bytes_max:
        return value
    left = bytes_max
    for index, char in enumerate(head):
        left -= json_bytes(char)
        if left < 0:
            return head[:index]
    return head
