"""Acts of people at an issuer that knows no record store.

Owns: keeping them in the issuer's own database, each as one JSON document. Refuses: proof: only
``admin`` records are in a log. With a record store in the same process, or a ``record_store_url``,
they are written instead.
"""

from __future__ import annotations

import sqlite3

from central import acts
from central.acts import Act
from gateway import documents


def keep(connection: sqlite3.Connection, act: Act, now_us: int) -> None:
    """Keep ``act``. Raises Refused (``malformed_request``) for one that is too large."""
    acts.check(act)
    connection.execute(
        "INSERT INTO act (at_us, document) VALUES (?,?)", (now_us, documents.encode(act))
    )
