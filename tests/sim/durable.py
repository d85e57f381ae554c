"""What a power cut would leave of the records on a simulated disk, read as it grows.

An index of its own over the durable image: it knows where a frame begins (``spool.frame``) and
uses nothing else of the spool, so that a spool that is wrong about itself is found out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

import msgspec

from gateway import seal
from spool import frame
from spool.segment import segment_base
from tests.sim.disk import SimDisk
from tests.sim.sectors import Inode
from tests.sim.twists import name_of


class _Chain(msgspec.Struct):
    seq: int


class _Head(msgspec.Struct):
    kind: str
    id: str
    chain: _Chain
    trace: str | None = None


class Frame(msgspec.Struct, frozen=True):
    """Where a record stands in a segment file: bytes ``start`` to ``end``."""

    path: str
    start: int
    end: int
    instance: str
    seq: int
    id: str
    kind: str


_decoder: Final = msgspec.json.Decoder(_Head)


class DurableIndex:
    """Durable records of one disk under ``root``. ``refresh`` before asking.

    ``decisions``: id → name of the call; ``names``: names of decided calls; ``last_seq``: by
    instance; ``frame_bytes``: by instance and seq, what a record takes in its segment;
    ``frames``: where each record stands; ``known``: ids of all that were durable at some time;
    ``behind_seals``: instance and seq of what follows the last record of a chain.
    """

    def __init__(self, disk: SimDisk, root: str) -> None:
        self.decisions: dict[str, str | None] = {}
        self.names: set[str | None] = set()
        self.last_seq: dict[str, int] = {}
        self.frame_bytes: dict[str, dict[int, int]] = {}
        self.ids: dict[str, dict[int, str]] = {}
        self.frames: list[Frame] = []
        self.known: set[str] = set()
        self.behind_seals: list[tuple[str, int]] = []
        self._sealed: set[str] = set()
        self._disk = disk
        self._root = root
        self._read_to: dict[str, int] = {}
        self._read_at: dict[str, tuple[Inode, int]] = {}
        self._seen: tuple[int, int] | None = None

    def refresh(self) -> None:
        """Read what has become durable since the last time."""
        # Nothing else makes anything durable.
        seen = (self._disk.syncs, self._disk.name_syncs)
        if seen == self._seen:
            return
        self._seen = seen
        for path, inode in self._disk.durable_files():
            # The same file, and not synced since: most of what a crash loop leaves.
            if path.startswith(self._root) and self._read_at.get(path) != (inode, inode.syncs):
                self._read_at[path] = (inode, inode.syncs)
                parts = path[len(self._root) + 1 :].split("/")
                base = segment_base(parts[-1])
                if base is not None and len(parts) == 2:
                    self._read(path, parts[0], base, inode.durable)

    def holds(self, payload: bytes) -> bool:
        """Whether these bytes are durable, in whatever is left around them."""
        files = self._disk.durable_files()
        return any(payload in one.durable for path, one in files if path.startswith(self._root))

    def _read(self, path: str, instance: str, base: int, data: bytes | bytearray) -> None:
        at, rotten = self._read_to.get(path, frame.PAGE_BYTES), path in self._disk.rotten
        for head, start, end in _records(data, instance, base, at, rotten=rotten):
            self._note(instance, head)
            place = Frame(path, start, end, instance, head.chain.seq, head.id, head.kind)
            self.frames.append(place)
            self.frame_bytes.setdefault(instance, {})[head.chain.seq] = end - start
            self._read_to[path] = end

    def _note(self, instance: str, head: _Head) -> None:
        self.known.add(head.id)
        self.last_seq[instance] = max(head.chain.seq, self.last_seq.get(instance, -1))
        self.ids.setdefault(instance, {})[head.chain.seq] = head.id
        if instance in self._sealed:
            self.behind_seals.append((instance, head.chain.seq))
        if head.kind == "seal":
            self._sealed.add(instance)
        if head.kind == "decision":
            name = name_of(head.trace)
            self.decisions[head.id] = name
            self.names.add(name)


def _records(
    data: bytes | bytearray, instance: str, base: int, at: int, *, rotten: bool = False
) -> Iterator[tuple[_Head, int, int]]:
    """Records from offset ``at`` of a segment on, each with its start and end.

    Up to the first bad frame; in a ``rotten`` file sound ones may follow.
    """
    salt = frame.segment_salt(frame.instance_bytes(instance), base)
    while True:
        head = bytes(data[at : at + frame.FRAME_HEADER_BYTES])
        header = frame.decode_frame_header(head, 0, salt)
        if header is None:
            found = frame.find_frame_header(bytes(data), at + 1, salt) if rotten else None
            if found is None:
                return
            at = found.offset
            continue
        if header.type != frame.TYPE_RECORD:
            return
        body_at = at + header.body_offset
        body = bytes(data[body_at : body_at + header.body_bytes])
        start, at = at, at + header.end
        if len(body) == header.body_bytes and zlib.crc32(body, salt) == header.body_crc:
            yield _decoder.decode(body[4 : -seal.SIGNATURE_BYTES]), start, at
        elif not rotten:
            return


def segment_ids(path: str, data: bytes | bytearray) -> list[str]:
    """Ids of the records in the segment ``path``; none for a file that is no segment."""
    *_, instance, name = path.split("/")
    base = segment_base(name)
    if base is None:
        return []
    return [head.id for head, *_ in _records(data, instance, base, frame.PAGE_BYTES)]
