"""The last good policy on disk.

    LOCK            one writer at a time
    roots/N.json    the whole chain of root documents
    head.json       the newest accepted head whose bundle is here
    lock.json       a later head that stops every call, kept before its bundle could be fetched
    blobs/sha256/H  bundles by the hex digest of their payload: the pinned one, the candidate and a
                    few older
    state.json      the floors
    quarantine/     the last few documents that were refused, as evidence

Owns: this layout, and the order of writing: content, fsync, rename, fsync of the directory; the
bundle before the head, the head before the floors. Refuses: trust. What is read back is verified
from the pinned root again at every start; an unreadable file counts as absent.
"""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from gateway.errors import UNREADABLE
from gateway.limits import (
    POLICY_BLOBS_KEPT_MAX,
    POLICY_BUNDLE_BYTES_MAX,
    POLICY_HEAD_BYTES_MAX,
    POLICY_QUARANTINED_MAX,
    POLICY_ROOT_BYTES_MAX,
    ROOT_WALK_MAX,
)
from gateway.ports import Disk, File, FileSystem, Lock
from policy_cache.trusted import Floors, envelope_bytes_max

_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_STATE_BYTES_MAX: Final = 4096
_EVIDENCE_BYTES_MAX: Final = 16 * 1024


class Stored(msgspec.Struct, frozen=True):
    """What stood on the disk, unverified. ``floors`` None: absent or unreadable."""

    roots: tuple[bytes, ...]
    head: bytes | None
    lock: bytes | None
    floors: Floors | None


class PolicyStore:
    """The cache directory. Every method may raise OSError."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._directory = directory
        self._lock: Lock | None = None

    @property
    def writable(self) -> bool:
        """Whether this process holds the lock; a second one reads and writes nothing."""
        return self._lock is not None

    async def load(self) -> Stored:
        """Take the lock if it is free, and read what is there."""
        return await self._disk.run(self._load)

    async def read_bundle(self, digest: str) -> bytes | None:
        """The envelope of the bundle with this payload digest, if it is here."""
        path = f"{self._blobs}/{_hex(digest)}"
        bytes_max = envelope_bytes_max(POLICY_BUNDLE_BYTES_MAX)
        return await self._disk.run(lambda files: _read(files, path, bytes_max))

    async def save_root(self, version: int, data: bytes) -> None:
        """Keep root ``version``."""
        await self._write(f"{self._directory}/roots", f"{version}.json", data)

    async def save_bundle(self, digest: str, data: bytes) -> None:
        """Keep a bundle; the oldest names beyond the bound go when the next head is saved."""
        await self._write(self._blobs, _hex(digest), data)

    async def drop_bundles_but(self, digests: frozenset[str]) -> None:
        """Keep these bundles and no other."""
        if not self.writable:
            return
        kept = {_hex(digest) for digest in digests}

        def work(files: FileSystem) -> None:
            for name in files.list_directory(self._blobs):
                if name not in kept:
                    files.unlink(f"{self._blobs}/{name}")

        await self._disk.run(work)

    async def save_head(self, data: bytes, floors: Floors) -> None:
        """Make ``data`` the head, then raise the floors. Its bundle must be saved already."""
        if not self.writable:
            return
        state = msgspec.json.encode(floors)

        def work(files: FileSystem) -> None:
            _replace(files, self._directory, "head.json", data)
            _replace(files, self._directory, "state.json", state)
            self._drop_old_bundles(files, {floors.bundle_digest, floors.candidate_digest})

        await self._disk.run(work)

    async def save_lock(self, data: bytes) -> None:
        """Keep a head that stops every call beside the last one whose bundle is here."""
        await self._write(self._directory, "lock.json", data)

    async def quarantine(self, name: str, data: bytes) -> None:
        """Keep the beginning of a refused document as evidence, and the last few only."""
        if not self.writable:
            return
        directory = f"{self._directory}/quarantine"

        def work(files: FileSystem) -> None:
            _replace(files, directory, name, data[:_EVIDENCE_BYTES_MAX])
            names = files.list_directory(directory)
            for old in names[:-POLICY_QUARANTINED_MAX]:
                files.unlink(f"{directory}/{old}")

        await self._disk.run(work)

    async def close(self) -> None:
        """Give the lock back."""
        lock, self._lock = self._lock, None
        if lock is not None:
            await self._disk.run(lambda _: lock.release())

    @property
    def _blobs(self) -> str:
        return f"{self._directory}/blobs/sha256"

    def _load(self, files: FileSystem) -> Stored:
        # On a volume that cannot be written the policy is still there to be read.
        with contextlib.suppress(OSError):
            self._prepare(files)
        roots: list[bytes] = []
        while len(roots) < ROOT_WALK_MAX * 4:
            path = f"{self._directory}/roots/{len(roots) + 1}.json"
            data = _read(files, path, POLICY_ROOT_BYTES_MAX)
            if data is None:
                break
            roots.append(data)
        return Stored(
            roots=tuple(roots),
            head=_read(files, f"{self._directory}/head.json", POLICY_HEAD_BYTES_MAX),
            lock=_read(files, f"{self._directory}/lock.json", POLICY_HEAD_BYTES_MAX),
            floors=_floors(_read(files, f"{self._directory}/state.json", _STATE_BYTES_MAX)),
        )

    def _prepare(self, files: FileSystem) -> None:
        for path in (f"{self._directory}/roots", self._blobs, f"{self._directory}/quarantine"):
            files.make_directory(path, _DIRECTORY_MODE)
        for path in (f"{self._directory}/blobs", self._directory, _parent(self._directory)):
            files.sync_directory(path)
        if self._lock is None:
            self._lock = files.lock(f"{self._directory}/LOCK")

    async def _write(self, directory: str, name: str, data: bytes) -> None:
        if self.writable:
            await self._disk.run(lambda files: _replace(files, directory, name, data))

    def _drop_old_bundles(self, files: FileSystem, kept: set[str | None]) -> None:
        needed = {_hex(digest) for digest in kept if digest is not None}
        names = [name for name in files.list_directory(self._blobs) if name not in needed]
        for name in names[: max(0, len(names) - POLICY_BLOBS_KEPT_MAX)]:
            files.unlink(f"{self._blobs}/{name}")


def _parent(path: str) -> str:
    above, slash, _ = path.rstrip("/").rpartition("/")
    return above or slash or "."


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _floors(data: bytes | None) -> Floors | None:
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Floors)
    except UNREADABLE:
        return None


def _read(files: FileSystem, path: str, bytes_max: int) -> bytes | None:
    try:
        file = files.open(path, writable=False)
    except FileNotFoundError:
        return None
    try:
        # One byte more than is allowed tells a file that is too long from one that just fits.
        data = _read_all(file, bytes_max + 1)
    finally:
        file.close()
    return data if len(data) <= bytes_max else None


def _read_all(file: File, length: int) -> bytes:
    parts: list[bytes] = []
    offset = 0
    while offset < length:
        part = file.pread(length - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _replace(files: FileSystem, directory: str, name: str, data: bytes) -> None:
    temporary = f"{directory}/{name}.new"
    with contextlib.suppress(FileNotFoundError):
        files.unlink(temporary)
    file = files.create(temporary, _FILE_MODE)
    try:
        offset = 0
        while offset < len(data):
            offset += file.pwrite(memoryview(data)[offset:], offset)
        file.fdatasync()
    finally:
        file.close()
    files.rename(temporary, f"{directory}/{name}")
    files.sync_directory(directory)
