"""All that one mirror holds, and the way on for reports of daemons.

Owns: a mirror for each scope, their sources, waiting for a newer head, what an operator is told of
their state, and passing reports on unchanged. Refuses: HTTP, keys, and judging a report: its
signature binds audience, method, path and body, all of which are the same at the upstream, and only
that knows the issuer.
"""

from __future__ import annotations

from typing import Final

import anyio
import msgspec

from central.errors import Refused
from central.policy_mirror.config import MirrorConfig
from central.policy_mirror.scope_mirror import ScopeMirror
from central.served_head import ServedHead
from gateway import __version__
from gateway.documents import RequestOf
from gateway.io.service import CentralService
from gateway.io.service_address import split_directory_url
from gateway.limits import POLICY_WAIT_SECONDS_MAX
from gateway.ports import Dialer, Disk, Entropy, ServiceAnswer, ServiceUnreachable, WallClock
from policy_cache.fetch import directory_source, service_source
from policy_cache.status import PolicyStatus

_WAITING_MAX: Final = 1_024
_PASSING_MAX: Final = 64
"""Reports under way to the upstream: each takes a connection, and nobody was asked who he is."""
_AGENT: Final = f"gatepost-mirror/{__version__}"


class ScopeState(msgspec.Struct, frozen=True):
    """``alarms``: words; ``missing``: digests of bundles that the head names and are not here."""

    alarms: tuple[str, ...]
    missing: tuple[str, ...]
    policy: PolicyStatus


class MirrorState(msgspec.Struct, frozen=True):
    """``ready``: a verified head of each scope is held, however old. ``mirror_of``: upstream."""

    ready: bool
    mirror_of: str | None
    scopes: list[ScopeState]


class PolicyMirror:
    """Raises ConfigInvalid for a URL or fingerprint that cannot be one."""

    def __init__(
        self, config: MirrorConfig, clock: WallClock, entropy: Entropy, disk: Disk, dialer: Dialer
    ) -> None:
        self._upstream = config.mirror_of
        self._dialer = dialer
        self._services: list[CentralService] = []
        self._waiting = 0
        self._passing = 0
        self._scopes: dict[str, ScopeMirror] = {}
        self._followed: set[str] = set()
        for one in config.scopes:
            if one.files_url is not None:
                origin, path = split_directory_url(one.files_url)
                source = directory_source(self._service(origin), path)
            else:
                assert config.mirror_of is not None
                source = service_source(self._service(config.mirror_of), one.scope)
                self._followed.add(one.scope)
            self._scopes[one.scope] = ScopeMirror(
                source, disk, clock, entropy, config.cache_of(one.scope)
            )

    def _service(self, url: str) -> CentralService:
        # One for each scope: a long poll of one must not hold up another.
        service = CentralService(url, self._dialer, user_agent=_AGENT)
        self._services.append(service)
        return service

    async def load(self) -> None:
        """Serve what the disk holds."""
        for one in self._scopes.values():
            await one.load()

    async def run(self) -> None:
        """Follow every source for ever."""
        async with anyio.create_task_group() as tasks:
            for one in self._scopes.values():
                tasks.start_soon(one.run)

    async def aclose(self) -> None:
        """Close connections, and give the directories' locks back."""
        for service in self._services:
            await service.aclose()
        for one in self._scopes.values():
            await one.aclose()

    def state(self) -> MirrorState:
        """The state now; worked out anew on each call."""
        found = list(self._scopes.values())
        return MirrorState(
            ready=all(one.head is not None for one in found),
            mirror_of=self._upstream,
            scopes=[
                ScopeState(alarms=one.alarms, missing=one.missing, policy=one.status())
                for one in found
            ],
        )

    async def head_after(self, scope: str, etag: str | None, wait_seconds: int) -> ServedHead:
        """The newest verified head; where it still is ``etag``, first wait for a newer one.

        Waits at most ``wait_seconds`` (55); not at all where too many wait already. Raises Refused
        (``not_found``, ``mirror_empty``).
        """
        one = self._scope(scope)
        if one.head is None:
            raise Refused("mirror_empty")
        if one.head.etag != etag or wait_seconds <= 0 or self._waiting >= _WAITING_MAX:
            return one.head
        self._waiting += 1
        try:
            with anyio.move_on_after(min(wait_seconds, POLICY_WAIT_SECONDS_MAX)):
                await one.wait_changed()
        finally:
            self._waiting -= 1
        return one.head

    def root(self, version: int) -> bytes:
        """The envelope of root ``version``. Raises Refused (``not_found``, ``mirror_empty``)."""
        for one in self._scopes.values():
            data = one.root(version)
            if data is not None:
                return data
        if not any(one.has_root for one in self._scopes.values()):
            raise Refused("mirror_empty", "no root was verified yet")
        raise Refused("not_found")

    async def bundle(self, digest: str) -> bytes:
        """The envelope of a bundle that some head here names. Raises Refused (``not_found``)."""
        for one in self._scopes.values():
            data = await one.bundle(digest)
            if data is not None:
                return data
        raise Refused("not_found")

    def refuse(self) -> Refused:
        """What is said to whoever asks for what takes a key or a person."""
        return Refused(
            "mirror_only", f"ask {self._upstream or 'the policy service that it follows'}"
        )

    async def pass_on(
        self, scope: str, path: str, body: bytes, signed: str | None
    ) -> ServiceAnswer:
        """Give a daemon's report to the upstream as it came, and its answer.

        Raises Refused: ``not_found``; ``mirror_only`` where the scope comes from files, which take
        no reports; ``request_unsigned``; ``too_busy``; ``mirror_unreachable``.
        """
        self._scope(scope)
        if self._upstream is None or scope not in self._followed:
            raise self.refuse()
        if signed is None:
            raise Refused("request_unsigned")
        if self._passing >= _PASSING_MAX:
            raise Refused("too_busy")

        def as_it_came(_method: str, _path: str, _body: bytes, _of: RequestOf | None) -> str:
            return signed

        service = CentralService(self._upstream, self._dialer, sign=as_it_came, user_agent=_AGENT)
        self._passing += 1
        try:
            return await service.call(
                "POST", path, headers={"content-type": "application/json"}, body=body
            )
        except ServiceUnreachable as unreachable:
            raise Refused("mirror_unreachable", unreachable.kind) from unreachable
        finally:
            self._passing -= 1
            await service.aclose()

    def _scope(self, scope: str) -> ScopeMirror:
        found = self._scopes.get(scope)
        if found is None:
            raise Refused("not_found", "this mirror does not follow that scope")
        return found
