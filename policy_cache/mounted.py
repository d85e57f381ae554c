"""Policy documents in a mounted directory: a ConfigMap, or a volume that something else fills.

    head.json            or  head
    root-<n>.json        or  root/<n>
    sha256-<hex>.json    or  blobs/sha256/<hex>

The flat names are for a ConfigMap, which has no subdirectories; the others are those of a web
server's directory. The flat one counts where both are there.

Owns: these names, the bounds on files, and telling "not there" from errors. Refuses: judging what
it read (``trusted.py``), and noticing a change: that is a hint to the refresher from outside.
"""

from __future__ import annotations

from gateway.limits import POLICY_HEAD_BYTES_MAX, POLICY_ROOT_BYTES_MAX
from gateway.ports import Disk
from gateway.seal import sha256_text
from policy_cache.fetch import FetchedHead, FetchFailed
from policy_cache.trusted import envelope_bytes_max


class MountedSource:
    """``PolicySource`` from files below ``directory``; each is read anew when it is asked for."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._directory = directory

    async def head(self, etag: str | None) -> FetchedHead:
        """The head; the digest of a file is its entity tag."""
        data = await self._wanted(POLICY_HEAD_BYTES_MAX, "head.json", "head")
        found = sha256_text(data)
        return FetchedHead(None if found == etag else data, found)

    async def root(self, version: int) -> bytes | None:
        """Root ``version``, or None where there is none yet."""
        names = (f"root-{version}.json", f"root/{version}")
        return await self._read(POLICY_ROOT_BYTES_MAX, *names)

    async def bundle(self, digest: str, length: int) -> bytes:
        """The bundle by the hex SHA-256 of its payload."""
        names = (f"sha256-{_hex(digest)}.json", f"blobs/sha256/{_hex(digest)}")
        return await self._wanted(envelope_bytes_max(length), *names)

    async def changed(self, _etag: str, _seconds: float, /) -> bool:
        """False: a directory is not waited for, its changes are hints from outside."""
        return False

    async def _wanted(self, bytes_max: int, *names: str) -> bytes:
        data = await self._read(bytes_max, *names)
        if data is None:
            raise FetchFailed("missing", f"{self._directory} has no {names[0]}")
        return data

    async def _read(self, bytes_max: int, *names: str) -> bytes | None:
        for name in names:
            data = await self._read_one(bytes_max, name)
            if data is not None:
                return data
        return None

    async def _read_one(self, bytes_max: int, name: str) -> bytes | None:
        directory = self._directory
        try:
            data = await self._disk.run(lambda fs: fs.read_mounted(directory, name, bytes_max))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FetchFailed("unreadable", str(error)) from error
        if len(data) > bytes_max:
            raise FetchFailed("unreadable", f"{name} has more than {bytes_max} bytes")
        return data


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
