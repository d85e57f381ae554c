"""The real disk: what the simulated one promises must be true of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import anyio
import pytest

from gateway.io.disk import OsFileSystem, ThreadDisk
from gateway.ports import FileSystem
from spool import read
from spool.config import SpoolConfig
from spool.recover import find_dead
from spool.spool import Spool
from tests.sim.disk import SimDisk
from tests.sim.files import SimFiles
from tests.sim.records import PLACE, draft, instance_id, seal_draft, sealer

FILES = OsFileSystem()


def _simulated(root: Path) -> FileSystem:
    disk = SimDisk()
    disk.put(f"{root}/there/file", b"content")
    return SimFiles(disk)


def _real(root: Path) -> FileSystem:
    (root / "there").mkdir(mode=0o700)
    (root / "there/file").write_bytes(b"content")
    return FILES


both = pytest.mark.parametrize("make", [_real, _simulated])


@both
def test_files_behave_alike(make: Callable[[Path], FileSystem], tmp_path: Path) -> None:
    files, there = make(tmp_path), f"{tmp_path}/there"
    file = files.create(f"{there}/new", 0o600)
    assert file.pwrite(b"abc", 5) == 3
    assert file.pwrite(memoryview(b"xyz"), 0) == 3
    assert file.pread(100, 0) == b"xyz\0\0abc"
    assert file.pread(5, 100) == b""
    assert file.size() == 8
    file.fdatasync()
    file.close()
    files.rename(f"{there}/new", f"{there}/file")
    assert files.list_directory(there) == ["file"]
    files.sync_directory(there)
    again = files.open(f"{there}/file", writable=False)
    assert again.pread(3, 0) == b"xyz"
    again.close()
    files.unlink(f"{there}/file")
    files.remove_directory(there)
    with pytest.raises(FileNotFoundError):
        files.list_directory(there)
    assert files.free_bytes(str(tmp_path)) > 0


@both
def test_refusals_are_alike(make: Callable[[Path], FileSystem], tmp_path: Path) -> None:
    files, there = make(tmp_path), f"{tmp_path}/there"
    with pytest.raises(FileExistsError):
        files.create(f"{there}/file", 0o600)
    with pytest.raises(FileNotFoundError):
        files.open(f"{there}/missing", writable=True)
    with pytest.raises(FileNotFoundError):
        files.unlink(f"{there}/missing")
    with pytest.raises(FileNotFoundError):
        files.lock(f"{tmp_path}/missing/LOCK")
    with pytest.raises(NotADirectoryError):
        files.directory_mode(f"{there}/file")
    with pytest.raises(OSError, match="not empty"):
        files.remove_directory(there)
    assert files.directory_mode(there) == 0o700
    files.make_directory(there, 0o755)
    assert files.directory_mode(there) == 0o700


@both
def test_a_lock_is_held_once_and_given_up(
    make: Callable[[Path], FileSystem], tmp_path: Path
) -> None:
    files, path = make(tmp_path), f"{tmp_path}/there/LOCK"
    lock = files.lock(path)
    assert lock is not None
    assert files.lock(path) is None
    lock.release()
    lock.release()
    again = files.lock(path)
    assert again is not None
    again.release()


def test_links_and_pipes_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for writable in (False, True):
        with pytest.raises(OSError, match="symbolic links"):
            FILES.open(f"{tmp_path}/link", writable=writable)
        with pytest.raises(OSError, match="not a regular file"):
            FILES.open(f"{tmp_path}/pipe", writable=writable)
    with pytest.raises(OSError, match="symbolic links"):
        FILES.lock(f"{tmp_path}/link")
    with pytest.raises(NotADirectoryError):
        FILES.directory_mode(f"{tmp_path}/up")


def test_files_are_private_and_not_inherited(tmp_path: Path) -> None:
    file = FILES.create(f"{tmp_path}/new", 0o600)
    descriptors = [
        int(name)
        for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}")
        and os.readlink(f"/proc/self/fd/{name}") == f"{tmp_path}/new"
    ]
    assert [os.get_inheritable(one) for one in descriptors] == [False]
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    file.close()


@pytest.mark.anyio
async def test_work_runs_one_at_a_time_off_the_loop() -> None:
    disk, running, most = ThreadDisk(), 0, 0

    def work(_: FileSystem) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        running -= 1
        return threading.get_ident()

    threads = []

    async def one() -> None:
        threads.append(await disk.run(work))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    assert most == 1
    assert threading.get_ident() not in threads


@pytest.mark.anyio
async def test_work_that_has_begun_is_never_abandoned() -> None:
    disk, begun, go_on, ended = ThreadDisk(), anyio.Event(), threading.Event(), []

    def work(_: FileSystem) -> None:
        anyio.from_thread.run_sync(begun.set)
        go_on.wait(5)
        ended.append(True)

    async def caller() -> None:
        await disk.run(work)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await begun.wait()
        tasks.cancel_scope.cancel()
        go_on.set()
    assert ended == [True]


@pytest.mark.anyio
async def test_the_spool_lives_and_dies_on_a_real_disk(tmp_path: Path) -> None:
    root = f"{tmp_path}/deep/spool"
    config = SpoolConfig(directory=root, segment_bytes=256 * 1024, spool_bytes_max=4 * 1024 * 1024)
    disk = ThreadDisk()
    spool = await Spool.open(disk, config, sealer(), instance_id(1), timer=perf_counter)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.run)
        for index in range(30):
            await spool.commit(spool.reserve(1), draft(f"r{index}", 12_000))
        assert await find_dead(disk, root, PLACE, wall_us=0) == ([], []), "its lock is held"
        await spool.commit(spool.kept_reservation(final=True), seal_draft())
        await spool.close()
    assert FILES.directory_mode(root) == 0o700
    (dead,), alone = await find_dead(disk, root, PLACE, wall_us=0)
    assert alone == []
    assert dead.findings.clean
    assert [one.seq for one in read.records(FILES, spool.directory)] == list(range(31))
    await dead.trim(disk, 30)
    await dead.remove(disk)
    assert FILES.list_directory(root) == []


_FILL = """
import resource, signal, sys, anyio
from time import perf_counter
from gateway.errors import TurnAway
from gateway.io.disk import ThreadDisk
from spool.config import SpoolConfig
from spool.spool import Spool
from tests.sim.records import draft, instance_id, sealer

async def main(root):
    config = SpoolConfig(directory=root, segment_bytes=256 * 1024, spool_bytes_max=2**24)
    spool = await Spool.open(
        ThreadDisk(), config, sealer(), instance_id(1), timer=perf_counter
    )
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.run)
        written = 0
        try:
            while True:
                reservation = spool.reserve(1)
                await spool.commit(reservation, draft("r", 12_000))
                written += 1
        except TurnAway as refusal:
            print(refusal.code, written, flush=True)
        await spool.close()

anyio.run(main, sys.argv[1])
"""


def test_a_file_size_limit_is_a_refusal_and_never_a_lost_answer(tmp_path: Path) -> None:
    """RLIMIT_FSIZE gives a short write, then EFBIG: what a full volume gives, without root."""
    ended = subprocess.run(
        [sys.executable, "-c", _FILL, f"{tmp_path}/spool"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    code, written = ended.stdout.split()
    assert code == "disk_failed"
    found = list(read.records(FILES, f"{tmp_path}/spool/{instance_id(1)}"))
    assert len(found) >= int(written) > 0


_SERVE = """
import sys, anyio
from time import perf_counter
from gateway.io.disk import ThreadDisk
from spool.config import SpoolConfig
from spool.spool import Spool
from tests.sim.records import draft, instance_id, sealer

async def client(spool):
    while True:
        reservation = spool.reserve(1)
        (receipt,) = await spool.commit(reservation, draft("r", 2_000))
        print(receipt.seq, receipt.hash, flush=True)

async def main(root):
    config = SpoolConfig(directory=root, segment_bytes=256 * 1024, spool_bytes_max=2**26)
    spool = await Spool.open(
        ThreadDisk(), config, sealer(), instance_id(1), timer=perf_counter
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.run)
        for _ in range(8):
            tasks.start_soon(client, spool)

anyio.run(main, sys.argv[1])
"""


@pytest.mark.parametrize("answers", [1, 40, 300])
def test_a_killed_process_leaves_every_record_it_answered(tmp_path: Path, answers: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE, f"{tmp_path}/spool"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(answers)]
        process.kill()
        lines += process.stdout.readlines()
    answered = dict(line.split() for line in lines if line.endswith("\n"))
    found = read.records(FILES, f"{tmp_path}/spool/{instance_id(1)}")
    kept = {str(one.seq): one.record_hash() for one in found}
    assert len(answered) >= answers
    assert answered.items() <= kept.items()
