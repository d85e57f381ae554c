"""The directory of one instance under the spool root.

Owns: how it comes to be, what it may look like, and how it goes. Refuses: what is inside it.
"""

from __future__ import annotations

import contextlib

import anyio

from gateway.errors import ConfigInvalid
from gateway.ports import Disk, FileSystem, Lock
from gateway.record import Quarantined
from gateway.seal import sha256_text
from spool.segment import pread_all, read_all, remove_if_there, segment_name, write_file

LOCK_NAME = "LOCK"
QUARANTINE_NAME = "quarantine"
DIRECTORY_MODE = 0o700
_WRITABLE_BY_OTHERS = 0o022
_TRIES = 5
_TRY_AGAIN_SECONDS = 0.05


async def make_home(disk: Disk, root: str, instance: str) -> Lock:
    """Make the directory of a new instance, durably, and take its lock.

    Raises ConfigInvalid when the place cannot be used. Another process that starts at the same
    moment may take a directory without a lock for a dead one and remove it; hence the tries.
    """
    for _ in range(_TRIES):
        try:
            lock = await disk.run(lambda files: _make(files, root, instance))
        except OSError as error:
            raise ConfigInvalid(
                f"spool directory {root}: {error.strerror or error}; "
                "it must exist or be creatable, be writable by this user, and stand on a file "
                "system that has locks (flock) and a sync of directories (not every network, "
                "FUSE or 9p volume does)"
            ) from error
        if lock is not None:
            return lock
        await anyio.sleep(_TRY_AGAIN_SECONDS)
    raise ConfigInvalid(f"spool directory {root}/{instance} is in use by another process")


def _make(files: FileSystem, root: str, instance: str) -> Lock | None:
    path = f"{root}/{instance}"
    _make_root(files, root)
    names = files.list_directory(root)
    if instance in names and files.list_directory(path) not in ([], [LOCK_NAME]):
        raise ConfigInvalid(
            f"spool directory {path} holds records already; every start draws a new instance id"
        )
    try:
        files.make_directory(path, DIRECTORY_MODE)
        check_home(files, path)
        files.sync_directory(root)
        lock = files.lock(f"{path}/{LOCK_NAME}")
        if lock is not None:
            files.sync_directory(path)
    except FileNotFoundError:
        return None
    return lock


def _make_root(files: FileSystem, root: str) -> None:
    """Make the missing directories down to ``root``; each is durable before the next.

    Those that are there may have been made a moment ago, by another part of this process or by
    one that was killed: without a sync of their own, records would go with them in a power cut.
    """
    path, _, _ = root.rstrip("/").rpartition("/")
    above = path or ("/" if root.startswith("/") else ".")
    if path and above != root:
        _make_root(files, above)
    try:
        files.list_directory(root)
    except FileNotFoundError:
        files.make_directory(root, DIRECTORY_MODE)
        files.sync_directory(above)
    else:
        # What was there before us and may not be read by us is not ours to make durable.
        with contextlib.suppress(OSError):
            files.sync_directory(above)


def check_home(files: FileSystem, path: str) -> None:
    """Raises ConfigInvalid when others than the owner may change what is in ``path``."""
    mode = files.directory_mode(path)
    if mode & _WRITABLE_BY_OTHERS:
        raise ConfigInvalid(
            f"spool directory {path} has mode {mode:04o}: others than its owner may write to it; "
            "take that right away (chmod go-w) after finding out who used it"
        )


def remove_home(files: FileSystem, root: str, instance: str, lock: Lock) -> None:
    """Remove a directory that holds nothing but its lock, durably; gives up the lock.

    Raises OSError if anything else is in it.
    """
    path = f"{root}/{instance}"
    remove_if_there(files, f"{path}/{LOCK_NAME}")
    try:
        files.remove_directory(path)
    finally:
        lock.release()
    files.sync_directory(root)


def quarantine(files: FileSystem, directory: str, pieces: dict[str, bytes]) -> None:
    """Keep bytes under their names, durably. A name says where they stood; it can be repeated."""
    path = f"{directory}/{QUARANTINE_NAME}"
    files.make_directory(path, DIRECTORY_MODE)
    # A link planted under that name would lead what we write, and later delete, elsewhere.
    files.directory_mode(path)
    there = set(files.list_directory(path))
    for name, data in pieces.items():
        if name not in there:
            write_file(files, f"{path}/{name}", data)
    files.sync_directory(path)
    files.sync_directory(directory)


def quarantined_names(files: FileSystem, directory: str) -> list[str]:
    """The files of an instance's quarantine; none without one. Raises OSError."""
    try:
        names = files.list_directory(f"{directory}/{QUARANTINE_NAME}")
    except FileNotFoundError:
        return []
    return [name for name in names if not name.endswith(".tmp")]


def quarantine_stretch(
    files: FileSystem, *, directory: str, base_seq: int, offset: int, length: int
) -> Quarantined:
    """Keep ``length`` bytes of a segment; returns what was kept."""
    file = files.open(f"{directory}/{segment_name(base_seq)}", writable=False)
    try:
        data = pread_all(file, length, offset)
    finally:
        file.close()
    name = damage_name(files, directory, base_seq, offset, data)
    quarantine(files, directory, {name: data})
    return Quarantined(file=name, length=len(data), digest=sha256_text(data))


def damage_name(files: FileSystem, directory: str, base_seq: int, offset: int, data: bytes) -> str:
    """The quarantine file of ``data``, which stood at ``offset`` of a segment.

    Where other bytes have that name (rot went on, or a shorter piece was kept before), a number
    is added: each name keeps the bytes whose digest a record gives.
    """
    place = f"{base_seq:020d}-{offset}"
    name, number = f"{place}.bin", 1
    while _kept(files, f"{directory}/{QUARANTINE_NAME}/{name}", len(data)) not in (None, data):
        number += 1
        name = f"{place}-{number}.bin"
    return name


def _kept(files: FileSystem, path: str, length: int) -> bytes | None:
    """What stands in a quarantine file, as far as it takes to tell it from ``length`` bytes."""
    try:
        return read_all(files, path, length + 1)
    except FileNotFoundError:
        return None


def refused_name(seq: int) -> str:
    """The quarantine file of a record that the store refuses."""
    return f"refused-{seq:020d}.jsonl"
