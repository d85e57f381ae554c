from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from gateway.documents import RequestOf
from gateway.io.dial import AnyioDialer
from gateway.io.listen import listen_tcp
from gateway.io.service import CentralService
from gateway.ports import Service, ServiceAnswer, ServiceUnreachable
from tests.unit.gateway_io.authority import Authority
from tests.unit.gateway_io.scripted_service import OK, Script, client, serving

pytestmark = pytest.mark.anyio


async def answer_to(raw: bytes, **options: int) -> ServiceAnswer:
    """What one GET makes of ``raw``; the connection is cut after it."""
    script = Script()
    failure: ServiceUnreachable | None = None

    async def handle(stream: ByteStream) -> None:
        async with stream:
            await script.read(stream)
            await stream.send(raw)

    async with serving(handle) as url, client(url) as service:
        try:
            return await service.call("GET", "/", **options)  # type: ignore[arg-type]  # one option
        except ServiceUnreachable as error:
            failure = error
    # Here, and not inside: a task group would wrap it.
    raise failure


async def test_a_request_carries_version_length_and_signature() -> None:
    signed: list[tuple[str, str, bytes, RequestOf | None]] = []

    def sign(method: str, path: str, content: bytes, of: RequestOf | None) -> str:
        signed.append((method, path, content, of))
        return "c2lnbmVk"

    of = RequestOf(instance="i", first_seq=0, last_seq=1)
    script = Script([OK])
    async with serving(script.handle) as url, client(url, sign=sign) as plain:
        service: Service = plain
        answer = await service.call(
            "POST", "/v1/x?y=1", headers={"Content-Type": "application/json"}, body=b"{}", of=of
        )
        assert answer == ServiceAnswer(status=200, headers={"content-length": "2"}, body=b"ok")
        assert script.requests == [
            b"POST /v1/x?y=1 HTTP/1.1\r\n"
            b"host: " + url.removeprefix("http://").encode() + b"\r\n"
            b"user-agent: gatepost\r\n"
            b"accept-encoding: identity\r\n"
            b"gatepost-version: 1\r\n"
            b"Content-Type: application/json\r\n"
            b"content-length: 2\r\n"
            b"gatepost-signed: c2lnbmVk\r\n"
            b"\r\n{}"
        ]
    assert signed == [("POST", "/v1/x?y=1", b"{}", of)]


async def test_a_get_has_no_length_and_an_empty_post_has_one() -> None:
    script = Script([OK, OK])
    async with serving(script.handle) as url, client(url) as service:
        await service.call("GET", "/")
        await service.call("POST", "/")
    assert b"content-length" not in script.requests[0]
    assert b"gatepost-signed" not in script.requests[0]
    assert b"content-length: 0" in script.requests[1]


@pytest.mark.parametrize("name", ["Host", "Content-Length", "gatepost-signed", "Connection"])
async def test_the_clients_own_headers_cannot_be_replaced(name: str) -> None:
    async with client("http://127.0.0.1:1") as service:
        with pytest.raises(ValueError, match="is set by the client"):
            await service.call("GET", "/", headers={name: "x"})


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/a b", {}),
        ("GET", "/a\r\nx: y", {}),
        ("GET", "http://other/", {}),
        ("GET", "/ä", {}),
        ("GE T", "/", {}),
        ("GET", "/", {"x": "a\r\ny: b"}),
        ("GET", "/", {"x y": "a"}),
    ],
)
async def test_what_is_no_http_is_never_sent(
    method: str, path: str, headers: dict[str, str]
) -> None:
    async with client("http://127.0.0.1:1") as service:
        with pytest.raises(ValueError, match=r"is not an HTTP request|start with a slash"):
            await service.call(method, path, headers=headers)


@pytest.mark.parametrize("status", [301, 302, 304, 307, 401, 404, 412, 500, 503])
async def test_every_status_is_an_answer_and_redirects_are_not_followed(status: int) -> None:
    raw = b"HTTP/1.1 %d X\r\nlocation: http://127.0.0.1:1/\r\n" % status
    raw += b"\r\n" if status == 304 else b"content-length: 0\r\n\r\n"
    answer = await answer_to(raw)
    assert (answer.status, answer.headers["location"]) == (status, "http://127.0.0.1:1/")


async def test_answer_headers_are_lower_case_and_the_first_line_of_a_name_counts() -> None:
    answer = await answer_to(b"HTTP/1.1 200 OK\r\nETag: a\r\netag: b\r\nContent-Length: 0\r\n\r\n")
    assert answer.headers == {"etag": "a", "content-length": "0"}


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_answers_in_every_framing_are_read_whole(raw: bytes) -> None:
    assert (await answer_to(raw)).body == b"ok"


async def test_an_answer_arrives_byte_by_byte() -> None:
    async def handle(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            for byte in OK:
                await stream.send(bytes([byte]))

    async with serving(handle) as url, client(url) as service:
        assert (await service.call("GET", "/")).body == b"ok"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nok", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "not HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"\x16\x03\x01\x00", "not HTTP"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000, "not HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "interim"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
            "content encoding",
        ),
    ],
)
async def test_what_is_no_whole_plain_answer_is_a_protocol_failure(raw: bytes, words: str) -> None:
    with pytest.raises(ServiceUnreachable, match=words) as caught:
        await answer_to(raw)
    assert caught.value.kind == "protocol"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
    ],
)
async def test_an_endless_body_ends_at_the_bound(head: bytes) -> None:
    sent = [0]

    async def endless(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(head)
            try:
                while True:
                    await stream.send(b"x" * 1_000)
                    sent[0] += 1_000
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    async with serving(endless) as url, client(url) as service:
        with pytest.raises(ServiceUnreachable, match="larger than 10000 bytes") as caught:
            await service.call("GET", "/", answer_bytes_max=10_000)
    assert caught.value.kind == "protocol"


@pytest.mark.parametrize("body", [b"a" * 10, b"a" * 11])
async def test_the_bound_itself_is_allowed(body: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    if len(body) == 10:
        assert (await answer_to(raw, answer_bytes_max=10)).body == body
        return
    with pytest.raises(ServiceUnreachable):
        await answer_to(raw, answer_bytes_max=10)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", OK[:-1]])
async def test_a_slow_drip_ends_at_the_deadline(first: bytes) -> None:
    ended = anyio.Event()

    async def drip(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            if first:
                await stream.send(first)
            try:
                await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                ended.set()

    async with serving(drip) as url, client(url) as service:
        with pytest.raises(ServiceUnreachable) as caught:
            await service.call("GET", "/", timeout_seconds=0.02)
        assert caught.value.kind == "timeout"
        # And the connection is not left open or used again.
        with anyio.fail_after(5):
            await ended.wait()
        assert "idle=0" in repr(service)


async def test_an_early_refusal_of_a_large_body_is_an_answer() -> None:
    async def refuse(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(REFUSAL)
            try:
                while True:
                    await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    async with serving(refuse) as url, client(url) as service:
        assert (await service.call("POST", "/", body=b"x" * 3_000_000)).status == 413


REFUSAL = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


async def test_a_refusal_is_read_though_the_service_hung_up_on_the_body(tmp_path: Path) -> None:
    async def refuse(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(REFUSAL)

    path = str(tmp_path / "s")
    async with (
        await anyio.create_unix_listener(path) as listener,
        anyio.create_task_group() as tasks,
        client(f"unix:{path}") as service,
    ):
        tasks.start_soon(listener.serve, refuse)
        assert (await service.call("POST", "/", body=b"x" * 3_000_000)).status == 413
        tasks.cancel_scope.cancel()


async def test_a_service_that_hangs_up_on_the_body_is_unreachable() -> None:
    async def hang_up(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()

    failure: ServiceUnreachable | None = None
    async with serving(hang_up) as url, client(url) as service:
        try:
            await service.call("POST", "/", body=b"x" * 3_000_000)
        except ServiceUnreachable as error:
            failure = error
    assert failure is not None
    assert failure.kind == "protocol"


async def test_a_service_that_is_not_there_is_a_connect_failure(tmp_path: Path) -> None:
    async with await listen_tcp("127.0.0.1", 0) as listener:
        port = listener.extra(SocketAttribute.local_port)
    for url in (f"http://127.0.0.1:{port}", f"unix:{tmp_path}/none"):
        async with client(url) as service:
            with pytest.raises(ServiceUnreachable) as caught:
                await service.call("GET", "/")
            assert caught.value.kind == "connect"


async def test_a_connection_that_is_not_made_in_time_is_a_timeout() -> None:
    async def hangs(host: str, port: int) -> list[str]:
        await anyio.sleep_forever()
        return []

    dialer = AnyioDialer(resolve=hangs, connect_seconds_max=0.01)
    with pytest.raises(ServiceUnreachable) as caught:
        await CentralService("http://store.test:1", dialer).call("GET", "/")
    assert caught.value.kind == "timeout"


async def test_a_unix_socket_is_a_service(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    script = Script([OK, OK])
    async with (
        await anyio.create_unix_listener(path) as listener,
        anyio.create_task_group() as tasks,
        client(f"unix:{path}") as service,
    ):
        tasks.start_soon(listener.serve, script.handle)
        assert (await service.call("GET", "/")).body == b"ok"
        assert (await service.call("GET", "/")).body == b"ok"
        tasks.cancel_scope.cancel()
    assert b"host: localhost\r\n" in script.requests[0]
    assert script.accepted == 1


def tls_handler(authority: Authority, name: str, script: Script) -> Callable[..., Awaitable[None]]:
    context = authority.server(name)

    async def handle(stream: ByteStream) -> None:
        async with stream:
            try:
                tls = await TLSStream.wrap(
                    stream, server_side=True, ssl_context=context, standard_compatible=False
                )
            except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
                return
            await script.handle(tls)

    return handle


async def test_https_is_checked_against_the_ca_file(authority: Authority) -> None:
    script = Script([OK, OK])
    dialer = AnyioDialer(ca_file=authority.ca_file, any_address=True)
    async with serving(tls_handler(authority, "127.0.0.1", script)) as url:
        service = CentralService(url.replace("http:", "https:"), dialer)
        assert (await service.call("GET", "/")).body == b"ok"
        assert (await service.call("GET", "/")).body == b"ok"
        await service.aclose()
    assert script.accepted == 1


async def test_a_certificate_that_does_not_hold_is_a_tls_failure(authority: Authority) -> None:
    script = Script([OK])
    dialer = AnyioDialer(ca_file=authority.ca_file, any_address=True)
    async with serving(tls_handler(authority, "other.test", script)) as url:
        with pytest.raises(ServiceUnreachable) as caught:
            await CentralService(url.replace("http:", "https:"), dialer).call("GET", "/")
    assert caught.value.kind == "tls"
    assert script.requests == []
