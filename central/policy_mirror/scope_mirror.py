"""The policy of one scope, as a mirror holds it: verified by the cache that daemons use.

Owns: which envelopes are served (only those that the cache accepted, as they came), waking those
who wait for a newer head, and fetching the other bundles that a head names. Refuses: verifying a
head or the bundle in force, and when to ask, which are ``policy_cache``'s; and making a head live
longer: one that has expired is served as it is, for its signed expiry is what daemons judge by.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

import anyio

from central.policy_mirror.kept_source import KeptSource
from central.policy_mirror.pins import further_pins, head_in
from central.served_head import ServedHead, served
from gateway.documents import BundlePin
from gateway.errors import DocumentInvalid
from gateway.ports import Disk, Entropy, WallClock
from gateway.snapshot import Snapshot
from policy_cache import trusted
from policy_cache.cache import PolicyCache
from policy_cache.config import CacheConfig
from policy_cache.fetch import FetchFailed, PolicySource
from policy_cache.status import PolicyStatus
from policy_cache.store import PolicyStore

_log: Final = logging.getLogger("gatepost.central")
_GOOD: Final = frozenset({"policy_activated"})
_AGAIN_SECONDS: Final = 30.0
"""Between two attempts at a bundle that a head names and that could not be had."""


class ScopeMirror:
    """``load`` once, then ``run`` in a task of its own. ``head``: None before the first.

    ``missing``: digests of bundles that the head names beside the one in force, and that could not
    be had or were refused.
    """

    def __init__(
        self,
        source: PolicySource,
        disk: Disk,
        clock: WallClock,
        entropy: Entropy,
        config: CacheConfig,
    ) -> None:
        self.scope = config.scope
        self.head: ServedHead | None = None
        self.missing: tuple[str, ...] = ()
        self._origin = source
        self._source = KeptSource(source)
        self._directory = config.directory
        self._stable = PolicyStore(disk, config.directory)
        self._further = PolicyStore(disk, f"{config.directory}/further")
        self._bundle: tuple[str, bytes] | None = None
        self._changed = anyio.Event()
        self._cache = PolicyCache(
            self._source, disk, clock, entropy, config, self._report, self._in_force
        )

    async def load(self) -> None:
        """Serve what the disk holds, verified from the pinned root again."""
        await self._cache.load()
        try:
            stored = await self._stable.load()
            await self._further.load()
        except OSError as error:
            self._report("policy_persist_failed", f"cannot read {self._directory}: {error}")
            return
        self._source.roots = dict(enumerate(stored.roots, 1))
        snapshot = self._cache.current()
        for data in (stored.head, stored.lock):
            # What the cache accepted of the two is the one that its snapshot names.
            with contextlib.suppress(DocumentInvalid):
                if data is not None and snapshot is not None and _is_of(data, snapshot):
                    self._serve(data)

    async def run(self) -> None:
        """Follow the source for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cache.run)
            tasks.start_soon(self._complete)

    async def aclose(self) -> None:
        """Give the directories' locks back."""
        await self._cache.aclose()
        await self._further.close()
        await self._stable.close()

    async def wait_changed(self) -> None:
        """Return with the next newer head."""
        await self._changed.wait()

    @property
    def alarms(self) -> tuple[str, ...]:
        """Those of a daemon's policy; ``policy_rejected`` from a refusal to the next newer head
        that is good; ``bundle_missing``."""
        ours = {
            "policy_rejected": self._cache.progress.refused is not None,
            "bundle_missing": bool(self.missing),
        }
        return (*self.status().alarms, *(word for word, up in ours.items() if up))

    def status(self) -> PolicyStatus:
        """As a daemon's of the policy that it holds."""
        return self._cache.status()

    def root(self, version: int) -> bytes | None:
        """The envelope of root ``version``, if it was verified."""
        newest = self._cache.root
        if newest is None or not 1 <= version <= newest.version:
            return None
        return self._source.roots.get(version)

    @property
    def has_root(self) -> bool:
        return self._cache.root is not None

    async def bundle(self, digest: str) -> bytes | None:
        """The envelope of a bundle that a verified head named, if it is here."""
        if self._bundle is not None and self._bundle[0] == digest:
            return self._bundle[1]
        for store in (self._stable, self._further):
            with contextlib.suppress(OSError):
                data = await store.read_bundle(digest)
                if data is not None:
                    return data
        return None

    def _in_force(self, snapshot: Snapshot) -> None:
        data = self._source.bundles.get(snapshot.digest)
        if data is not None:
            # A volume that is full must not keep the region from a policy that was verified.
            self._bundle = (snapshot.digest, data)
        if self._source.newest_head is not None:
            self._serve(self._source.newest_head)

    def _serve(self, envelope: bytes) -> None:
        if self.head is not None and self.head.envelope == envelope:
            return
        self.head = served(envelope)
        told, self._changed = self._changed, anyio.Event()
        told.set()

    async def _complete(self) -> None:
        """Have whatever else the head names, after each new one and as long as some is missing."""
        while True:
            changed = self._changed
            if self.head is not None:
                pins = further_pins(head_in(self.head.envelope))
                lacking = [pin.digest for pin in pins if not await self._obtain(pin)]
                self.missing = tuple(lacking)
                with contextlib.suppress(OSError):
                    await self._further.drop_bundles_but(frozenset(pin.digest for pin in pins))
            with anyio.move_on_after(_AGAIN_SECONDS if self.missing else None):
                await changed.wait()

    async def _obtain(self, pin: BundlePin) -> bool:
        root = self._cache.root
        if root is None:
            return False
        held = await self.bundle(pin.digest)
        with contextlib.suppress(DocumentInvalid):
            if held is not None:
                trusted.open_pinned(held, pin, root)
                return True
        try:
            data = await self._origin.bundle(pin.digest, pin.length)
            trusted.open_pinned(data, pin, root)
            await self._further.save_bundle(pin.digest, data)
        except (FetchFailed, DocumentInvalid, OSError) as error:
            self._report("bundle_missing", f"{pin.digest}: {error}")
            return False
        return True

    def _report(self, event: str, detail: str) -> None:
        level = logging.INFO if event in _GOOD else logging.WARNING
        _log.log(level, "%s %s: %s", event, self.scope, detail)


def _is_of(envelope: bytes, snapshot: Snapshot) -> bool:
    head = head_in(envelope)
    return (head.scope, head.epoch, head.version) == (
        snapshot.scope,
        snapshot.epoch,
        snapshot.head_version,
    )
