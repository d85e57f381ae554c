from __future__ import annotations

import anyio
import pytest
from anyio.abc import ByteStream

from gateway import limits
from gateway.ports import ServiceUnreachable
from tests.unit.gateway_io.scripted_service import CLOSE, OK, Script, client, serving

pytestmark = pytest.mark.anyio

RECORDS = frozenset({("POST", "/v1/records")})


async def test_one_connection_serves_many_calls() -> None:
    script = Script([OK] * 5)
    async with serving(script.handle) as url, client(url) as service:
        for _ in range(5):
            assert (await service.call("POST", "/", body=b"x")).status == 200
    assert script.accepted == 1


async def test_a_connection_that_the_service_closes_is_not_used_again() -> None:
    closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
    script = Script([closing], [OK])
    async with serving(script.handle) as url, client(url) as service:
        await service.call("POST", "/")
        await service.call("POST", "/")
    assert script.accepted == 2


async def test_bytes_after_an_answer_are_never_read_as_the_next_one() -> None:
    script = Script([OK + b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"], [OK])
    async with serving(script.handle) as url, client(url) as service:
        assert (await service.call("GET", "/")).status == 200
        assert (await service.call("GET", "/")).status == 200
    assert script.accepted == 2


async def test_a_connection_that_was_closed_while_idle_is_replaced_even_for_a_post() -> None:
    gone = anyio.Event()
    accepted = [0]

    async def one_each(stream: ByteStream) -> None:
        accepted[0] += 1
        async with stream:
            await stream.receive()
            await stream.send(OK)
        gone.set()

    async with serving(one_each) as url, client(url) as service:
        await service.call("POST", "/")
        await gone.wait()
        # The kernel delivers the end of a loopback connection at once.
        assert (await service.call("POST", "/")).body == b"ok"
    assert accepted[0] == 2


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/head"), ("HEAD", "/"), ("POST", "/v1/records?x=1")]
)
async def test_a_repeatable_call_is_sent_again_once_when_a_kept_connection_dies(
    method: str, path: str
) -> None:
    answer = OK if method != "HEAD" else b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    script = Script([OK, CLOSE], [answer])
    async with serving(script.handle) as url, client(url, idempotent=RECORDS) as service:
        await service.call("GET", "/first")
        assert (await service.call(method, path)).status == 200
    assert script.accepted == 2
    assert len(script.requests) == 3


async def test_it_is_not_sent_a_third_time() -> None:
    script = Script([OK, CLOSE], [CLOSE], [OK])
    async with serving(script.handle) as url, client(url) as service:
        await service.call("GET", "/")
        with pytest.raises(ServiceUnreachable, match="closed before an answer"):
            await service.call("GET", "/")
    assert script.accepted == 2


async def test_another_post_is_never_sent_twice() -> None:
    script = Script([OK, CLOSE], [OK])
    async with serving(script.handle) as url, client(url, idempotent=RECORDS) as service:
        await service.call("GET", "/")
        with pytest.raises(ServiceUnreachable, match="closed before an answer") as caught:
            await service.call("POST", "/v1/certificates", body=b"x")
        assert caught.value.kind == "protocol"
    assert script.accepted == 1


async def test_a_fresh_connection_that_dies_is_not_tried_again() -> None:
    script = Script([CLOSE], [OK])
    async with serving(script.handle) as url, client(url) as service:
        with pytest.raises(ServiceUnreachable, match="closed before an answer"):
            await service.call("GET", "/")
    assert script.accepted == 1


async def test_a_call_that_had_an_answer_byte_is_not_sent_again() -> None:
    script = Script([OK, b"H", CLOSE], [OK])

    async def handle(stream: ByteStream) -> None:
        script.accepted += 1
        async with stream:
            await script.read(stream)
            await stream.send(OK)
            await script.read(stream)
            await stream.send(b"H")

    async with serving(handle) as url, client(url) as service:
        await service.call("GET", "/")
        with pytest.raises(ServiceUnreachable, match="not HTTP"):
            await service.call("GET", "/")
    assert script.accepted == 1


async def test_calls_at_once_share_a_bounded_number_of_connections() -> None:
    present, most = [0], [0]
    full, release = anyio.Event(), anyio.Event()

    async def hold(stream: ByteStream) -> None:
        async with stream:
            try:
                while True:
                    await stream.receive()
                    present[0] += 1
                    most[0] = max(most[0], present[0])
                    if present[0] == limits.SERVICE_CONNECTIONS_MAX:
                        full.set()
                    await release.wait()
                    present[0] -= 1
                    await stream.send(OK)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    async with serving(hold) as url, client(url) as service:
        async with anyio.create_task_group() as calls:
            for _ in range(3 * limits.SERVICE_CONNECTIONS_MAX):
                calls.start_soon(service.call, "GET", "/")
            with anyio.fail_after(5):
                await full.wait()
            await anyio.wait_all_tasks_blocked()
            release.set()
        assert f"idle={limits.SERVICE_CONNECTIONS_MAX}" in repr(service)
    assert most[0] == limits.SERVICE_CONNECTIONS_MAX


async def test_waiting_for_a_connection_counts_against_the_deadline() -> None:
    async def silent(stream: ByteStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with serving(silent) as url, client(url) as service, anyio.create_task_group() as calls:
        for _ in range(limits.SERVICE_CONNECTIONS_MAX):
            calls.start_soon(service.call, "GET", "/")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ServiceUnreachable) as caught:
            await service.call("GET", "/", timeout_seconds=0.01)
        assert caught.value.kind == "timeout"
        calls.cancel_scope.cancel()


async def test_a_cancelled_call_closes_its_connection() -> None:
    script = Script([b"HTTP/1.1 200 OK\r\n", OK])
    async with serving(script.handle) as url, client(url) as service:
        async with anyio.create_task_group() as calls:
            calls.start_soon(service.call, "GET", "/")
            await anyio.wait_all_tasks_blocked()
            calls.cancel_scope.cancel()
        with anyio.fail_after(5):
            await script.hung_up.wait()
        assert "idle=0" in repr(service)
