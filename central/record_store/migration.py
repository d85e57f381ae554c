"""A record store's database brought to this version before the store opens it.

The opening does the same by itself. Here it happens while nobody waits for it, after a copy was
made, and the store need not be started to learn whether it works.

Owns: finding out the version, that nobody uses the file, the copy, and the order of these. Refuses:
the steps (``upgrades.py``) and their transaction (``central.database``).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

import msgspec

from central.database import prepare
from central.record_store import schema, upgrades
from central.record_store.backup import Copied, copy_connected
from central.record_store.tree_check import Falsehood
from gateway.errors import ConfigInvalid


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """``found``: the version that the file has or had; ``copy``: where it stands as it was, or None
    where none was made."""

    database: str
    found: int
    version: int
    copy: str | None


def look(path: str) -> Migration:
    """What there is to do for the database ``path``; nothing is changed.

    Raises ConfigInvalid: no database, one of a newer version, or one that cannot be read.
    """
    if not os.path.isfile(path):
        raise ConfigInvalid(f"{path}: there is no record store's database")
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise ConfigInvalid(f"{path}: {error}") from error
    if found == 0:
        raise ConfigInvalid(f"{path} is no record store's database: it has no version")
    if found > schema.VERSION:
        raise ConfigInvalid(
            f"{path} has schema {found}, this version knows {schema.VERSION}: upgrade Gatepost"
        )
    return Migration(database=path, found=found, version=schema.VERSION, copy=None)


def migrate(path: str, copy: str | None, copied: Copied) -> Migration:
    """Bring the database ``path`` to this version, in one transaction; first copy it to the new
    file ``copy``, if one is named.

    Raises ConfigInvalid; then the database is as it was. Raises Falsehood for a damaged one.
    """
    found = look(path)
    if found.found == found.version:
        return found
    with contextlib.closing(_alone(path)) as connection:
        if copy is not None:
            _create(copy)
            try:
                copy_connected(connection, path, copy, copied)
            except (ConfigInvalid, Falsehood):
                os.unlink(copy)
                raise
        try:
            prepare(connection, path, schema.SCHEMA, schema.VERSION, upgrades.UPGRADES)
        except sqlite3.Error as error:
            raise ConfigInvalid(f"database {path}: {error}") from error
    return msgspec.structs.replace(found, copy=copy)


def _alone(path: str) -> sqlite3.Connection:
    """The only connection to ``path``; as long as it is open, nobody else reads or writes there.

    Raises ConfigInvalid where somebody does: a store of the older version would go on writing into
    tables that are no longer its own.
    """
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        # Folds the write-ahead log in, which only the last user of a database can do.
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        connection.execute("PRAGMA synchronous=FULL")
        # In this mode the lock of a transaction is kept when that ends.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        connection.close()
        raise ConfigInvalid(f"{path}: {error}; stop the record store that uses it") from error
    return connection


def _create(path: str) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}; name another file for the copy") from error
