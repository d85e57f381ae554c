"""The client of one central service: policy service, issuer or record store.

Owns: one call and its whole answer under one deadline, a few kept connections, and the one
retry that is always safe. Refuses: backing off and trying again later (the loops that call it
do), following redirects, and caching. Central services are named by the operator's
configuration, so the address check for upstreams does not apply: give it a dialer with
``any_address=True``, and with the services' CA file where they have one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
import h11

from gateway import limits, signed_request
from gateway.documents import RequestOf
from gateway.errors import UpstreamFailed
from gateway.io.dial import TlsFailed
from gateway.io.service_address import ServiceAddress, parse_service_url
from gateway.io.service_connection import DeadConnection, ServiceConnection
from gateway.ports import Dialer, ServiceAnswer, ServiceUnreachable

API_VERSION: Final = "1"

Sign = Callable[[str, str, bytes, RequestOf | None], str]
"""(method, request target, body as sent, of) → the value of ``Gatepost-Signed``
(``signed_request.sign_request`` with key, audience and clock filled in)."""

_OWN_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        signed_request.HEADER,
        signed_request.VERSION_HEADER,
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)


class CentralService:
    """``ports.Service`` over HTTP/1.1.

    ``base_url``: ``http://host:port``, ``https://host:port`` or ``unix:/path``. ``sign`` makes the
    ``Gatepost-Signed`` header; None sends none. ``idempotent``: (method, path without query) that
    may be sent twice, beside GET and HEAD; ``("POST", "/v1/records")`` is one, because stores drop
    duplicates. Raises ConfigInvalid for a bad URL.
    """

    def __init__(
        self,
        base_url: str,
        dialer: Dialer,
        *,
        sign: Sign | None = None,
        idempotent: frozenset[tuple[str, str]] = frozenset(),
        user_agent: str = "gatepost",
    ) -> None:
        self._address: ServiceAddress = parse_service_url(base_url)
        self._dialer = dialer
        self._sign = sign
        self._idempotent = idempotent
        self._user_agent = user_agent
        self._idle: list[ServiceConnection] = []
        self._slots = anyio.Semaphore(limits.SERVICE_CONNECTIONS_MAX)
        self._base_url = base_url

    def __repr__(self) -> str:
        return f"CentralService({self._base_url!r}, idle={len(self._idle)})"

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        of: RequestOf | None = None,
        answer_bytes_max: int | None = None,
        timeout_seconds: float | None = None,
    ) -> ServiceAnswer:
        """One request and its whole answer, redirects included as they are.

        ``path`` is the request target with its query, and that is what is signed. Waiting for a
        free connection counts against ``timeout_seconds``. Raises ServiceUnreachable; ValueError
        for a target or header that HTTP can't carry, or a header that is this client's own.
        """
        seconds = limits.SERVICE_SECONDS_MAX if timeout_seconds is None else timeout_seconds
        bytes_max = (
            limits.SERVICE_ANSWER_BYTES_MAX if answer_bytes_max is None else answer_bytes_max
        )
        own = self._request(method, path, headers or {}, body, of)
        try:
            with anyio.fail_after(seconds):
                async with self._slots:
                    return await self._exchange(
                        own, body, bytes_max, self._repeatable(method, path)
                    )
        except TimeoutError as error:
            raise ServiceUnreachable(
                "timeout", f"{method} {path}: no whole answer within {seconds:g} s"
            ) from error

    async def aclose(self) -> None:
        """Close the kept connections. Calls that are under way keep theirs."""
        while self._idle:
            await self._idle.pop().close()

    async def _exchange(
        self, request: h11.Request, body: bytes, bytes_max: int, repeatable: bool
    ) -> ServiceAnswer:
        connection = await self._kept() or await self._connect()
        try:
            return await self._exchange_on(connection, request, body, bytes_max)
        except DeadConnection as error:
            # Only a kept connection may have died before the service saw this request.
            if not (connection.used and repeatable):
                raise ServiceUnreachable("protocol", str(error)) from error
        try:
            return await self._exchange_on(await self._connect(), request, body, bytes_max)
        except DeadConnection as error:
            raise ServiceUnreachable("protocol", str(error)) from error

    async def _exchange_on(
        self, connection: ServiceConnection, request: h11.Request, body: bytes, bytes_max: int
    ) -> ServiceAnswer:
        try:
            answer = await connection.exchange(request, body, bytes_max)
        except BaseException:
            # Whatever happened, cancellation included, its state is not known any more.
            await connection.close()
            raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            await connection.close()
        return answer

    async def _kept(self) -> ServiceConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            await connection.close()
        return None

    async def _connect(self) -> ServiceConnection:
        address = self._address
        try:
            if address.path is not None:
                return ServiceConnection(await self._dialer.connect_unix(address.path))
            return ServiceConnection(
                await self._dialer.connect_tcp(
                    address.host, address.port, tls_name=address.host if address.tls else None
                )
            )
        except TlsFailed as error:
            raise ServiceUnreachable("tls", error.detail) from error
        except UpstreamFailed as error:
            kind = "timeout" if error.code == "upstream_timeout" else "connect"
            raise ServiceUnreachable(kind, error.detail) from error

    def _request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, of: RequestOf | None
    ) -> h11.Request:
        if not path.startswith("/"):
            raise ValueError(f"the request target {path!r} does not start with a slash")
        lines = [
            ("host", self._address.authority),
            ("user-agent", self._user_agent),
            ("accept-encoding", "identity"),
            (signed_request.VERSION_HEADER, API_VERSION),
        ]
        for name, value in headers.items():
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"header {name!r} is set by the client of central services")
            lines.append((name, value))
        if body or method not in ("GET", "HEAD"):
            lines.append(("content-length", str(len(body))))
        if self._sign is not None:
            lines.append((signed_request.HEADER, self._sign(method, path, body, of)))
        try:
            return h11.Request(method=method, target=path, headers=lines)
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise ValueError(f"{method} {path!r} is not an HTTP request: {error}") from error

    def _repeatable(self, method: str, path: str) -> bool:
        return method in ("GET", "HEAD") or (method, path.partition("?")[0]) in self._idempotent
