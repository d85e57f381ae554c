"""Refusals read by the providers' own SDKs, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import mcp
import openai
import pytest
from mcp.shared.exceptions import MCPError

from gateway import refusal
from gateway.call import Head, Protocol
from gateway.protocols import read_calls
from gateway.wire import Answer
from tests.unit.gateway_protocols.routes import route_for

DECISION = "0193b3f0-7d3c-7000-8000-000000000001"


class Refuser:
    """A server that refuses every call with one code and counts them."""

    def __init__(self) -> None:
        self.code = "denied"
        self.protocol: Protocol = "openai"
        self.turns_away = False
        self.calls = 0
        refuser = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                refuser.calls += 1
                answer = refuser.answer(self.path, dict(self.headers), body)
                self.send_response(answer.status)
                for name, value in (*answer.headers, ("content-length", str(len(answer.body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def answer(self, target: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.turns_away:
            return refusal.turn_away(self.code, self.protocol)
        call = None
        if self.protocol == "mcp":
            head = Head(
                method="POST",
                target=target,
                headers={name.lower(): value for name, value in headers.items()},
                content_length=len(body),
                chunked=False,
                expect_continue=False,
                keep_alive=True,
            )
            (call,) = read_calls(route_for("mcp"), head, body).calls
        return refusal.refuse(self.code, self.protocol, decision_id=DECISION, call=call)


@pytest.fixture
def refuser() -> Iterator[Refuser]:
    refuser = Refuser()
    refuser.thread.start()
    yield refuser
    refuser.server.shutdown()
    refuser.server.server_close()
    refuser.thread.join()


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("denied", openai.PermissionDeniedError),
        ("approval_required", openai.PermissionDeniedError),
        ("token_expired", openai.AuthenticationError),
        ("duplicate_keys", openai.BadRequestError),
        ("upstream_redirect", openai.InternalServerError),
        ("internal_error", openai.InternalServerError),
        ("body_too_large", openai.APIStatusError),
    ],
)
def test_openai_raises_its_own_error_once(
    refuser: Refuser, code: str, raised: type[openai.APIStatusError]
) -> None:
    refuser.code = code
    with (
        openai.OpenAI(api_key="k", base_url=refuser.url + "/v1") as client,
        pytest.raises(raised) as caught,
    ):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == code
    assert DECISION in caught.value.message
    assert caught.value.request_id == DECISION
    assert refuser.calls == 1


def test_openai_raises_its_own_error_for_a_stream(refuser: Refuser) -> None:
    with (
        openai.OpenAI(api_key="k", base_url=refuser.url + "/v1") as client,
        pytest.raises(openai.PermissionDeniedError, match="denied"),
    ):
        client.responses.create(model="m", input="hi", stream=True)
    assert refuser.calls == 1


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("denied", anthropic.PermissionDeniedError),
        ("token_missing", anthropic.AuthenticationError),
        ("unreadable_body", anthropic.BadRequestError),
        ("upstream_invalid", anthropic.InternalServerError),
    ],
)
def test_anthropic_raises_its_own_error_once(
    refuser: Refuser, code: str, raised: type[anthropic.APIStatusError]
) -> None:
    refuser.code, refuser.protocol = code, "anthropic"
    with (
        anthropic.Anthropic(api_key="k", base_url=refuser.url) as client,
        pytest.raises(raised) as caught,
    ):
        client.messages.create(
            model="m", max_tokens=1, messages=[{"role": "user", "content": "hi"}]
        )
    assert caught.value.error_code == code
    assert caught.value.api_message is not None
    assert DECISION in caught.value.api_message
    assert caught.value.request_id == DECISION
    assert refuser.calls == 1


def test_a_retryable_turn_away_is_retried_by_the_sdk(refuser: Refuser) -> None:
    refuser.code, refuser.turns_away = "draining", True
    with (
        openai.OpenAI(api_key="k", base_url=refuser.url + "/v1", max_retries=0) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.embeddings.create(model="m", input="hi")
    # The SDK asks this of every answer before it repeats a call.
    assert client._should_retry(caught.value.response)
    assert caught.value.code == "draining"


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["denied", "token_expired", "policy_expired", "unreadable_body"])
async def test_mcp_raises_its_own_error_once(refuser: Refuser, code: str) -> None:
    refuser.code, refuser.protocol = code, "mcp"
    async with mcp.Client(refuser.url + "/mcp/files", mode="2026-07-28") as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("wipe", {"path": "/"})
    assert DECISION in caught.value.message
    assert caught.value.data["code"] == code
    assert refuser.calls == 1


@pytest.mark.anyio
async def test_mcp_reads_a_turn_away_that_knows_no_id(refuser: Refuser) -> None:
    refuser.code, refuser.protocol, refuser.turns_away = "spool_full", "mcp", True
    async with mcp.Client(refuser.url + "/mcp/files", mode="2026-07-28") as client:
        with pytest.raises(MCPError, match="spool_full"):
            await client.call_tool("wipe", {"path": "/"})
