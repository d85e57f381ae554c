"""Policy documents laid out as files: a web server's directory, and a ConfigMap as a kubelet
mounts it."""

from __future__ import annotations

from pathlib import Path

import anyio

from gateway.io.disk import ThreadDisk
from gateway.issuing import Issued
from gateway.snapshot import Snapshot
from policy_cache.acquire import Acquirer
from policy_cache.config import CacheConfig
from policy_cache.fetch import PolicySource
from policy_cache.signed_time import SignedTime
from policy_cache.store import PolicyStore
from tests.unit.policy_cache.policy_world import OWN_VERSION, SCOPE, Clock, Publisher


def nested(publisher: Publisher, bundle: Issued, head: Issued) -> dict[str, bytes]:
    """Name → content as on a web server."""
    roots = {f"root/{n}": one.envelope for n, one in enumerate(publisher.roots, 1)}
    return roots | {"head": head.envelope, f"blobs/sha256/{bundle.digest[7:]}": bundle.envelope}


def flat(publisher: Publisher, bundle: Issued, head: Issued) -> dict[str, bytes]:
    """Name → content as in a ConfigMap."""
    roots = {f"root-{n}.json": one.envelope for n, one in enumerate(publisher.roots, 1)}
    return roots | {"head.json": head.envelope, f"sha256-{bundle.digest[7:]}.json": bundle.envelope}


def write(directory: Path, files: dict[str, bytes]) -> None:
    """Plain files, each replaced in one rename."""
    for name, data in files.items():
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_suffix(".new").write_bytes(data)
        place.with_suffix(".new").rename(place)


def mount(directory: Path, files: dict[str, bytes], version: int) -> None:
    """What a kubelet does: a directory per version, ``..data`` that leads to it and is swapped in
    one rename, and a link per file."""
    directory.mkdir(exist_ok=True)
    below = directory / f"..version_{version}"
    write(below, files)
    swapped = directory / "..data_tmp"
    swapped.symlink_to(below.name)
    swapped.rename(directory / "..data")
    for name in files:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")


def acquirer(source: PolicySource, publisher: Publisher, directory: Path) -> Acquirer:
    """What one daemon holds, on the real disk and in real time."""
    clock = Clock(began_seconds=anyio.current_time())
    config = CacheConfig(
        scope=SCOPE,
        root_fingerprint=publisher.fingerprint,
        directory=str(directory),
        own_version=OWN_VERSION,
    )
    store = PolicyStore(ThreadDisk(), config.directory)
    return Acquirer(source, store, SignedTime(clock), config, lambda _: None)


def in_force(held: Acquirer) -> Snapshot:
    assert held.current is not None
    return held.current
