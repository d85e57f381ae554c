from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from gateway import limits
from gateway.errors import ConfigInvalid, UpstreamFailed
from gateway.io.dial import AnyioDialer, Resolve, TlsFailed, hung_up, resolve_host
from gateway.ports import Dialer
from tests.unit.gateway_io.authority import Authority

pytestmark = pytest.mark.anyio

Handler = Callable[[ByteStream], Awaitable[None]]


def answers(*addresses: str) -> Resolve:
    """A resolver that knows one answer for every name."""

    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


async def echo(stream: ByteStream) -> None:
    async with stream:
        await stream.send(await stream.receive())


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A TCP server on a free port; yields the port."""
    listener = await anyio.create_tcp_listener(local_host=host)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handler)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


def over_tls(context: ssl.SSLContext, seen: list[str]) -> Handler:
    """A handler that speaks TLS; ``seen`` collects the names clients asked for."""

    def note(_object: object, name: str | None, _context: object) -> None:
        seen.append(str(name))

    context.sni_callback = note

    async def handler(stream: ByteStream) -> None:
        async with stream:
            try:
                tls = await TLSStream.wrap(
                    stream, server_side=True, ssl_context=context, standard_compatible=False
                )
                await tls.send(await tls.receive())
            except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
                return

    return handler


async def test_the_address_that_was_checked_is_the_one_dialled() -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        # A second look-up would find another address; there must be none.
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    async with serving(echo) as port:
        dialer: Dialer = AnyioDialer(frozenset({"Model.Test"}), resolve=rebinding)
        async with await dialer.connect_tcp("model.test", port, tls_name=None) as stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"
    assert asked == ["model.test"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0", "fe80::1"]
)
async def test_a_name_that_resolves_to_a_refused_address_is_not_dialled(address: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        dialer = AnyioDialer(frozenset({"127.0.0.1", "other.test"}), resolve=answers(address))
        with pytest.raises(UpstreamFailed, match=r"model\.test is refused") as caught:
            await dialer.connect_tcp("model.test", listener.getsockname()[1], tls_name=None)
        assert caught.value.code == "upstream_unreachable"
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "localhost", "127.0.0.1", "::1"])
async def test_every_spelling_of_loopback_is_refused_by_what_it_resolves_to(host: str) -> None:
    with pytest.raises(UpstreamFailed, match="loopback"):
        await AnyioDialer().connect_tcp(host, 9, tls_name=None)


async def test_refused_addresses_are_passed_over_for_permitted_ones() -> None:
    dialer = AnyioDialer(resolve=answers("127.0.0.1", "192.0.2.1"), connect_seconds_max=0.02)
    async with serving(echo) as port:
        with pytest.raises(UpstreamFailed) as caught:
            await dialer.connect_tcp("model.test", port, tls_name=None)
    assert "127.0.0.1" not in caught.value.detail


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    async with serving(echo) as port:
        dialer = AnyioDialer(any_address=True, resolve=answers("127.0.0.2", "127.0.0.1"))
        async with await dialer.connect_tcp("model.test", port, tls_name=None) as stream:
            assert stream.extra(SocketAttribute.remote_address)[0] == "127.0.0.1"


async def test_not_more_addresses_are_tried_than_the_limit() -> None:
    many = [f"127.0.1.{last}" for last in range(1, 30)]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dialer = AnyioDialer(any_address=True, resolve=answers(*many))
        with pytest.raises(UpstreamFailed) as caught:
            await dialer.connect_tcp("model.test", closed.getsockname()[1], tls_name=None)
    assert caught.value.detail.count("Connection refused") == limits.UPSTREAM_ADDRESSES_MAX


async def test_connections_send_at_once_and_are_probed_while_silent() -> None:
    async with serving(echo) as port:
        stream = await AnyioDialer(any_address=True).connect_tcp("127.0.0.1", port, tls_name=None)
        async with stream:
            raw = stream.extra(SocketAttribute.raw_socket)
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


async def test_a_refused_connection_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(UpstreamFailed, match="Connection refused") as caught:
            await AnyioDialer(any_address=True).connect_tcp("127.0.0.1", port, tls_name=None)
    assert caught.value.code == "upstream_unreachable"


async def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    async def fails(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(UpstreamFailed, match=r"model\.test does not resolve: Name or") as caught:
        await AnyioDialer(resolve=fails).connect_tcp("model.test", 443, tls_name=None)
    assert caught.value.code == "upstream_unreachable"


async def test_a_name_without_addresses_is_unreachable() -> None:
    with pytest.raises(UpstreamFailed, match="no address"):
        await AnyioDialer(resolve=answers()).connect_tcp("model.test", 443, tls_name=None)


async def test_resolving_forever_is_a_timeout() -> None:
    async def hangs(host: str, port: int) -> list[str]:
        await anyio.sleep_forever()
        return []

    with pytest.raises(UpstreamFailed) as caught:
        await AnyioDialer(resolve=hangs, connect_seconds_max=0.01).connect_tcp(
            "model.test", 443, tls_name=None
        )
    assert caught.value.code == "upstream_timeout"


async def test_addresses_that_do_not_answer_are_a_timeout_and_each_gets_its_share() -> None:
    # A full accept queue drops SYNs: what a firewall does to them, without leaving the machine.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        dialer = AnyioDialer(
            any_address=True,
            resolve=answers("127.0.0.1", "127.0.0.1"),
            connect_seconds_max=0.06,
        )
        with pytest.raises(UpstreamFailed) as caught:
            await dialer.connect_tcp("model.test", full.getsockname()[1], tls_name=None)
    assert caught.value.code == "upstream_timeout"


async def test_the_callers_own_deadline_passes_through() -> None:
    async def hangs(host: str, port: int) -> list[str]:
        await anyio.sleep_forever()
        return []

    with anyio.move_on_after(0.01) as scope:
        await AnyioDialer(resolve=hangs).connect_tcp("model.test", 443, tls_name=None)
    assert scope.cancelled_caught


async def test_tls_checks_the_configured_name_and_offers_http_1_1_alone(
    authority: Authority,
) -> None:
    names: list[str] = []
    async with serving(over_tls(authority.server("model.test"), names)) as port:
        dialer = AnyioDialer(
            frozenset({"model.test"}), authority.ca_file, resolve=answers("127.0.0.1")
        )
        async with await dialer.connect_tcp("model.test", port, tls_name="model.test") as stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"
            assert stream.extra(TLSAttribute.alpn_protocol) == "http/1.1"
            assert stream.extra(TLSAttribute.tls_version) in ("TLSv1.2", "TLSv1.3")
            # The peer hangs up without close_notify: a plain end, framing finds what is missing.
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
    assert names == ["model.test"]


async def test_tls_to_an_address_checks_the_address(authority: Authority) -> None:
    async with serving(over_tls(authority.server("127.0.0.1"), [])) as port:
        dialer = AnyioDialer(frozenset({"127.0.0.1"}), authority.ca_file)
        async with await dialer.connect_tcp("127.0.0.1", port, tls_name="127.0.0.1") as stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"


@pytest.mark.parametrize(
    ("certificate_for", "trusted", "words"),
    [
        ("other.test", True, "Hostname mismatch"),
        ("model.test", False, "self-signed certificate|unable to get local issuer"),
    ],
)
async def test_tls_refuses_another_name_and_an_unknown_authority(
    authority: Authority, certificate_for: str, trusted: bool, words: str
) -> None:
    async with serving(over_tls(authority.server(certificate_for), [])) as port:
        dialer = AnyioDialer(
            ca_file=authority.ca_file if trusted else None,
            any_address=True,
            resolve=answers("127.0.0.1"),
        )
        with pytest.raises(TlsFailed, match=words) as caught:
            await dialer.connect_tcp("model.test", port, tls_name="model.test")
    assert caught.value.code == "upstream_unreachable"


async def test_tls_refuses_versions_before_1_2(authority: Authority) -> None:
    context = authority.server("model.test")
    with pytest.warns(DeprecationWarning, match="TLSv1 "):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(over_tls(context, [])) as port:
        dialer = AnyioDialer(
            ca_file=authority.ca_file, any_address=True, resolve=answers("127.0.0.1")
        )
        with pytest.raises(TlsFailed):
            await dialer.connect_tcp("model.test", port, tls_name="model.test")


@pytest.mark.parametrize("first_bytes", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_a_server_that_speaks_no_tls_is_a_tls_failure(first_bytes: bytes) -> None:
    async def plain(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            if first_bytes:
                await stream.send(first_bytes)

    async with serving(plain) as port:
        with pytest.raises(TlsFailed):
            await AnyioDialer(any_address=True).connect_tcp("127.0.0.1", port, tls_name="a.test")


async def test_a_silent_handshake_is_a_timeout_and_the_connection_is_closed() -> None:
    ended = anyio.Event()

    async def silent(stream: ByteStream) -> None:
        async with stream:
            try:
                while True:
                    await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                ended.set()

    async with serving(silent) as port:
        dialer = AnyioDialer(any_address=True, connect_seconds_max=0.03)
        with pytest.raises(UpstreamFailed) as caught:
            await dialer.connect_tcp("127.0.0.1", port, tls_name="a.test")
        with anyio.fail_after(5):
            await ended.wait()
    assert caught.value.code == "upstream_timeout"


async def test_unix_sockets_are_dialled_and_their_errors_named(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    dialer = AnyioDialer()
    with pytest.raises(UpstreamFailed, match="No such file") as caught:
        await dialer.connect_unix(path)
    assert caught.value.code == "upstream_unreachable"
    listener = await anyio.create_unix_listener(path)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        async with await dialer.connect_unix(path) as stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"
        tasks.cancel_scope.cancel()
    with pytest.raises(UpstreamFailed, match="Connection refused"):
        await dialer.connect_unix(path)


async def test_an_idle_connection_shows_that_its_peer_hung_up() -> None:
    release = anyio.Event()

    async def held(stream: ByteStream) -> None:
        async with stream:
            await release.wait()

    async with serving(held) as port:
        stream = await AnyioDialer(any_address=True).connect_tcp("127.0.0.1", port, tls_name=None)
        async with stream:
            assert not hung_up(stream)
            release.set()
            with anyio.fail_after(5):
                while not hung_up(stream):
                    await anyio.lowlevel.checkpoint()
        assert hung_up(stream)


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nnonsense\n"])
def test_an_unusable_ca_file_is_a_configuration_error_that_names_it(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigInvalid, match=r"authority\.pem"):
        AnyioDialer(ca_file=str(path))


async def test_each_resolved_address_comes_once() -> None:
    found = await resolve_host("127.0.0.1", 80)
    assert found == ["127.0.0.1"]
