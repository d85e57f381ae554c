"""What is set aside stays what a record says of it, and nothing else is touched for it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import anyio
import pytest

from gateway.errors import ConfigInvalid
from gateway.io.disk import OsFileSystem, ThreadDisk
from gateway.ports import Receipt
from gateway.seal import sha256_text
from spool import frame
from spool import home as place
from spool.dead import DeadInstance
from spool.frame import SegmentHeader
from spool.recover import find_dead
from tests.sim.disk import SimDisk
from tests.sim.files import SimFiles
from tests.sim.left_behind import SEGMENT_BYTES, files_of, home, put_segment, recover
from tests.sim.loop import simulate
from tests.sim.records import PLACE, instance_id, sealed_records

FILES = OsFileSystem()


def test_rot_that_goes_on_gets_a_file_of_its_own() -> None:
    """Each digest in a record is of bytes that are still there."""
    disk = SimDisk()
    path = put_segment(disk, sealed_records(40))
    size = frame.record_frame_bytes(len(sealed_records(1)[0].payload))
    digests: dict[str, str] = {}
    for index in range(0, 40, 2):
        disk.flip_bit(path, (frame.PAGE_BYTES + index * size + 60) * 8)
        (dead,), _ = recover(disk)
        digests |= {one.file: one.digest for one in dead.findings.quarantined}
        dead.release()
        disk.flip_bit(path, (frame.PAGE_BYTES + index * size + 61) * 8)
    kept = {
        name.removeprefix("quarantine/"): sha256_text(disk.content(f"{home()}/{name}"))
        for name in files_of(disk)
        if name.startswith("quarantine/")
    }
    assert digests == kept
    assert len(kept) > 20
    assert any(len(disk.content(f"{home()}/quarantine/{name}")) == SEGMENT_BYTES for name in kept)


def test_the_quarantine_of_a_directory_left_alone_counts_against_the_quota() -> None:
    disk = SimDisk()
    path = put_segment(disk, sealed_records(3))
    disk.put(f"{home()}/quarantine/{0:020d}-4096.bin", b"x" * 1_000)
    disk.modes[home()] = 0o777
    _, (alone,) = recover(disk)
    assert alone.bytes_used == len(disk.content(path)) + 1_000


def _dead_with_damage(root: Path) -> Path:
    """A real directory of a dead instance with a damaged record in it; returns its path."""
    raw, directory = frame.instance_bytes(instance_id(1)), root / instance_id(1)
    salt = frame.segment_salt(raw, 0)
    data = bytearray(frame.encode_header(SegmentHeader(raw, 0, salt, SEGMENT_BYTES)))
    for record in sealed_records(3):
        data += frame.encode_batch([record], salt)
    data[frame.PAGE_BYTES + 60] ^= 1
    directory.mkdir(mode=0o700, parents=True)
    (directory / f"seg-{0:020d}.log").write_bytes(bytes(data).ljust(SEGMENT_BYTES, b"\0"))
    return directory


@pytest.mark.anyio
async def test_a_link_in_the_place_of_the_quarantine_is_never_written_through(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (_dead_with_damage(tmp_path / "spool") / "quarantine").symlink_to(elsewhere)
    dead, (alone,) = await find_dead(ThreadDisk(), f"{tmp_path}/spool", PLACE, wall_us=0)
    assert dead == []
    assert "not a directory" in alone.why
    assert list(elsewhere.iterdir()) == []


@pytest.mark.anyio
async def test_a_link_in_the_place_of_the_quarantine_is_never_followed_for_deletion(
    tmp_path: Path,
) -> None:
    elsewhere, disk = tmp_path / "elsewhere", ThreadDisk()
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"x")
    directory = _dead_with_damage(tmp_path / "spool")
    (dead,), _ = await find_dead(disk, f"{tmp_path}/spool", PLACE, wall_us=0)
    await dead.trim(disk, 2)
    await dead.settle(disk, Receipt(id="r", seq=1, hash="h"), instance_id(2), 0)
    (directory / "quarantine").rename(tmp_path / "moved")
    (directory / "quarantine").symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        await dead.remove(disk)
    assert (elsewhere / "precious").exists()
    dead.release()


@pytest.mark.anyio
async def test_a_link_in_the_place_of_an_instance_is_left_alone(tmp_path: Path) -> None:
    directory = _dead_with_damage(tmp_path / "elsewhere")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / instance_id(1)).symlink_to(directory)
    before = sorted(directory.iterdir())
    dead, (alone,) = await find_dead(ThreadDisk(), f"{tmp_path}/spool", PLACE, wall_us=0)
    assert (dead, "not a directory" in alone.why) == ([], True)
    assert sorted(directory.iterdir()) == before


def test_no_umask_makes_what_is_written_readable_by_others(tmp_path: Path) -> None:
    directory = _dead_with_damage(tmp_path / "spool")

    async def run() -> DeadInstance:
        (dead,), _ = await find_dead(ThreadDisk(), f"{tmp_path}/spool", PLACE, wall_us=0)
        return dead

    before = os.umask(0)
    try:
        dead = anyio.run(run)
    finally:
        os.umask(before)
    quarantine = directory / place.QUARANTINE_NAME
    assert quarantine.stat().st_mode & 0o777 == 0o700
    (kept,) = quarantine.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (directory / place.LOCK_NAME).stat().st_mode & 0o777 == 0o600
    dead.release()


@pytest.mark.parametrize("missing", ["lock", "sync_directory"])
def test_a_file_system_without_locks_or_a_sync_of_directories_is_named_as_such(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What some network, FUSE and 9p volumes answer."""

    def refuse(self: SimFiles, path: str) -> None:
        raise OSError(errno.EINVAL, "Invalid argument", path)

    monkeypatch.setattr(SimFiles, missing, refuse)
    with pytest.raises(ConfigInvalid, match=r"Invalid argument.*flock.*sync of directories"):
        simulate(0, lambda: place.make_home(SimDisk(), "/var/spool", instance_id(1)))
