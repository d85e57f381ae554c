"""A copy of the record store's database, taken while the store runs.

The copy is of one moment: it is read within one transaction, which the running store neither
waits for nor changes. It is one file that needs nothing beside it, in a directory of its own with a
manifest that says what it is, and appears there whole or not at all.

Owns: taking it, its manifest, and holding a copy against that. Refuses: other databases, keys and
roots (they have other owners), and where copies are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from central.record_store import schema, soundness
from central.record_store.soundness import LogState
from central.record_store.tree_check import Falsehood
from gateway import __version__
from gateway.errors import UNREADABLE, ConfigInvalid
from gateway.timestamp import time_text

DATABASE: Final = "records.db"
MANIFEST: Final = "manifest.json"
_PAGES: Final = 2_000
_BUSY_SECONDS: Final = 30.0

Copied = Callable[[int, int], None]
"""Told how many pages are copied, of how many."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a copy is. ``sha256``: of the file, hex; ``logs``: with the newest checkpoint of each,
    which whoever keeps the copy can hold any later history of the log against."""

    made: str
    gatepost: str
    schema: int
    file: str
    bytes: int
    sha256: str
    logs: list[LogState]


def back_up(source: str, target: str, now_us: int, copied: Copied) -> Manifest:
    """Copy the database ``source`` into the new directory ``target``, durably.

    Raises ConfigInvalid: no database, a target that is there already, or no room; and Falsehood
    for a database that cannot be read. Then nothing is left at ``target``.
    """
    if os.path.lexists(target):
        raise ConfigInvalid(f"{target} is there already: name a directory that is not")
    parent = os.path.dirname(os.path.abspath(target))
    try:
        making = tempfile.mkdtemp(prefix=".backup-", dir=parent)
        try:
            path = os.path.join(making, DATABASE)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            copy_database(source, path, copied)
            manifest = _manifest(path, now_us)
            _write(os.path.join(making, MANIFEST), msgspec.json.encode(manifest) + b"\n")
            _sync(making)
            os.rename(making, target)
            _sync(parent)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise ConfigInvalid(f"{error.filename or target}: {error.strerror}") from error
    return manifest


def copy_database(source: str, target: str, copied: Copied) -> None:
    """Copy ``source`` over the file ``target``, as of one moment, and make it durable.

    Raises ConfigInvalid and Falsehood.
    """
    if not os.path.isfile(source):
        raise ConfigInvalid(f"{source}: there is no record store's database")
    with _connected(source) as found:
        copy_connected(found, source, target, copied)


def copy_connected(found: sqlite3.Connection, source: str, target: str, copied: Copied) -> None:
    """The same through ``found``, a connection to ``source``. Raises ConfigInvalid and
    Falsehood."""
    try:
        with _connected(target) as copy:
            # While this transaction is open, no commit of the running store is seen: without it a
            # copy would begin anew with each of them.
            found.execute("BEGIN")
            found.execute("SELECT count(*) FROM sqlite_master").fetchone()
            found.backup(
                copy, pages=_PAGES, progress=lambda _, left, total: copied(total - left, total)
            )
            found.execute("ROLLBACK")
            # One file, and not one that makes others beside it where it is only read.
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        raise ConfigInvalid(f"copying {source} to {target}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise Falsehood(source, str(error)) from error
    _sync(target)


@contextlib.contextmanager
def _connected(path: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def _manifest(path: str, now_us: int) -> Manifest:
    with contextlib.closing(soundness.open_unchanged(path)) as connection:
        logs = soundness.states(connection)
    return Manifest(
        made=time_text(now_us),
        gatepost=__version__,
        schema=schema.VERSION,
        file=DATABASE,
        bytes=os.path.getsize(path),
        sha256=_sha256(path),
        logs=logs,
    )


def read_manifest(directory: str) -> Manifest:
    """The manifest of a copy. Raises ConfigInvalid."""
    path = os.path.join(directory, MANIFEST)
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Manifest)
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}; is {directory} a backup?") from error
    except UNREADABLE as error:
        raise ConfigInvalid(f"{path}: {error}") from error


def hold_against_manifest(directory: str) -> str:
    """The path of the copy in ``directory``, whose bytes are those that were written.

    Raises ConfigInvalid, and Falsehood where they are not.
    """
    manifest = read_manifest(directory)
    path = os.path.join(directory, DATABASE)
    try:
        size, digest = os.path.getsize(path), _sha256(path)
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error
    if size != manifest.bytes:
        raise Falsehood(path, f"has {size} bytes, its manifest says {manifest.bytes}")
    if digest != manifest.sha256:
        raise Falsehood(path, "does not have the digest that its manifest says")
    return path


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        os.chmod(path, 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
