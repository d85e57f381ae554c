"""What a query asks of the rows of one log, as SQL.

Owns: the WHERE clause of a ``Query``, of our own words with every value as a parameter, and the
FROM clause that goes with it. Refuses: order, cursor and how far a page walks (``walk.py``).
"""

from __future__ import annotations

import msgspec

from central.record_store.filters import Query
from central.record_store.logs import Log
from central.record_store.revocations import UNTRUSTED

Parameter = str | int | bytes | None


class Condition(msgspec.Struct):
    """A WHERE clause in the making: SQL of our own words, values only as parameters."""

    clauses: list[str]
    values: list[Parameter]

    def add(self, clause: str, *values: Parameter) -> None:
        """Narrow by ``clause``."""
        self.clauses.append(clause)
        self.values.extend(values)

    @property
    def sql(self) -> str:
        return " AND ".join(self.clauses)


def condition_of(query: Query, log: Log) -> Condition:
    """What ``query`` asks of ``log``, without snapshot, order and cursor."""
    condition = Condition([], [])
    condition.add("r.log = ?", log.log)
    if query.category is not None:
        condition.add("k.log = ? AND k.category = ?", log.log, query.category)
        condition.add("r.leaf_index = k.leaf_index")
    for column, value in query.text.items():
        condition.add(f"r.{column} = ?", value)
    if query.content is not None:
        marks = ",".join("?" * len(query.content.digests))
        condition.add(f"r.{query.content.column} IN ({marks})", *query.content.digests)
    if query.untrusted is not None:
        condition.add(UNTRUSTED if query.untrusted else f"NOT {UNTRUSTED}")
    if query.grade == "on_time":
        condition.add("r.grade IS NULL")
    elif query.grade is not None:
        condition.add("r.grade = ?", query.grade)
    if query.of is not None:
        condition.add("r.of_id = ?", query.of)
    if query.policy_version is not None:
        condition.add("r.policy_version = ?", query.policy_version)
    return condition


def source_of(query: Query) -> str:
    """The FROM clause of rows in any order: the category index leads where a category is asked
    for, which is what CROSS JOIN means to SQLite's planner."""
    return "record r" if query.category is None else "category k CROSS JOIN record r"


def add_times(condition: Condition, query: Query) -> None:
    """Narrow by ``decided_from`` and ``decided_to``."""
    if query.decided_from_us is not None:
        condition.add("r.time_us >= ?", query.decided_from_us)
    if query.decided_to_us is not None:
        condition.add("r.time_us < ?", query.decided_to_us)
