"""The host key: drawn once, durable before it is used, private, and never guessed at."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import anyio
import pytest

from gateway import seal
from gateway.errors import ConfigInvalid
from gateway.io.disk import ThreadDisk
from sidecar.hostkey import load_host_key, read_token
from tests.sim.disk import Faults, PowerCut, SimDisk
from tests.sim.entropy import SeededEntropy
from tests.sim.loop import elapse, simulate

PATH = "/var/lib/gatepost/host.key"


def load(disk: SimDisk, seed: int = 1) -> seal.Signer:
    async def world() -> seal.Signer:
        return await load_host_key(disk, PATH, SeededEntropy(seed))

    return simulate(0, world)


def test_it_is_drawn_once_and_found_again() -> None:
    disk = SimDisk()
    drawn = load(disk)
    assert load(disk, seed=2).kid == drawn.kid
    assert disk.content(PATH) == base64.b64encode(SeededEntropy(1).bytes(32)) + b"\n"


def test_it_is_durable_before_it_is_used() -> None:
    disk = SimDisk()
    kid = load(disk).kid
    assert load(disk.cut(keep=0.0), seed=2).kid == kid


def test_a_power_cut_leaves_a_whole_key_or_none() -> None:
    operations = 0
    disk = SimDisk()
    load(disk)
    for operation in range(1, disk.operations + 1):
        for keep in (0.0, 0.5, 1.0):
            cut = SimDisk(operation, Faults(cut_at_operation=operation))
            with pytest.raises(PowerCut):
                load(cut)
            left = cut.cut(keep)
            found = load(left, seed=2)
            assert found.kid == load(left, seed=3).kid
            operations += 1
    assert operations >= 15


def test_short_writes_are_written_to_the_end() -> None:
    disk = SimDisk(1, Faults(short_counts=True))
    assert load(disk).kid == load(disk, seed=2).kid


def test_two_daemons_that_start_together_draw_one_key() -> None:
    disk = SimDisk()
    drawn: list[str] = []

    async def start(seed: int) -> None:
        drawn.append((await load_host_key(disk, PATH, SeededEntropy(seed))).kid)

    async def world() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start, 1)
            tasks.start_soon(start, 2)

    simulate(3, world)
    assert len(drawn) == 2
    assert len(set(drawn)) == 1


def test_while_another_process_draws_it_is_waited_for() -> None:
    disk = SimDisk()
    disk.put("/var/lib/gatepost/x", b"")
    disk.locks.add(f"{PATH}.lock")
    theirs = base64.b64encode(b"t" * 32)

    async def other() -> None:
        await elapse(1)
        disk.put(PATH, theirs)
        disk.locks.clear()

    async def world() -> str:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            key = await load_host_key(disk, PATH, SeededEntropy(1))
        return key.kid

    assert simulate(1, world) == seal.Signer(b"t" * 32).kid


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"not base64!", base64.b64encode(b"s" * 31), base64.b64encode(b"s" * 33), b"\xff"],
)
def test_a_file_that_is_no_key_is_never_replaced(text: bytes) -> None:
    disk = SimDisk()
    disk.put(PATH, text)
    with pytest.raises(ConfigInvalid, match=r"host\.key.*32 bytes"):
        load(disk)
    assert disk.content(PATH) == text


def test_a_full_volume_is_named() -> None:
    with pytest.raises(ConfigInvalid, match=r"host\.key.*space"):
        load(SimDisk(0, Faults(capacity_bytes=0)))


# -- on a real disk --------------------------------------------------------------------------

pytestmark = pytest.mark.anyio


async def load_real(path: Path) -> seal.Signer:
    return await load_host_key(ThreadDisk(), str(path), SeededEntropy(1))


async def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "host.key"
    before = os.umask(0)
    try:
        key = await load_real(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (await load_real(path)).kid == key.kid
    assert sorted(one.name for one in path.parent.iterdir()) == ["host.key", "host.key.lock"]


async def test_a_mounted_secret_is_a_link_and_is_read(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_text("  gpo_x\n")
    (tmp_path / "token").symlink_to("..data/token")
    assert await read_token(ThreadDisk(), str(tmp_path / "token")) == "gpo_x"


async def test_what_cannot_be_read_or_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigInvalid, match=r"file/host.key"):
        await load_real(tmp_path / "file" / "host.key")
    with pytest.raises(ConfigInvalid, match="not a regular file"):
        await load_real(tmp_path)
    with pytest.raises(ConfigInvalid, match="one-time token file"):
        await read_token(ThreadDisk(), str(tmp_path))


@pytest.mark.parametrize(
    ("text", "token"), [("gpo_x", "gpo_x"), (" gpo_x \n", "gpo_x"), ("", None), ("\n", None)]
)
async def test_a_token_is_read_without_its_white_space(
    tmp_path: Path, text: str, token: str | None
) -> None:
    (tmp_path / "token").write_text(text)
    assert await read_token(ThreadDisk(), str(tmp_path / "token")) == token


async def test_a_token_that_is_gone_was_spent(tmp_path: Path) -> None:
    assert await read_token(ThreadDisk(), str(tmp_path / "token")) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
async def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "host.key"
    await load_real(path)
    path.chmod(mode)
    with pytest.raises(ConfigInvalid, match=rf"host\.key: mode {mode:04o} lets others in"):
        await load_real(path)
    path.chmod(0o400)
    assert (await load_real(path)).kid
