"""Keys that the issuer certifies no more: instance keys, and host keys that attest.

Owns: keeping revocations and refusing what they name. Refuses: certificates by their serial alone:
a key of which one certificate was taken back may have another.
"""

from __future__ import annotations

import sqlite3

from central.errors import Refused
from gateway import documents
from gateway.revoking import Opened


def keep(connection: sqlite3.Connection, opened: Opened, now_us: int) -> None:
    """Keep ``opened``, once. Inside a write transaction."""
    document = opened.document
    connection.execute(
        "INSERT OR IGNORE INTO revoked VALUES (?,?,?,?,?)",
        (
            document.kid,
            document.serial or "",
            opened.untrusted_from_us,
            now_us,
            documents.encode(opened.envelope),
        ),
    )


def refuse(connection: sqlite3.Connection, kid: str, what: str, now_us: int) -> None:
    """Raise Refused (``key_revoked``) if the key ``kid`` was taken back by ``now_us``."""
    found = connection.execute(
        "SELECT 1 FROM revoked WHERE kid = ? AND serial = '' AND untrusted_from_us <= ?",
        (kid, now_us),
    ).fetchone()
    if found is not None:
        raise Refused("key_revoked", what)
