"""How far the time that a record claims fits what the store knows.

Late or skewed records are evidence like any other: they are graded, never refused. A grade is an
index column, made from kept bytes, and no proof; ``gatepost verify`` judges times by the log.

Owns: the grades and their rule. Refuses: records that have no time of their own; nothing is
known against them.
"""

from __future__ import annotations

from typing import Final, Literal

from gateway import limits

Grade = Literal["on_time", "late", "skewed"]

GRADES: Final[tuple[Grade, ...]] = ("on_time", "late", "skewed")

_SKEW_US: Final = limits.CLOCK_SUSPECT_SECONDS * 1_000_000
_AGE_US: Final = limits.SPOOL_AGE_SECONDS_MAX * 1_000_000


def grade(time_us: int | None, received_us: int, *, covered: bool) -> Grade:
    """``time_us``: the record's own time, None for none. ``covered``: a certificate of its key is
    valid then, or its key has none.

    ``skewed``: it claims a time to come, or one outside of its certificate; ``late``: it lay in a
    spool for longer than a week.
    """
    if time_us is None:
        return "on_time"
    if time_us > received_us + _SKEW_US or not covered:
        return "skewed"
    return "late" if received_us - time_us > _AGE_US else "on_time"


REGRADE: Final = f"""
UPDATE record SET grade = CASE
    WHEN time_us > received_us + {_SKEW_US} OR (
        EXISTS (SELECT 1 FROM certificate c WHERE c.log = record.log AND c.kid = record.kid)
        AND NOT EXISTS (SELECT 1 FROM certificate c WHERE c.log = record.log
            AND c.kid = record.kid AND record.time_us BETWEEN c.not_before_us AND c.not_after_us)
    ) THEN 'skewed'
    WHEN received_us - time_us > {_AGE_US} THEN 'late'
END
WHERE kind IN ('start', 'decision', 'completion')
"""  # noqa: S608 - our own numbers
"""The same rule over every record of a database that had no grades. A record without a readable
time stands there with the time of its receipt."""
