"""The demonstration's agent: real, unmodified SDKs making real calls.

``python -m gatepost.demo_clients``, with ``OPENAI_BASE_URL`` and ``ANTHROPIC_BASE_URL`` in the
environment as ``gatepost env`` prints them; one JSON line per call on standard output.

Owns: the calls and what each should come to. Refuses: anything that an agent of a stranger
would not do: no header, no hook and no flag of ours is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Final

import anthropic
import anyio
import httpx2
import mcp
import msgspec
import openai

from gatepost.demo_outcome import Expected, Outcome

CHAT_MODEL: Final = "gpt-4o-mini"
CLAUDE_MODEL: Final = "claude-sonnet-5-5"
FORBIDDEN_MODEL: Final = "gpt-4-unapproved"
_CARD_TEXT: Final = "Please charge 4111 1111 1111 1111 for the order."
_REFUND: Final[dict[str, object]] = {"order_id": "42", "currency": "EUR"}
_QUESTION: Final = "What is the status of order 42?"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call: ``make`` returns a short text of the answer, or raises as the SDK does."""

    name: str
    client: str
    asked: str
    expected: Expected
    make: Callable[[], str]


def calls(socket: str, delegation: str, tools_url: str) -> Iterator[Call]:
    """Every call of the demonstration, in order."""
    over_socket = httpx2.Client(transport=httpx2.HTTPTransport(uds=socket))
    by_environment = openai.OpenAI()
    by_socket = openai.OpenAI(base_url="http://localhost/openai/v1", http_client=over_socket)
    for_a_person = openai.OpenAI(api_key=delegation)
    claude = anthropic.Anthropic()
    yield Call(
        name="chat over TCP",
        client="openai, OPENAI_BASE_URL alone",
        asked=CHAT_MODEL,
        expected="allowed",
        make=lambda: _chat(by_environment, CHAT_MODEL, _QUESTION),
    )
    yield Call(
        name="streamed chat over TCP, for a person",
        client="openai, delegation token as API key",
        asked=CHAT_MODEL,
        expected="allowed",
        make=lambda: _streamed_chat(for_a_person),
    )
    yield Call(
        name="chat over the Unix socket",
        client="openai, socket transport",
        asked=CHAT_MODEL,
        expected="allowed",
        make=lambda: _chat(by_socket, CHAT_MODEL, _QUESTION),
    )
    yield Call(
        name="streamed chat over the Unix socket",
        client="openai, socket transport",
        asked=CHAT_MODEL,
        expected="allowed",
        make=lambda: _streamed_chat(by_socket),
    )
    yield Call(
        name="streamed message",
        client="anthropic, ANTHROPIC_BASE_URL alone",
        asked=CLAUDE_MODEL,
        expected="allowed",
        make=lambda: _streamed_message(claude),
    )
    yield Call(
        name="a model nobody approved",
        client="openai",
        asked=FORBIDDEN_MODEL,
        expected="denied",
        make=lambda: _chat(by_environment, FORBIDDEN_MODEL, _QUESTION),
    )
    yield Call(
        name="a card number in the prompt",
        client="openai",
        asked=CHAT_MODEL,
        expected="denied",
        make=lambda: _chat(by_environment, CHAT_MODEL, _CARD_TEXT),
    )
    yield from _tool_calls(tools_url)


def _tool_calls(url: str) -> Iterator[Call]:
    def tool(name: str, tool: str, arguments: dict[str, object], expected: Expected) -> Call:
        return Call(
            name=name,
            client="mcp",
            asked=f"orders/{tool}",
            expected=expected,
            make=lambda: anyio.run(_call_tool, url, tool, arguments),
        )

    yield tool("an allowed tool", "lookup_order", {"order_id": "42"}, "allowed")
    yield tool("a small refund", "refund", _REFUND | {"amount": 120}, "allowed")
    yield tool("a large refund", "refund", _REFUND | {"amount": 900}, "denied")
    yield tool("a forbidden tool", "delete_customer", {"customer_id": "7"}, "denied")


def _chat(client: openai.OpenAI, model: str, text: str) -> str:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}]
    )
    return answer.choices[0].message.content or ""


def _streamed_chat(client: openai.OpenAI) -> str:
    chunks = client.chat.completions.create(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": _QUESTION}],
        stream=True,
        stream_options={"include_usage": True},
    )
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def _streamed_message(client: anthropic.Anthropic) -> str:
    with client.messages.stream(
        model=CLAUDE_MODEL,
        max_tokens=64,
        messages=[{"role": "user", "content": _QUESTION}],
    ) as stream:
        return "".join(stream.text_stream)


async def _call_tool(url: str, tool: str, arguments: dict[str, object]) -> str:
    refused: mcp.MCPError | None = None
    async with mcp.Client(url) as client:
        try:
            result = await client.call_tool(tool, arguments)
        except mcp.MCPError as error:
            # Raised outside: leaving the client's task group would wrap it.
            refused = error
    if refused is not None:
        raise refused
    if result.is_error:
        raise RuntimeError(f"the tool failed: {result.content}")
    return str(result.structured_content or result.content)


_DENIALS: Final = (
    openai.PermissionDeniedError,
    anthropic.PermissionDeniedError,
    mcp.MCPError,
)


def perform(call: Call) -> Outcome:
    """Make ``call`` and say what came of it; an exception that is no denial is a failure."""
    exception: str | None = None
    try:
        outcome, detail = "allowed", call.make()
    except _DENIALS as denial:
        outcome, detail = "denied", str(denial)
        exception = f"{type(denial).__module__.partition('.')[0]}.{type(denial).__name__}"
    except Exception as error:  # whatever an SDK raises belongs into the table, not on the screen
        outcome, detail = "failed", f"{type(error).__name__}: {error}"
        exception = type(error).__name__
    return Outcome(
        name=call.name,
        client=call.client,
        asked=call.asked,
        expected=call.expected,
        outcome=outcome,
        detail=detail,
        exception=exception,
    )


def main() -> None:
    """Arguments: the Unix socket and the MCP URL; the delegation token is in the environment.

    Each call waits for a line on standard input, so that whoever looks on can count in between.
    """
    socket, tools_url = sys.argv[1:]
    for call in calls(socket, os.environ["GATEPOST_DEMO_DELEGATION"], tools_url):
        sys.stdin.readline()
        sys.stdout.write(msgspec.json.encode(perform(call)).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
