"""One attempt to get the newest policy: fetch, verify, keep on disk, put in force.

Owns: what is held (root, head, bundle, floors) and the order of the steps: a lock takes effect
before anything else is fetched; everything else is on disk before it is in force, so that a
restart never falls back to an older policy unnoticed. Refuses: when to try (``cache.py``) and
what is acceptable (``trusted.py``). What was refused changes nothing that is held; where the
candidate of a canary is refused or does not come, the bundle that the same head pins for all takes
its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import anyio
import anyio.to_thread
import msgspec

from gateway import roots, seal
from gateway.documents import Root
from gateway.errors import DocumentInvalid
from gateway.limits import ROOT_WALK_MAX
from gateway.snapshot import Snapshot
from policy_cache import trusted
from policy_cache.config import CacheConfig
from policy_cache.fetch import FetchFailed, PolicySource
from policy_cache.progress import Progress, Refusal
from policy_cache.signed_time import SignedTime
from policy_cache.store import PolicyStore
from policy_cache.trusted import Content, Floors, Head

Result = Literal["activated", "refreshed", "unchanged", "not_modified"]
"""``activated``: another bundle or lock is in force; ``refreshed``: a newer head for the same."""

_IN_LOOP_BYTES_MAX: Final = 64 * 1024
"""A bundle of this size takes some 3 ms to verify and compile; larger ones go to a thread."""
_NEEDS_NEWER_ROOT: Final = frozenset({"signature", "threshold", "root_behind", "epoch"})
_FINAL: Final = frozenset({"policy", "unsupported", "selftest", "unreadable", "inexact"})
"""Refusals that the same bytes will always get; they are not downloaded again."""


class Acquirer:
    """What is held of the policy of one scope, and how it is renewed.

    ``current`` is the snapshot in force. ``on_change`` is called with each new one. ``progress``:
    what is reported of it. ``passed_over``: why the candidate of the head in force is not.
    """

    def __init__(
        self,
        source: PolicySource,
        store: PolicyStore,
        time: SignedTime,
        config: CacheConfig,
        on_change: Callable[[Snapshot], None],
    ) -> None:
        self._source = source
        self._store = store
        self._time = time
        self._config = config
        self._on_change = on_change
        self._root: Root | None = None
        self._head: Head | None = None
        self._content: Content | None = None
        self._content_root: int | None = None
        self._floors = Floors()
        self._etag: str | None = None
        self._refused: tuple[str, DocumentInvalid] | None = None
        self._unsaved: dict[str, Callable[[], Awaitable[None]]] = {}
        self._unreadable = False
        self.root_held = anyio.Event()
        self.current: Snapshot | None = None
        self.progress = Progress()
        self.passed_over: DocumentInvalid | FetchFailed | None = None
        self._candidate_due = False

    @property
    def root(self) -> Root | None:
        """The newest verified root, which may have expired; None before the first."""
        return self._root

    @property
    def persist_degraded(self) -> bool:
        """Whether a restart might find no policy, or an older one."""
        return self._unreadable or bool(self._unsaved) or not self._store.writable

    @property
    def root_version(self) -> int | None:
        return None if self._root is None else self._root.version

    async def load(self) -> None:
        """Put in force what the disk holds, verified from the pinned root again.

        Nothing there is no error. Raises OSError, and DocumentInvalid for what was refused; what
        was accepted before that stays held.
        """
        try:
            stored = await self._store.load()
        except OSError:
            self._unreadable = True
            raise
        for envelope in stored.roots:
            # A root of another chain may lie behind one that is good; what is good is used.
            try:
                self._accept_root(envelope)
            except DocumentInvalid:
                if self._root is None:
                    raise
                break
        if self._root is None:
            return
        # The floors on disk are not signed. They can only make us stricter, within the epoch that
        # the signed root states.
        if stored.floors is not None and stored.floors.epoch <= self._root.epoch:
            self._floors = stored.floors
        if stored.head is None:
            return
        try:
            head = self._open_head(stored.head, self._time.now_us(), expired_ok=True)
        except DocumentInvalid as error:
            await self._keep_evidence(error.reason, stored.head)
            raise
        await self._load_bundle(head)
        if stored.lock is not None:
            self._load_lock(stored.lock)

    async def _load_bundle(self, head: Head) -> None:
        if head.candidate is not None:
            with contextlib.suppress(DocumentInvalid):
                if await self._load_pinned(head):
                    return
            # It was refused before, or is damaged: the first refresh tries it again.
            self._candidate_due = True
        await self._load_pinned(_for_all(head))

    async def _load_pinned(self, head: Head) -> bool:
        data = await self._store.read_bundle(head.pin.digest)
        if data is not None:
            self._activate(head, await self._open_bundle(data, head, expired_ok=True))
        return data is not None

    def _load_lock(self, data: bytes) -> None:
        # An older one that was lifted since is still there, and refused by its version.
        with contextlib.suppress(DocumentInvalid):
            head = self._open_head(data, self._time.now_us(), expired_ok=True)
            if self._content is not None and head.document.lock is not None:
                self._floors = trusted.raised(self._floors, self._held_root(), head)
                self._put_in_force(head, self._content)

    async def refresh(self, *, probe_root: bool) -> Result:
        """Fetch and accept what is newest.

        ``probe_root``: look for a newer root first. Raises FetchFailed; DocumentInvalid for a
        refused candidate. A failing disk only shows in ``persist_degraded``.
        """
        now_us = self._time.now_us()
        await self._save_what_is_not()
        if probe_root or self._root is None or self._root_expired(now_us):
            await self._walk_roots()
        trusted.check_root(self._held_root(), now_us)
        fetched = await self._source.head(self._etag if self._settled() else None)
        if fetched.data is None:
            return "not_modified"
        self.progress.came(self._time.now_us())
        try:
            head = await self._accept_head(fetched.data, now_us)
        except DocumentInvalid as error:
            self.progress.refuse(Refusal(error.reason, now_us))
            await self._keep_evidence(error.reason, fetched.data)
            raise
        try:
            result = await self._adopt(fetched.data, head)
        except DocumentInvalid as error:
            self.progress.refuse(_refusal(error, head, now_us))
            raise
        self._etag = fetched.etag
        if self.passed_over is None:
            self.progress.accepted()
        return result

    async def changed(self, seconds: float) -> bool:
        """Whether the source was seen to have another head within about ``seconds``: a hint."""
        etag = self._etag if self._settled() else None
        return etag is not None and await self._source.changed(etag, seconds)

    async def _accept_head(self, data: bytes, now_us: int) -> Head:
        try:
            return self._open_head(data, now_us)
        except DocumentInvalid as error:
            if error.reason not in _NEEDS_NEWER_ROOT:
                raise
            before = self._held_root().version
            await self._walk_roots()
            if self._held_root().version == before:
                raise
            trusted.check_root(self._held_root(), now_us)
            return self._open_head(data, now_us)

    async def _adopt(self, data: bytes, head: Head) -> Result:
        before, held, content = self.current, self._head, self._content
        if held is not None and held.digest == head.digest and self._settled():
            return "unchanged"
        self.passed_over, self._candidate_due = None, False
        if head.document.lock is not None and content is not None:
            # A kill switch waits neither for a download nor for the disk, and the head before it
            # must not come back.
            self._floors = trusted.raised(self._floors, self._held_root(), head)
            self._put_in_force(head, content)
            if not self._pinned_by(head):
                # A head whose bundle is not on the disk must not take the place of one that can
                # be used.
                await self._keep("lock", lambda: self._store.save_lock(data))
        head, content = await self._obtain(head)
        self.progress.checked(self._time.now_us())
        await self._persist(data, head)
        self._activate(head, content)
        locked = head.document.lock is not None
        same = before is not None and (before.digest, before.locked) == (content.digest, locked)
        return "refreshed" if same else "activated"

    def _settled(self) -> bool:
        # Whether the policy in force is the one that its head means, under the newest root.
        head = self._head
        held = self.current is not None and head is not None and self._pinned_by(head)
        return held and not self._candidate_due

    def _pinned_by(self, head: Head) -> bool:
        held = self._content
        return (
            held is not None
            and held.digest == head.pin.digest
            and self._content_root == self.root_version
        )

    def _root_expired(self, now_us: int) -> bool:
        try:
            trusted.check_root(self._held_root(), now_us)
        except DocumentInvalid:
            return True
        return False

    async def _obtain(self, head: Head) -> tuple[Head, Content]:
        """The bundle that ``head`` means for this daemon; where that is a candidate that is refused
        or does not come, the one that it pins for all."""
        if head.candidate is not None:
            try:
                return head, await self._held_or_obtained(head)
            except DocumentInvalid as error:
                self.passed_over = error
                self.progress.refuse(_refusal(error, head, self._time.now_us()))
            except FetchFailed as error:
                self.passed_over, self._candidate_due = error, True
            head = _for_all(head)
        return head, await self._held_or_obtained(head)

    async def _held_or_obtained(self, head: Head) -> Content:
        if self._content is not None and self._pinned_by(head):
            return self._content
        return await self._obtain_bundle(head)

    async def _obtain_bundle(self, head: Head) -> Content:
        pin = head.pin
        if self._refused is not None and self._refused[0] == pin.digest:
            raise self._refused[1]
        data = await self._kept_bundle(pin.digest)
        if data is not None:
            # What the disk holds may be damaged or signed too seldom; the source decides.
            with contextlib.suppress(DocumentInvalid):
                return await self._open_bundle(data, head)
        data = await self._source.bundle(pin.digest, pin.length)
        try:
            content = await self._open_bundle(data, head)
        except DocumentInvalid as error:
            if error.reason in _FINAL:
                self._refused = (pin.digest, error)
            await self._keep_evidence(error.reason, data)
            raise
        await self._keep("bundle", lambda: self._store.save_bundle(pin.digest, data))
        return content

    async def _kept_bundle(self, digest: str) -> bytes | None:
        try:
            return await self._store.read_bundle(digest)
        except OSError:
            self._unreadable = True
            return None

    async def _open_bundle(self, data: bytes, head: Head, *, expired_ok: bool = False) -> Content:
        root, now_us = self._held_root(), self._time.now_us()

        def work() -> Content:
            return trusted.open_bundle(data, root, head, now_us, expired_ok=expired_ok)

        if self._config.threads and len(data) > _IN_LOOP_BYTES_MAX:
            return await anyio.to_thread.run_sync(work)
        return work()

    def _open_head(self, data: bytes, now_us: int, *, expired_ok: bool = False) -> Head:
        return trusted.open_head(
            data,
            self._held_root(),
            self._config.scope,
            self._floors,
            now_us,
            self._config.own_version,
            placement=self._config.placement,
            expired_ok=expired_ok,
        )

    def _activate(self, head: Head, content: Content) -> None:
        self._floors = trusted.raised(self._floors, self._held_root(), head)
        self._content = content
        self._content_root = self.root_version
        self._put_in_force(head, content)

    def _put_in_force(self, head: Head, content: Content) -> None:
        before = self.current
        self._head = head
        self._time.raise_to(max(head.issued_us, content.issued_us))
        self.current = trusted.snapshot_of(self._held_root(), head, content, self._time.floor_us())
        if before is None or _content_of(before) != _content_of(self.current):
            self.progress.in_force(self._time.now_us())
        taken = head.candidate is not None and head.candidate.digest == content.digest
        self.progress.on_channel("canary" if taken else "stable")
        self._on_change(self.current)

    async def _persist(self, data: bytes, head: Head) -> None:
        floors = trusted.raised(self._floors, self._held_root(), head)
        await self._keep("head", lambda: self._store.save_head(data, floors))

    async def _walk_roots(self) -> None:
        for _ in range(ROOT_WALK_MAX):
            wanted = 1 if self._root is None else self._root.version + 1
            data = await self._source.root(wanted)
            if data is None:
                if self._root is None:
                    raise DocumentInvalid("pin", "the source has no root 1")
                return
            self._accept_root(data)
            await self._keep(f"root {wanted}", self._saver_of_root(wanted, data))

    def _saver_of_root(self, version: int, data: bytes) -> Callable[[], Awaitable[None]]:
        return lambda: self._store.save_root(version, data)

    def _accept_root(self, data: bytes) -> None:
        envelope = seal.parse_envelope(data)
        if self._root is None:
            self._root = roots.open_first(envelope, self._config.root_fingerprint)
        else:
            self._root = roots.open_next(envelope, self._root)
        self.root_held.set()

    def _held_root(self) -> Root:
        if self._root is None:
            raise DocumentInvalid("pin", "no root is held yet")
        if self._config.require_offline_root and self._root.custody != "offline":
            # An earlier root may say so; what is accepted rests on the newest.
            raise DocumentInvalid(
                "custody",
                f"root {self._root.version} says custody {self._root.custody}: one operator holds "
                "every key; offline is required here (trust.require_offline_root)",
            )
        return self._root

    async def _keep_evidence(self, reason: str, data: bytes) -> None:
        with contextlib.suppress(OSError):
            await self._store.quarantine(f"{self._time.now_us():020d}-{reason}.json", data)

    async def _keep(self, name: str, save: Callable[[], Awaitable[None]]) -> None:
        # A head goes to the disk after all that it rests on, so it always stands last.
        self._unsaved.pop(name, None)
        self._unsaved[name] = save
        await self._save_what_is_not()

    async def _save_what_is_not(self) -> None:
        # The policy in memory is verified; a disk that is full must not stop a newer one. What
        # could not be written is tried again with each refresh.
        with contextlib.suppress(OSError):
            for name, save in list(self._unsaved.items()):
                await save()
                del self._unsaved[name]


def _for_all(head: Head) -> Head:
    """``head`` as one who takes no candidate reads it."""
    return msgspec.structs.replace(head, candidate=None)


def _content_of(snapshot: Snapshot) -> tuple[str, bool]:
    return snapshot.digest, snapshot.locked


def _refusal(error: DocumentInvalid, head: Head, now_us: int) -> Refusal:
    document = head.document
    pin = head.pin
    return Refusal(error.reason, now_us, document.version, pin.version, pin.digest)
