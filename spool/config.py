"""What an operator may set about the spool.

Owns: ``SpoolConfig`` and the checks between its fields. Refuses: reading files.
"""

from __future__ import annotations

import msgspec

from gateway import limits
from gateway.errors import ConfigInvalid

SEGMENTS_MIN = 4
"""Below four segments the water marks fall together: one is written, one is prepared."""


class SpoolConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where records wait until they are shipped, and how many bytes they may take.

    ``directory``: the spool root; each instance has a directory of its own in it.
    ``spool_bytes_max``: whole segments, prepared ones, quarantine and what dead instances left.
    In a container it must stay below 0.8 of the volume's limit: passing that limit evicts the
    pod and takes the spool with it. ``spool_free_bytes_min``: no new segment when the volume has
    less. ``ship_linger_seconds``: how long a batch that is not full may wait for more records.
    """

    directory: str = "/var/lib/gatepost/spool"
    spool_bytes_max: int = limits.SPOOL_BYTES_MAX
    segment_bytes: int = limits.SEGMENT_BYTES
    spool_free_bytes_min: int = limits.SPOOL_FREE_BYTES_MIN
    ship_linger_seconds: float = limits.SHIP_LINGER_SECONDS


def check_config(config: SpoolConfig) -> None:
    """Raises ConfigInvalid naming the fields, the values and the remedy."""
    segment_bytes = config.segment_bytes
    if segment_bytes % limits.SEGMENT_BYTES_MIN or not (
        limits.SEGMENT_BYTES_MIN <= segment_bytes <= limits.SEGMENT_BYTES_MAX
    ):
        raise ConfigInvalid(
            f"spool.segment_bytes is {segment_bytes}; it must be a multiple of "
            f"{limits.SEGMENT_BYTES_MIN} up to {limits.SEGMENT_BYTES_MAX}"
        )
    if config.spool_bytes_max < SEGMENTS_MIN * segment_bytes:
        raise ConfigInvalid(
            f"spool.spool_bytes_max is {config.spool_bytes_max}; with spool.segment_bytes "
            f"{segment_bytes} it must be at least {SEGMENTS_MIN * segment_bytes}"
        )
    if config.spool_free_bytes_min < 0:
        raise ConfigInvalid("spool.spool_free_bytes_min must not be negative")
    if not 0 <= config.ship_linger_seconds <= limits.SHIP_RETRY_SECONDS_MAX:
        raise ConfigInvalid(
            f"spool.ship_linger_seconds must be between 0 and {limits.SHIP_RETRY_SECONDS_MAX}"
        )
