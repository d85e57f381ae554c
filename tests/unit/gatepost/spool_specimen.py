"""A spool on disk with one instance in every state, and the configuration that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.documents import Envelope
from gateway.io import file_lock
from gateway.seal import Sealed, sha256_text
from spool import home
from spool.dead import SETTLED_NAME, Settled
from spool.source import SetAside
from tests import specimens
from tests.exports import Writer, root
from tests.unit.spool.on_disk import FILES, put_home, put_segment

SET_ASIDE_BYTES = b"\x00torn\x1b[2J" * 8


class Specimen:
    """``root``: the spool; ``roots``: root documents. Members name the instances."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "spool"
        self.roots = directory / "policy" / "roots"
        self.roots.mkdir(parents=True)
        (self.roots / "1.json").write_bytes(root().envelope)
        self.sealed = Writer(1)
        self.live = Writer(2)
        self.records = certified(self.sealed, calls=3)
        place = put_home(self.root, self.sealed.instance)
        put_segment(place, self.records[:3], end=True)
        self.last_segment = put_segment(place, self.records[3:], end=True)

    def home(self, writer: Writer) -> Path:
        return self.root / writer.instance

    def settle(self, writer: Writer) -> None:
        """A successor has recorded what it found."""
        note = Settled(by="x", seq=1, wall_us=1)
        (self.home(writer) / SETTLED_NAME).write_bytes(msgspec.json.encode(note))

    def refuse(self, writer: Writer, sealed: Sealed) -> str:
        """The store refused a record; the name of the file."""
        why = SetAside(writer.instance, sealed.seq, 422, "schema [red]v9")
        data = msgspec.json.encode(why) + b"\n" + sealed.envelope_line() + b"\n"
        name = home.refused_name(sealed.seq)
        home.quarantine(FILES, str(self.home(writer)), {name: data})
        return name

    def damage(self, writer: Writer, base_seq: int, offset: int) -> str:
        """A stretch of a segment was set aside; the name of the file."""
        place = str(self.home(writer))
        name = home.damage_name(FILES, place, base_seq, offset, SET_ASIDE_BYTES)
        home.quarantine(FILES, place, {name: SET_ASIDE_BYTES})
        return name

    @contextmanager
    def running(self) -> Iterator[list[Sealed]]:
        """A live instance: three records, a prepared segment, and the lock held."""
        place = put_home(self.root, self.live.instance)
        records = certified(self.live)[:-1]
        put_segment(place, records)
        (place / "next-1.tmp").write_bytes(bytes(1000))
        lock = file_lock.take(str(place / "LOCK"))
        assert lock is not None
        try:
            yield records
        finally:
            lock.release()


def certified(writer: Writer, calls: int = 1) -> list[Sealed]:
    """A whole chain whose certificate came late, in a heartbeat."""
    certificate = msgspec.json.decode(writer.certificate(), type=Envelope)
    records = [writer.start()]
    for _ in range(calls):
        records += writer.call()
    records.append(writer.write(specimens.HEARTBEAT, certificate=certificate))
    return [*records, writer.write(specimens.SEAL)]


SET_ASIDE_DIGEST = sha256_text(SET_ASIDE_BYTES)
