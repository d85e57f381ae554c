"""python-tuf as the other implementation: our documents in its formats, and its own client.

A root is a root, a head is timestamp and snapshot, a bundle is the top-level targets. Owns: that
mapping. Refuses: any check of its own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    T,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from tests.unit.policy_cache import histories
from tests.unit.policy_cache.histories import BundlePlan, HeadPlan, RootPlan, Step
from tests.unit.policy_cache.verdict import Verdict

_BEGAN = datetime(2027, 1, 15, 8, tzinfo=UTC)
_TEXT = JSONSerializer()


@functools.cache
def _signer(number: int) -> CryptoSigner:
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    public = SSlibKey.from_crypto(private.public_key(), keyid=f"{number:064x}")
    return CryptoSigner(private, public)


def _time(seconds: int) -> datetime:
    return _BEGAN + timedelta(seconds=seconds)


def _text(signed: T, signed_by: tuple[int, ...]) -> bytes:
    document = Metadata(signed)
    for number in signed_by:
        document.sign(_signer(number), append=True)
    return document.to_bytes(_TEXT)


def _role(role: histories.Role) -> Role:
    return Role([_signer(number).public_key.keyid for number in role.keys], role.threshold)


@functools.lru_cache(4096)
def _root(plan: RootPlan) -> bytes:
    numbers = {*plan.root.keys, *plan.head.keys, *plan.bundle.keys}
    return _text(
        Root(
            version=plan.version,
            expires=_time(plan.expires),
            keys={_signer(n).public_key.keyid: _signer(n).public_key for n in numbers},
            roles={
                "root": _role(plan.root),
                "timestamp": _role(plan.head),
                "snapshot": _role(plan.head),
                "targets": _role(plan.bundle),
            },
            consistent_snapshot=False,
        ),
        plan.signed_by,
    )


@functools.lru_cache(4096)
def _bundle(plan: BundlePlan) -> bytes:
    name = f"policy-{plan.content}"
    target = TargetFile(len(name), {"sha256": hashlib.sha256(name.encode()).hexdigest()}, name)
    targets = Targets(version=plan.version, expires=_time(plan.expires), targets={name: target})
    return _text(targets, plan.signed_by)


def _pin(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})


@functools.lru_cache(4096)
def _snapshot(plan: HeadPlan) -> bytes:
    meta = {"targets.json": _pin(plan.bundle.version, _bundle(plan.bundle))}
    snapshot = Snapshot(version=plan.version, expires=_time(plan.expires), meta=meta)
    return _text(snapshot, plan.signed_by)


@functools.lru_cache(4096)
def _timestamp(plan: HeadPlan) -> bytes:
    timestamp = Timestamp(
        version=plan.version,
        expires=_time(plan.expires),
        snapshot_meta=_pin(plan.version, _snapshot(plan)),
    )
    return _text(timestamp, plan.signed_by)


class _Shelf(FetcherInterface):
    """Serves one step. Names are those of a repository without consistent snapshots."""

    def __init__(self, step: Step) -> None:
        self._files: dict[str, Callable[[], bytes]] = {
            "timestamp.json": partial(_timestamp, step.head),
            "snapshot.json": partial(_snapshot, step.head),
            "targets.json": partial(_bundle, step.bundle),
        }
        for served_as, plan in enumerate(step.roots, 1):
            self._files[f"{served_as}.root.json"] = partial(_root, plan)

    def _fetch(self, url: str) -> Iterator[bytes]:
        make = self._files.get(url.rpartition("/")[2])
        if make is None:
            raise DownloadHTTPError("not there", 404)
        return iter([make()])


class TufClient:
    """One client on ``directory``, which it keeps from step to step as a process would."""

    def __init__(self, directory: Path, first: RootPlan) -> None:
        self._directory = directory
        self._first = _root(first)

    def see(self, step: Step) -> Verdict:
        """Refresh from what ``step`` serves."""
        updater = Updater(
            str(self._directory),
            "https://policy.invalid/",
            fetcher=_Shelf(step),
            bootstrap=self._first,
        )
        trusted = updater._trusted_set  # it has no port for its clock
        trusted.reference_time = _time(step.now)
        code = ""
        try:
            updater.refresh()
        except (RepositoryError, DownloadError) as error:
            code = type(error).__name__
        if code:
            return Verdict(code, trusted.root.version)
        (content,) = trusted.targets.targets
        return Verdict("", trusted.root.version, trusted.timestamp.version, content)
