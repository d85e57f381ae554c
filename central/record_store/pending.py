"""Acts of commands that ran beside the service.

A command that changes the database has no chain to write in: those are the service's. So it leaves
its act in the transaction of the change, and the service writes it into a chain of its own at its
next start, or with the next act in that log, whichever comes first.

Owns: these notes. Refuses: what becomes of them (``register.py``). Whoever can write the database
can take one away again: what the command changed in the log itself is a leaf, and stays.
"""

from __future__ import annotations

import sqlite3

import msgspec

from central import acts
from central.acts import Act


def leave(connection: sqlite3.Connection, act: Act) -> None:
    """Keep ``act`` until the service writes it. Inside a write transaction. Raises Refused for what
    no record has room for."""
    acts.check(act)
    connection.execute(
        "INSERT INTO pending_act (tenant, region, document) VALUES (?,?,?)",
        (act.tenant, act.region, msgspec.json.encode(act)),
    )


def places(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """(tenant, region) of the logs in which acts are still to be written."""
    return connection.execute(
        "SELECT DISTINCT tenant, region FROM pending_act ORDER BY number"
    ).fetchall()


def take(connection: sqlite3.Connection, tenant: str, region: str) -> list[Act]:
    """The acts of one log, in order, which are no longer pending once the transaction commits."""
    rows = connection.execute(
        "DELETE FROM pending_act WHERE tenant = ? AND region = ? RETURNING number, document",
        (tenant, region),
    ).fetchall()
    return [msgspec.json.decode(document, type=Act) for _, document in sorted(rows)]
