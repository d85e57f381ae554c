"""The world as the gateway sees it: Protocols for time, chance, disk, network and neighbours.

Owns: the shapes only. Refuses: implementations; the real ones are in ``gateway.io``, the
simulated ones in ``tests/sim``. Monotonic time has no port: it is the event loop's
(``anyio.current_time``), and a simulation swaps the loop.

Disk work is synchronous code handed to ``Disk.run``: the real disk runs it in its one thread,
the simulated one inline, because a worker thread is invisible to a virtual clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
from anyio.abc import ByteStream

from gateway.documents import RequestOf
from gateway.record import Record
from gateway.seal import Sealed

ResultT = TypeVar("ResultT")


class WallClock(Protocol):
    """The node's idea of the time of day. A claim, never a proof."""

    def wall_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""

    def source(self) -> str:
        """A word of ``vocabulary.CLOCK_SOURCES``."""

    def error_ms(self) -> int | None:
        """The kernel's estimate of its error, or None where it has none."""

    def mono_us(self) -> int:
        """Microseconds of a clock that never steps, comparable within one ``boot_id``."""

    def boot_id(self) -> str | None:
        """Identity of this boot of the node, or None where the platform has none."""


class Entropy(Protocol):
    """Chance: keys, ids, nonces and jitter."""

    def bytes(self, count: int) -> bytes:
        """``count`` unpredictable bytes."""

    def fraction(self) -> float:
        """Uniform in [0, 1): for jitter, never for secrets."""


class File(Protocol):
    """An open regular file. Short writes are possible; OSError passes through."""

    def pwrite(self, data: bytes | memoryview, offset: int) -> int: ...

    def pread(self, length: int, offset: int) -> bytes: ...

    def size(self) -> int: ...

    def mode(self) -> int:
        """Permission bits."""

    def fdatasync(self) -> None: ...

    def close(self) -> None: ...


class FileSystem(Protocol):
    """Synchronous file operations; paths are absolute or relative to the process.

    Only called from within ``Disk.run``. A created, renamed or removed name is durable only
    after ``sync_directory`` of its directory.
    """

    def make_directory(self, path: str, mode: int) -> None:
        """Create ``path`` and its missing parents; an existing directory is left as it is."""

    def directory_mode(self, path: str) -> int:
        """Permission bits of a directory; raises NotADirectoryError, also for a symbolic link."""

    def list_directory(self, path: str) -> list[str]:
        """Names, sorted; raises FileNotFoundError."""

    def sync_directory(self, path: str) -> None: ...

    def remove_directory(self, path: str) -> None: ...

    def create(self, path: str, mode: int) -> File:
        """A new file, read-write; raises FileExistsError."""

    def open(self, path: str, *, writable: bool) -> File:
        """An existing regular file; never follows a symbolic link."""

    def read_mounted(self, directory: str, name: str, bytes_max: int) -> bytes:
        """Content of ``name`` in a directory that others fill, at most one byte over ``bytes_max``.

        Symbolic links are followed as long as they stay inside ``directory``. Raises OSError,
        FileNotFoundError among them.
        """

    def rename(self, source: str, target: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def free_bytes(self, path: str) -> int:
        """Bytes that an unprivileged process may still write on the volume of ``path``."""

    def lock(self, path: str) -> Lock | None:
        """Take the exclusive advisory lock of ``path`` (created if missing), or None if held."""


class Lock(Protocol):
    """A held advisory lock; the kernel drops it when the process dies."""

    def release(self) -> None: ...


class Disk(Protocol):
    """Where synchronous file work runs, one piece after the other."""

    async def run(self, work: Callable[[FileSystem], ResultT]) -> ResultT:
        """Run ``work`` on the disk; one at a time, in order. Never abandoned by cancellation."""


class Dialer(Protocol):
    """Outgoing connections; the address checked is the one dialled."""

    async def connect_tcp(self, host: str, port: int, *, tls_name: str | None) -> ByteStream:
        """A connection, with TLS if ``tls_name`` is given.

        Raises ``UpstreamFailed`` (``upstream_unreachable``, ``upstream_timeout``).
        """

    async def connect_unix(self, path: str) -> ByteStream:
        """A connection to a Unix socket. Raises ``UpstreamFailed``."""


class Receipt(msgspec.Struct, frozen=True):
    """A record's place in its chain, which it has from the moment it is submitted."""

    id: str
    seq: int
    hash: str


class Reservation(Protocol):
    """Spool bytes set aside for the records of one call, before anything is forwarded."""

    def release(self) -> None:
        """Give back what was not used. Harmless when called twice."""


class RecordLog(Protocol):
    """The spool, as a call sees it."""

    def reserve(self, records: int) -> Reservation:
        """Room for ``records`` records of the largest size.

        Raises TurnAway (``spool_full``, ``disk_failed``, ``no_key``, ``draining``).
        """

    def submit(self, reservation: Reservation, *drafts: Record, unhurried: bool = False) -> Commit:
        """Seal ``drafts`` now, in order, as one group, and queue them for the disk.

        ``unhurried``: nobody will wait for these, so they may share the next group's sync.
        Synchronous: order of calls is order of seq. What was submitted is written whether or
        not anybody waits. Raises TurnAway (``disk_failed``).
        """


class Commit(Protocol):
    """Records on their way to the disk. ``receipts``: what they are called there, in their
    order; they are durable once ``wait`` has returned."""

    @property
    def receipts(self) -> Sequence[Receipt]: ...

    async def wait(self) -> Sequence[Receipt]:
        """Return once they are durable (fsynced). Raises TurnAway (``disk_failed``)."""


class SealDraft(Protocol):
    """What the spool needs of the chain: ``seal.Sealer`` is one."""

    def seal(self, draft: Record) -> Sealed: ...


class ServiceAnswer(msgspec.Struct, frozen=True):
    """Answer of a central service: header names are lower-case; the body is bounded."""

    status: int
    headers: dict[str, str]
    body: bytes


class ServiceUnreachable(Exception):
    """No answer came: refused, cut, timed out, TLS failed or the answer was not HTTP.

    ``kind``: ``connect`` | ``timeout`` | ``tls`` | ``protocol``.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


class Service(Protocol):
    """One central service, reached over HTTP with ``Gatepost-Version`` and ``Gatepost-Signed``."""

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        of: RequestOf | None = None,
        answer_bytes_max: int | None = None,
        timeout_seconds: float | None = None,
    ) -> ServiceAnswer:
        """One request and its whole answer. Raises ServiceUnreachable. Never follows redirects."""
