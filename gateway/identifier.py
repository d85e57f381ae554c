"""Identifiers that Gatepost draws: record ids and instance ids.

Owns: their form. Refuses: chance itself; the random bytes are handed in (``ports.Entropy``).
"""

from __future__ import annotations

import base64
import re
from typing import Final

INSTANCE_BYTES: Final = 16
RECORD_RANDOM_BYTES: Final = 10
_INSTANCE: Final = re.compile(r"[a-z2-7]{26}")
_LAST: Final = "aeimquy4"
"""The base32 characters whose low two bits are zero."""


def record_id(wall_us: int, random: bytes) -> str:
    """A UUIDv7 (RFC 9562 section 5.7): ``wall_us`` in milliseconds and 74 random bits.

    ``random``: 10 bytes. Sorts by time across instances; the chain, not this, orders records.
    """
    value = int.from_bytes(random, "big")
    high = ((wall_us // 1000) & 0xFFFF_FFFF_FFFF) << 16 | 0x7000 | (value >> 68) & 0x0FFF
    low = 0x8000_0000_0000_0000 | value & 0x3FFF_FFFF_FFFF_FFFF
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def instance_id(random: bytes) -> str:
    """26 lower-case base32 characters (RFC 4648, no padding) of 16 random bytes."""
    if len(random) != INSTANCE_BYTES:
        raise ValueError(f"an instance id is made of {INSTANCE_BYTES} bytes, not {len(random)}")
    return base64.b32encode(random).decode().rstrip("=").lower()


def instance_bytes(instance: str) -> bytes:
    """The 16 bytes of an instance id. Raises ValueError if it is not one.

    26 characters hold two bits more than 16 bytes; unless they are zero there would be four texts
    for one instance.
    """
    if _INSTANCE.fullmatch(instance) is None or instance[-1] not in _LAST:
        raise ValueError(f"{instance!r} is not an instance id (26 base32 characters)")
    return base64.b32decode(instance.upper() + "======")
