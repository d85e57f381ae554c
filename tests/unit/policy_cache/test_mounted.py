"""A mounted directory as a source of policy: links inside it are followed, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import limits
from gateway.io import mounted
from gateway.io.disk import ThreadDisk
from policy_cache.fetch import FetchFailed
from policy_cache.mounted import MountedSource
from tests.sim.disk import SimDisk
from tests.unit.policy_cache import laid_out
from tests.unit.policy_cache.cache_world import World, held, in_time, until
from tests.unit.policy_cache.policy_world import SCOPE, Publisher


def source(directory: Path) -> MountedSource:
    return MountedSource(ThreadDisk(), str(directory))


@pytest.mark.anyio
async def test_a_config_map_is_read_through_its_links_and_after_each_swap(tmp_path: Path) -> None:
    publisher = Publisher()
    first, second = publisher.bundle(1), publisher.bundle(2)
    place = tmp_path / "mount"
    laid_out.mount(place, laid_out.flat(publisher, first, publisher.head(first)), 1)
    own = laid_out.acquirer(source(place), publisher, tmp_path / "cache")
    await own.load()
    assert await own.refresh(probe_root=True) == "activated"
    assert await own.refresh(probe_root=True) == "not_modified"
    publisher.add_root()
    head = publisher.head(second, 2, bundle_version=2)
    laid_out.mount(place, laid_out.flat(publisher, second, head), 2)
    assert await own.refresh(probe_root=False) == "activated"
    assert (laid_out.in_force(own).version, own.root_version) == (2, 2)
    lock = publisher.head(second, 3, bundle_version=2, lock="incident")
    laid_out.mount(place, laid_out.flat(publisher, second, lock), 3)
    assert await own.refresh(probe_root=False) == "activated"
    assert laid_out.in_force(own).locked


@pytest.mark.anyio
async def test_a_volume_laid_out_as_a_web_directory_will_do(tmp_path: Path) -> None:
    publisher = Publisher()
    bundle = publisher.bundle()
    place = tmp_path / "volume"
    laid_out.write(place, laid_out.nested(publisher, bundle, publisher.head(bundle)))
    own = laid_out.acquirer(source(place), publisher, tmp_path / "cache")
    assert await own.refresh(probe_root=True) == "activated"


@pytest.mark.anyio
async def test_what_is_missing_or_unreadable_is_told_apart(tmp_path: Path) -> None:
    async def kind(name: str) -> str:
        with pytest.raises(FetchFailed) as failed:
            await source(tmp_path / name).head(None)
        return failed.value.kind

    assert await kind("nowhere") == "missing"
    assert await source(tmp_path).root(1) is None
    for name in ("large", "fifo", "directory", "dangling", "out"):
        (tmp_path / name).mkdir()
    too_large = b" " * (limits.POLICY_HEAD_BYTES_MAX + 1)
    (tmp_path / "large" / "head.json").write_bytes(too_large)
    os.mkfifo(tmp_path / "fifo" / "head.json")
    (tmp_path / "directory" / "head.json").mkdir()
    (tmp_path / "dangling" / "head.json").symlink_to("nothing")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "out" / "head.json").symlink_to(tmp_path / "secret")
    assert await kind("large") == "unreadable"
    assert await kind("fifo") == "unreadable"
    assert await kind("directory") == "unreadable"
    assert await kind("dangling") == "missing"
    assert await kind("out") == "unreadable"


@pytest.mark.parametrize("target", ["../secret", "..", "/etc/hostname", "link-dir/../../secret"])
def test_no_link_leads_out_of_the_mount(tmp_path: Path, target: str) -> None:
    place = tmp_path / "mount"
    place.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (place / "link-dir").symlink_to(".")
    (place / "name").symlink_to(target)
    with pytest.raises(PermissionError, match="leads out"):
        mounted.read(str(place), "name", 100)


def test_no_more_is_read_than_one_byte_over_the_bound(tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(b"x" * 100)
    assert len(mounted.read(str(tmp_path), "name", 10)) == 11
    assert len(mounted.read(str(tmp_path), "name", 100)) == 100


def test_a_mounted_directory_is_read_again_on_the_timer_without_any_hint() -> None:
    async def main() -> None:
        world, mount = World(), SimDisk()
        world.publish(1)
        cache = world.cache(source=MountedSource(mount, "/mount"))
        world.lay_out(mount, "/mount")
        await until(cache, 10)
        assert held(cache).version == 1
        world.publish(2)
        world.lay_out(mount, "/mount")
        await until(cache, 61)
        assert (held(cache).version, held(cache).scope) == (2, SCOPE)

    in_time(main)
