"""Where policy documents come from: the policy service, or the same files on a plain web server.

Owns: the paths, the bounds on answers, and telling "not modified" and "not there" from errors.
Refuses: judging what it fetched (``trusted.py``) and waiting or trying again (``cache.py``).
A mounted directory is ``mounted.py``'s.
A 304 says that the server has nothing newer to say; it is never freshness.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from gateway.limits import (
    POLICY_HEAD_BYTES_MAX,
    POLICY_ROOT_BYTES_MAX,
    POLICY_WAIT_SECONDS_MAX,
    SERVICE_SECONDS_MAX,
)
from gateway.ports import Service, ServiceAnswer, ServiceUnreachable
from policy_cache.trusted import envelope_bytes_max

_ABSENT: Final = frozenset({404, 410})
_KINDS: Final = {401: "credential", 403: "credential", 404: "missing", 410: "missing"}
_WAIT_SPARE_SECONDS: Final = 1.0
"""A long poll ends before the next refresh is due."""
BUNDLE_SECONDS_MAX: Final = 60.0
"""A bundle of 8 MiB over 2 Mbit/s takes half a minute."""


class FetchFailed(Exception):
    """No usable answer. ``kind``: those of ServiceUnreachable, ``credential`` (401, 403),
    ``missing`` (404, 410), ``status`` for any other, or ``unreadable`` for a file."""

    def __init__(self, kind: str, detail: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds


class FetchedHead(msgspec.Struct, frozen=True):
    """``data`` None: not modified since ``etag``."""

    data: bytes | None
    etag: str | None


class PolicySource(Protocol):
    """Serves the three kinds of document. All raise FetchFailed."""

    async def head(self, etag: str | None) -> FetchedHead: ...

    async def root(self, version: int) -> bytes | None:
        """Root ``version``, or None where there is none yet."""

    async def bundle(self, digest: str, length: int) -> bytes:
        """The envelope of the bundle whose payload has ``digest`` and ``length``."""

    async def changed(self, etag: str, seconds: float, /) -> bool:
        """Whether the head was seen to change from ``etag`` within about ``seconds``.

        A hint and no more: a source that can't wait says False at once. Raises nothing.
        """


class HttpSource:
    """``PolicySource`` over ``ports.Service``; a static file server will do.

    ``head_path`` is the head's; ``above`` stands before ``/root/<n>`` and ``/blobs/sha256/<hex>``;
    ``absent``: statuses that mean that there is no such root yet.
    """

    def __init__(
        self, service: Service, head_path: str, above: str, absent: frozenset[int] = _ABSENT
    ) -> None:
        self._service = service
        self._head_path = head_path
        self._above = above
        self._absent = absent
        self._waits = False

    async def head(self, etag: str | None) -> FetchedHead:
        """The current head of the scope."""
        headers = {} if etag is None else {"if-none-match": etag}
        answer = await self._get(self._head_path, headers, POLICY_HEAD_BYTES_MAX, None)
        # The word by which a server says that preferences count here (RFC 7240 section 2).
        self._waits = "prefer" in answer.headers.get("vary", "").lower().replace(" ", "").split(",")
        if answer.status == 304:
            return FetchedHead(None, etag)
        return FetchedHead(_body(answer, self._head_path), answer.headers.get("etag"))

    async def root(self, version: int) -> bytes | None:
        """Root ``version``, or None where there is none yet."""
        path = f"{self._above}/root/{version}"
        answer = await self._get(path, {}, POLICY_ROOT_BYTES_MAX, None)
        return None if answer.status in self._absent else _body(answer, path)

    async def bundle(self, digest: str, length: int) -> bytes:
        """The bundle by the hex SHA-256 of its payload; such a file never changes."""
        path = f"{self._above}/blobs/sha256/{digest.removeprefix('sha256:')}"
        answer = await self._get(path, {}, envelope_bytes_max(length), BUNDLE_SECONDS_MAX)
        return _body(answer, path)

    async def changed(self, etag: str, seconds: float, /) -> bool:
        """Whether a long poll was answered with a changed head; its body is not looked at."""
        wait_seconds = int(min(seconds - _WAIT_SPARE_SECONDS, POLICY_WAIT_SECONDS_MAX))
        if not self._waits or wait_seconds < 1:
            return False
        headers = {"if-none-match": etag, "prefer": f"wait={wait_seconds}"}
        with suppress(FetchFailed):
            answer = await self._get(
                self._head_path, headers, POLICY_HEAD_BYTES_MAX, wait_seconds + SERVICE_SECONDS_MAX
            )
            return answer.status == 200
        return False

    async def _get(
        self, path: str, headers: dict[str, str], bytes_max: int, seconds: float | None
    ) -> ServiceAnswer:
        try:
            return await self._service.call(
                "GET", path, headers=headers, answer_bytes_max=bytes_max, timeout_seconds=seconds
            )
        except ServiceUnreachable as error:
            raise FetchFailed(error.kind, str(error)) from error


def service_source(service: Service, scope: str) -> HttpSource:
    """The policy service, which knows many scopes."""
    return HttpSource(service, f"/v1/policy/{quote(scope, safe='')}/head", "/v1/policy")


def directory_source(service: Service, path: str) -> HttpSource:
    """The files of one scope on a web server or in a bucket: ``head``, ``root/<n>`` and
    ``blobs/sha256/<hex>`` below ``path``, which has no slash at its end."""
    # A bucket that must not be listed answers 403 for a name that it does not have. Whoever
    # withholds a root in this way gains no more than by a 404.
    return HttpSource(service, f"{path}/head", path, _ABSENT | {403})


def _body(answer: ServiceAnswer, path: str) -> bytes:
    if answer.status == 200:
        return answer.body
    kind = _KINDS.get(answer.status, "status")
    raise FetchFailed(kind, f"{answer.status} for {path}", _retry_after(answer))


def _retry_after(answer: ServiceAnswer) -> float | None:
    # Only the form in seconds: a date would need a clock that agrees with the server's.
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
