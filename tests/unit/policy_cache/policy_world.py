"""A publisher of signed policy, a source that serves it badly on demand, and a clock.

The publisher holds real keys and makes real documents; every test bends exactly one thing.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import anyio
import msgspec

from gateway import documents, issuing, roots
from gateway.documents import Candidate, Lock, Refresh, Root
from gateway.issuing import Issued
from gateway.policy import Policy, decode_policy, json_text
from gateway.seal import Signer
from policy_cache.fetch import FetchedHead, FetchFailed

SECOND = 1_000_000
DAY = 86_400 * SECOND
T0 = 1_800_000_000 * SECOND
SCOPE = "acme/prod/eu"
OWN_VERSION = "0.1.0"


def signer(number: int) -> Signer:
    return Signer(bytes([number]) * 32)


ROOT_A, ROOT_B, ROOT_C = signer(1), signer(2), signer(3)
BUNDLE_A, BUNDLE_B = signer(4), signer(5)
HEAD, OTHER = signer(6), signer(7)


def policy(**members: object) -> Policy:
    grant = {"id": "all", "actions": ["*"]}
    return decode_policy(json_text({"grants": [grant], **members}))


def candidate(bundle: Issued, version: int, percent: int = 100) -> Candidate:
    """``bundle`` offered to ``percent`` % of the daemons."""
    return Candidate(
        version=version, digest=bundle.digest, length=len(bundle.payload), percent=percent
    )


class Publisher:
    """Makes documents for one scope, each by default better than the one before."""

    def __init__(self, *, bundle_threshold: int = 1) -> None:
        self.bundle_threshold = bundle_threshold
        self.roots: list[Issued] = []
        self.add_root()

    @property
    def fingerprint(self) -> str:
        return self.roots[0].pin

    @property
    def newest_root(self) -> Root:
        return documents.decode_exact(self.roots[-1].payload, Root)

    def add_root(
        self,
        *,
        keys: Sequence[Signer] = (ROOT_A, ROOT_B),
        threshold: int = 2,
        signers: Sequence[Signer] | None = None,
        head: Signer = HEAD,
        bundles: Sequence[Signer] = (BUNDLE_A, BUNDLE_B),
        version: int | None = None,
        epoch: int = 1,
        issued_us: int = T0,
        expires_us: int = T0 + 365 * DAY,
        scopes: Sequence[str] = ("acme/prod/*",),
        custody: str = "development",
    ) -> Issued:
        held = {s.kid: s for s in (*keys, head, *bundles)}
        others = {name: issuing.role([head]) for name in ("issuer", "log", "revocation")}
        made = issuing.build_root(
            version=len(self.roots) + 1 if version is None else version,
            epoch=epoch,
            custody=custody,
            issued_us=issued_us,
            expires_us=expires_us,
            scopes=scopes,
            keys={kid: base64.b64encode(s.public).decode() for kid, s in held.items()},
            roles={
                "root": issuing.role(keys, threshold),
                "bundle": issuing.role(bundles, self.bundle_threshold),
                "policy_head": issuing.role([head]),
                **others,
            },
            signers=keys if signers is None else signers,
        )
        self.roots.append(made)
        return made

    def bundle(
        self,
        version: int = 1,
        content: Policy | None = None,
        *,
        scope: str = SCOPE,
        epoch: int = 1,
        not_before_us: int = T0 - SECOND,
        expires_us: int = T0 + 30 * DAY,
        signers: Sequence[Signer] = (BUNDLE_A,),
    ) -> Issued:
        return issuing.build_bundle(
            content or policy(),
            scope=scope,
            epoch=epoch,
            version=version,
            issued_us=T0 - SECOND,
            not_before_us=not_before_us,
            expires_us=expires_us,
            source=None,
            signers=signers,
        )

    def head(
        self,
        bundle: Issued,
        version: int = 1,
        *,
        bundle_version: int = 1,
        scope: str = SCOPE,
        epoch: int = 1,
        root_version: int | None = None,
        issued_us: int = T0,
        expires_us: int = T0 + 4 * 3_600 * SECOND,
        candidate: Candidate | None = None,
        lock: str | None = None,
        refresh: Refresh | None = None,
        min_gatepost: str | None = None,
        by: Signer = HEAD,
    ) -> Issued:
        return issuing.build_head(
            bundle,
            bundle_version=bundle_version,
            scope=scope,
            epoch=epoch,
            version=version,
            root_version=len(self.roots) if root_version is None else root_version,
            issued_us=issued_us,
            expires_us=expires_us,
            candidate=candidate,
            lock=None if lock is None else Lock(lock, None),
            refresh=refresh,
            min_gatepost=min_gatepost,
            signers=[by],
        )

    def open_root(self) -> Root:
        chain = [msgspec.json.decode(r.envelope, type=documents.Envelope) for r in self.roots]
        return roots.walk(chain, self.fingerprint)[-1]


class Source:
    """A ``PolicySource`` with a shelf of documents. ``down`` makes every answer an error."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.current: bytes = b""
        self.bundles: dict[str, bytes] = {}
        self.down: FetchFailed | None = None
        self.frozen = False
        self.forgets_tags = False
        self.waits = False
        self.published = anyio.Event()
        self.asked: list[tuple[float, str]] = []

    def publish(self, bundle: Issued, head: Issued) -> None:
        self.bundles[bundle.digest] = bundle.envelope
        self.current = head.envelope
        self.published.set()
        self.published = anyio.Event()

    async def head(self, etag: str | None) -> FetchedHead:
        self._note("head")
        if self.forgets_tags:
            return FetchedHead(self.current, None)
        if self.frozen or (etag is not None and etag == self._etag()):
            return FetchedHead(None, etag)
        return FetchedHead(self.current, self._etag())

    async def root(self, version: int) -> bytes | None:
        self._note(f"root {version}")
        known = self.publisher.roots
        return known[version - 1].envelope if version <= len(known) else None

    async def bundle(self, digest: str, length: int) -> bytes:
        assert length > 0
        self._note("bundle")
        if digest not in self.bundles:
            raise FetchFailed("missing", "404")
        return self.bundles[digest]

    async def changed(self, etag: str, seconds: float, /) -> bool:
        """A long poll, where ``waits`` says that this source offers one."""
        if not self.waits:
            return False
        self.asked.append((anyio.current_time(), "wait"))
        while etag == self._etag():
            changed = self.published
            with anyio.move_on_after(seconds) as over:
                await changed.wait()
            if over.cancelled_caught:
                return False
        return True

    def count(self, what: str) -> int:
        return sum(name == what for _, name in self.asked)

    def _etag(self) -> str:
        return f'"{hash(self.current)}"'

    def _note(self, what: str) -> None:
        self.asked.append((anyio.current_time(), what))
        if self.down is not None:
            raise self.down


class Clock:
    """Wall and monotonic time that follow the loop; ``wall_offset_us`` is the clock's error.

    ``began_seconds``: the loop's time that is T0; a real loop's is the machine's uptime.
    """

    def __init__(self, began_seconds: float = 0.0) -> None:
        self.wall_offset_us = 0
        self._began_seconds = began_seconds

    def wall_us(self) -> int:
        return T0 + self.mono_us() + self.wall_offset_us

    def source(self) -> str:
        return "simulated"

    def error_ms(self) -> int | None:
        return None

    def mono_us(self) -> int:
        return round((anyio.current_time() - self._began_seconds) * SECOND)

    def boot_id(self) -> str | None:
        return None


class Dice:
    """Entropy whose fractions are given; the last one repeats."""

    def __init__(self, *fractions: float) -> None:
        self._fractions = list(fractions) or [0.5]

    def bytes(self, count: int) -> bytes:
        return bytes(count)

    def fraction(self) -> float:
        return self._fractions.pop(0) if len(self._fractions) > 1 else self._fractions[0]
