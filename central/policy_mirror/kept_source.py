"""A source of policy that remembers the envelopes it handed out, byte for byte.

Owns: the newest envelope of each kind, as it came. Refuses: judging them: what is remembered here
may be refused a moment later, so its user asks only for what the cache has accepted.
"""

from __future__ import annotations

from policy_cache.fetch import FetchedHead, PolicySource


class KeptSource:
    """``PolicySource`` around another. ``newest_head``: the last that came, None before the first.
    ``bundles``: the last one, by the digest that it was asked for."""

    def __init__(self, inner: PolicySource) -> None:
        self._inner = inner
        self.newest_head: bytes | None = None
        self.roots: dict[int, bytes] = {}
        self.bundles: dict[str, bytes] = {}

    async def head(self, etag: str | None) -> FetchedHead:
        fetched = await self._inner.head(etag)
        if fetched.data is not None:
            self.newest_head = fetched.data
        return fetched

    async def root(self, version: int) -> bytes | None:
        data = await self._inner.root(version)
        if data is not None:
            self.roots[version] = data
        return data

    async def bundle(self, digest: str, length: int) -> bytes:
        data = await self._inner.bundle(digest, length)
        self.bundles = {digest: data}
        return data

    async def changed(self, etag: str, seconds: float, /) -> bool:
        return await self._inner.changed(etag, seconds)
