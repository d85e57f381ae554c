"""Connections to upstreams and central services.

Owns: name resolution, the address check (the address that was checked is the one dialled, so a
name that resolves differently the second time gains nothing), TLS, and the translation of
every socket error. Refuses: HTTP, pooling, credentials and proxies; ``HTTPS_PROXY`` is not
read, because whoever sets an environment would choose where prompts go.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from gateway import limits
from gateway.errors import ConfigInvalid, UpstreamFailed
from gateway.io.address import canonical_host, refusal_of
from gateway.io.raw_socket import raw_socket

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → address literals in the order to try. Raises OSError."""


class TlsFailed(UpstreamFailed):
    """The connection was made, but TLS on it was not: certificate, name, version or cut."""


class AnyioDialer:
    """``ports.Dialer`` over real sockets.

    ``allowed_private``: configured hosts (names or literals) that may lead to addresses which are
    otherwise refused; the host as configured is compared, never the address it resolves to.
    ``any_address`` lifts the check: for central services, which live on the same machine as often
    as not. ``ca_file``: PEM bundle that *replaces* the system's authorities. Raises ConfigInvalid
    if that file cannot be used.
    """

    def __init__(
        self,
        allowed_private: frozenset[str] = frozenset(),
        ca_file: str | None = None,
        *,
        any_address: bool = False,
        connect_seconds_max: float = limits.UPSTREAM_CONNECT_SECONDS_MAX,
        resolve: Resolve | None = None,
    ) -> None:
        self._allowed = frozenset(canonical_host(host) for host in allowed_private)
        self._any_address = any_address
        self._connect_seconds_max = connect_seconds_max
        self._resolve = resolve or resolve_host
        # Reading the system's authorities takes 40 ms of a start; a named file is checked at once.
        self._tls = None if ca_file is None else _client_context(ca_file)

    def __repr__(self) -> str:
        return f"AnyioDialer(allowed_private={sorted(self._allowed)}, any={self._any_address})"

    async def connect_tcp(self, host: str, port: int, *, tls_name: str | None) -> ByteStream:
        """A connection to ``host``, with TLS checked against ``tls_name`` if that is given.

        Resolution, connecting and the TLS handshake share one deadline; each address gets its
        share of it. Raises UpstreamFailed (``upstream_unreachable``, ``upstream_timeout``) and,
        for TLS, its subclass TlsFailed.
        """
        try:
            with anyio.fail_after(self._connect_seconds_max):
                stream = await self._connect_any(host, port, await self._addresses(host, port))
                if tls_name is None:
                    return stream
                return await self._wrap(stream, tls_name, f"{host}:{port}")
        except TimeoutError as error:
            raise UpstreamFailed(
                "upstream_timeout",
                f"{host}:{port} did not connect within {self._connect_seconds_max:g} s",
            ) from error

    async def connect_unix(self, path: str) -> ByteStream:
        """A connection to the Unix socket at ``path``. Raises UpstreamFailed."""
        try:
            with anyio.fail_after(self._connect_seconds_max):
                return await anyio.connect_unix(path)
        except TimeoutError as error:
            raise UpstreamFailed(
                "upstream_timeout",
                f"{path} did not connect within {self._connect_seconds_max:g} s",
            ) from error
        except OSError as error:
            raise UpstreamFailed("upstream_unreachable", f"{path}: {_reason(error)}") from error

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise UpstreamFailed(
                "upstream_unreachable", f"{host} does not resolve: {_reason(error)}"
            ) from error
        if self._any_address or canonical_host(host) in self._allowed:
            permitted = found
        else:
            permitted = _permitted(host, found)
        return permitted[: limits.UPSTREAM_ADDRESSES_MAX]

    async def _connect_any(self, host: str, port: int, addresses: list[str]) -> ByteStream:
        deadline = anyio.current_effective_deadline()
        failures: list[str] = []
        silent = 0
        for index, address in enumerate(addresses):
            # A silent address must leave time for the ones after it.
            share_seconds = (deadline - anyio.current_time()) / (len(addresses) - index)
            try:
                with anyio.fail_after(share_seconds):
                    return await _connect_literal(address, port)
            except TimeoutError:
                silent += 1
                failures.append(f"{address}: no answer")
            except OSError as error:
                failures.append(f"{address}: {_reason(error)}")
        code = "upstream_timeout" if 0 < silent == len(addresses) else "upstream_unreachable"
        raise UpstreamFailed(code, f"{host}:{port}: {'; '.join(failures) or 'no address'}")

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = _client_context(None)
        return self._tls

    async def _wrap(self, stream: ByteStream, tls_name: str, where: str) -> ByteStream:
        try:
            return await TLSStream.wrap(
                stream,
                server_side=False,
                hostname=tls_name,
                ssl_context=self._context(),
                # Most servers skip close_notify; a cut body is found by HTTP's own framing.
                standard_compatible=False,
            )
        except (OSError, ValueError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            await anyio.aclose_forcefully(stream)
            detail = f"TLS with {where}: {_tls_reason(error)}"
            raise TlsFailed("upstream_unreachable", detail) from error
        except BaseException:
            # Cancelled, or out of time: nobody else knows this connection yet.
            await anyio.aclose_forcefully(stream)
            raise


async def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of ``host`` by the system's resolver, each once, in its order.

    Raises OSError (``socket.gaierror``), UnicodeError for a name that cannot be encoded.
    """
    answers = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def hung_up(stream: ByteStream) -> bool:
    """Whether an idle connection may no longer be used: the peer closed it or sent unasked bytes.

    Costs one poll(2). False for streams that are no sockets.
    """
    try:
        raw = raw_socket(stream)
        if raw is None:
            return False
        descriptor = raw.fileno()
    except OSError:
        return True
    if descriptor < 0:
        return True
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def _permitted(host: str, found: Iterable[str]) -> list[str]:
    permitted: list[str] = []
    refused: list[str] = []
    for address in found:
        reason = refusal_of(address)
        if reason is None:
            permitted.append(address)
        else:
            refused.append(f"{address} is {reason}")
    if refused and not permitted:
        raise UpstreamFailed(
            "upstream_unreachable",
            f"{host} is refused: {'; '.join(refused)}; list the host to allow it",
        )
    return permitted


async def _connect_literal(address: str, port: int) -> ByteStream:
    stream = await anyio.connect_tcp(address, port)
    try:
        _set_options(stream)
    except OSError:
        # Reset between connecting and here: one more address that refused.
        await anyio.aclose_forcefully(stream)
        raise
    return stream


def _set_options(stream: ByteStream) -> None:
    raw = raw_socket(stream)
    assert raw is not None, "a TCP stream has a socket"
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        seconds = limits.KEEP_ALIVE_PROBE_SECONDS
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds)


def _client_context(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca_file)
    except OSError as error:
        raise ConfigInvalid(
            f"CA file {ca_file}: {_reason(error)}; it must be a readable PEM file of certificates"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason(error: BaseException) -> str:
    # anyio wraps the errors of single attempts, and asyncio words some of them its own way.
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, OSError):
        if cause.errno and not isinstance(cause, (ssl.SSLError, socket.gaierror)):
            return os.strerror(cause.errno)
        if cause.strerror:
            return cause.strerror
    return str(error) or type(error).__name__


def _tls_reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, (anyio.EndOfStream, anyio.BrokenResourceError)):
        return "the connection was cut during the handshake"
    return _reason(error)
