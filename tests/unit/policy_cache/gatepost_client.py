"""Our own client on the histories that python-tuf plays: the real cache on a simulated disk."""

from __future__ import annotations

import base64
import contextlib
import functools

from gateway import documents, issuing, seal
from gateway.errors import DocumentInvalid
from gateway.issuing import Issued
from policy_cache.acquire import Acquirer
from policy_cache.config import CacheConfig
from policy_cache.fetch import FetchedHead
from policy_cache.signed_time import SignedTime
from policy_cache.store import PolicyStore
from tests.sim.disk import SimDisk
from tests.unit.policy_cache import histories
from tests.unit.policy_cache.histories import BundlePlan, HeadPlan, RootPlan, Step
from tests.unit.policy_cache.policy_world import OWN_VERSION, SCOPE, SECOND, T0, policy
from tests.unit.policy_cache.verdict import Verdict

_OTHERS = 9
"""Holds the roles that are nothing of policy's."""


@functools.cache
def _signer(number: int) -> seal.Signer:
    return seal.Signer(bytes([number]) * 32)


def _signers(numbers: tuple[int, ...]) -> list[seal.Signer]:
    return [_signer(number) for number in numbers]


def _role(role: histories.Role) -> documents.Role:
    return issuing.role(_signers(role.keys), role.threshold)


@functools.lru_cache(4096)
def _root(plan: RootPlan) -> Issued:
    numbers = {*plan.root.keys, *plan.head.keys, *plan.bundle.keys, _OTHERS}
    others = {name: issuing.role([_signer(_OTHERS)]) for name in ("issuer", "log", "revocation")}
    return issuing.build_root(
        version=plan.version,
        epoch=plan.epoch,
        custody="offline",
        issued_us=T0,
        expires_us=T0 + plan.expires * SECOND,
        scopes=["acme/prod/*"],
        keys={_signer(n).kid: base64.b64encode(_signer(n).public).decode() for n in numbers},
        roles={
            "root": _role(plan.root),
            "policy_head": _role(plan.head),
            "bundle": _role(plan.bundle),
            **others,
        },
        signers=_signers(plan.signed_by),
    )


@functools.lru_cache(4096)
def _bundle(plan: BundlePlan) -> Issued:
    grants = [{"id": f"policy-{plan.content}", "actions": ["*"]}]
    return issuing.build_bundle(
        policy(grants=grants),
        scope=SCOPE,
        epoch=plan.epoch,
        version=plan.version,
        issued_us=T0,
        not_before_us=T0 - SECOND,
        expires_us=T0 + plan.expires * SECOND,
        source=None,
        signers=_signers(plan.signed_by),
    )


@functools.lru_cache(4096)
def _head(plan: HeadPlan) -> Issued:
    return issuing.build_head(
        _bundle(plan.bundle),
        bundle_version=plan.bundle.version,
        scope=SCOPE,
        epoch=plan.epoch,
        version=plan.version,
        root_version=plan.root_version,
        issued_us=T0,
        expires_us=T0 + plan.expires * SECOND,
        signers=_signers(plan.signed_by),
    )


class _Shelf:
    """A ``PolicySource`` that serves one step."""

    def __init__(self) -> None:
        self.step: Step | None = None

    def _served(self) -> Step:
        assert self.step is not None
        return self.step

    async def head(self, etag: str | None) -> FetchedHead:
        return FetchedHead(_head(self._served().head).envelope, None)

    async def root(self, version: int) -> bytes | None:
        roots = self._served().roots
        return _root(roots[version - 1]).envelope if version <= len(roots) else None

    async def changed(self, _etag: str, _seconds: float, /) -> bool:
        return False

    async def bundle(self, digest: str, length: int) -> bytes:
        return _bundle(self._served().bundle).envelope


class _Clock:
    """Stands where the step says."""

    def __init__(self) -> None:
        self.now_us = T0

    def wall_us(self) -> int:
        return self.now_us

    def mono_us(self) -> int:
        return self.now_us

    def source(self) -> str:
        return "simulated"

    def error_ms(self) -> int | None:
        return None

    def boot_id(self) -> str | None:
        return None


class GatepostClient:
    """One daemon's cache; what it keeps is on ``disk``, from which ``restart`` begins again."""

    def __init__(self, first: RootPlan) -> None:
        self._disk = SimDisk(1)
        self._shelf = _Shelf()
        self._clock = _Clock()
        self._config = CacheConfig(
            scope=SCOPE,
            root_fingerprint=_root(first).pin,
            directory="/policy",
            own_version=OWN_VERSION,
            threads=False,
        )
        self._store: PolicyStore | None = None
        self._acquirer: Acquirer | None = None

    async def restart(self) -> Acquirer:
        """A new process on the same disk."""
        if self._store is not None:
            await self._store.close()
        self._store = PolicyStore(self._disk, "/policy")
        self._acquirer = Acquirer(
            self._shelf, self._store, SignedTime(self._clock), self._config, lambda snapshot: None
        )
        with contextlib.suppress(DocumentInvalid):
            await self._acquirer.load()
        return self._acquirer

    async def see(self, step: Step) -> Verdict:
        """Refresh from what ``step`` serves, and ask whether it is in force and has not expired."""
        self._clock.now_us = T0 + step.now * SECOND
        self._shelf.step = step
        acquirer = self._acquirer
        if acquirer is None or step.restart:
            acquirer = await self.restart()
        code = ""
        try:
            await acquirer.refresh(probe_root=True)
        except DocumentInvalid as error:
            code = error.reason
        root, held = acquirer.root_version or 0, acquirer.current
        if held is not None and not code and self._clock.now_us >= held.expires_us:
            code = "expired"
        if code or held is None:
            return Verdict(code or "empty", root)
        return Verdict("", root, held.head_version, held.table.policy.grants[0].id)
