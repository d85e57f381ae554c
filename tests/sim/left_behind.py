"""Directories of instances that are gone, as a crash leaves them, and their recovery."""

from __future__ import annotations

from gateway.seal import Sealed
from spool import frame
from spool.dead import DeadInstance
from spool.frame import SegmentHeader
from spool.recover import LeftAlone, find_dead
from tests.sim.disk import SimDisk
from tests.sim.loop import simulate
from tests.sim.records import PLACE, instance_id

ROOT = "/var/spool"
SEGMENT_BYTES = 256 * 1024


def home(number: int = 1) -> str:
    """The directory of that instance."""
    return f"{ROOT}/{instance_id(number)}"


def put_segment(
    disk: SimDisk, records: list[Sealed], *, number: int = 1, end: bool = False, batch: int = 1
) -> str:
    """A segment file with ``records``, in batches of ``batch``."""
    raw, base_seq = frame.instance_bytes(instance_id(number)), records[0].seq
    salt = frame.segment_salt(raw, base_seq)
    data = frame.encode_header(SegmentHeader(raw, base_seq, salt, SEGMENT_BYTES))
    for first in range(0, len(records), batch):
        data += frame.encode_batch(records[first : first + batch], salt)
    if end:
        data += frame.encode_segment_end(records[-1].seq + 1, salt)
    path = f"{home(number)}/seg-{base_seq:020d}.log"
    disk.put(f"{home(number)}/LOCK", b"")
    disk.put(path, data.ljust(SEGMENT_BYTES, b"\0"))
    return path


def recover(disk: SimDisk, wall_us: int = 0) -> tuple[list[DeadInstance], list[LeftAlone]]:
    """What the next start finds; it holds the locks until its disk is cut or killed."""

    async def world() -> tuple[list[DeadInstance], list[LeftAlone]]:
        return await find_dead(disk, ROOT, PLACE, wall_us=wall_us)

    return simulate(0, world)


def files_of(disk: SimDisk, number: int = 1) -> list[str]:
    """Names in the directory of an instance, those in quarantine too."""
    prefix = home(number) + "/"
    return [path.removeprefix(prefix) for path in disk.paths() if path.startswith(prefix)]
