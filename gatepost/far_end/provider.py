"""A stand-in for a model provider: ``python -m gatepost.far_end.provider --port 0``.

Prints one JSON line ``{"port": …, "token": …}`` once it listens, and ends with 0 on SIGTERM. It
speaks OpenAI's and Anthropic's wire formats, checks the API key if it was given one, counts every
request before it answers, and fails on purpose for the models of ``faults.py``.

Owns: which path gives which answer. Refuses: thinking. ``GET /_count`` and ``GET /_seen`` say what
arrived, only to callers with the printed token in ``X-Far-End-Token``, which no gateway forwards.
"""

from __future__ import annotations

import hmac
import secrets
import signal
import sys
from collections.abc import Iterable
from typing import Final

import anyio
import click
import msgspec

from gatepost.far_end import anthropic, openai
from gatepost.far_end.answers import Answer, BadRequest, Body, make, read
from gatepost.far_end.faults import (
    JSON,
    STREAM,
    HungUp,
    before_answer,
    spoilt_body,
    spoilt_stream,
)
from gatepost.far_end.ledger import Ledger
from gatepost.far_end.web import Exchange, listen, serve

GUARD_HEADER: Final = "x-far-end-token"
HUNG_UP: Final = "hung-up"
"""Counted when a caller goes away from an answer that would never have ended."""

_OWN: Final = [("set-cookie", "far_end=1; Path=/"), ("x-internal-host", "far-end-7")]
"""In every answer: a gateway that passes these on is not filtering what comes back."""


class Provider:
    """The handler of every request. ``key``: the API key that callers need, None for any."""

    def __init__(self, ledger: Ledger, *, token: str, key: str | None) -> None:
        self._ledger = ledger
        self._token = token
        self._key = key
        self._answers = 0

    async def handle(self, exchange: Exchange) -> None:
        """Count, check the key, answer."""
        request = exchange.request
        if request.path in ("/_count", "/_seen"):
            await self._tell(exchange)
            return
        self._ledger.arrived(request)
        speaks_anthropic = request.header("anthropic-version") is not None
        error = anthropic.error if speaks_anthropic else openai.error
        if not self._key_is_good(exchange):
            await _send(exchange, 401, error(401, "Incorrect API key provided."))
            return
        try:
            await self._answer(exchange, speaks_anthropic)
        except BadRequest as bad:
            await _send(exchange, 400, error(400, str(bad)))
        except HungUp:
            self._ledger.count(HUNG_UP)
            raise

    async def _tell(self, exchange: Exchange) -> None:
        given = exchange.request.header(GUARD_HEADER) or ""
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            await exchange.answer(404, [])
            return
        ledger = self._ledger
        told = ledger.counts() if exchange.request.path == "/_count" else ledger.seen()
        await exchange.answer(200, [JSON], told)

    def _key_is_good(self, exchange: Exchange) -> bool:
        if self._key is None:
            return True
        # Both providers take a bearer token; Anthropic's documented header is its own.
        bearer = exchange.request.header("authorization") or ""
        given = exchange.request.header("x-api-key") or bearer.removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self._key.encode())

    async def _answer(self, exchange: Exchange, speaks_anthropic: bool) -> None:
        request = exchange.request
        if request.method == "GET" and request.path.startswith("/v1/models"):
            await _send(exchange, 200, _models(request.path, speaks_anthropic))
            return
        endpoint = f"{request.method} {request.path}"
        if endpoint not in _WHOLE:
            error = anthropic.error if speaks_anthropic else openai.error
            await _send(exchange, 404, error(404, f"Unknown request URL: {endpoint}."))
            return
        body = read(request.body)
        self._answers += 1
        await self._reply(exchange, endpoint, body, make(body, self._answers))

    async def _reply(self, exchange: Exchange, endpoint: str, body: Body, answer: Answer) -> None:
        error = anthropic.error if "/messages" in endpoint else openai.error
        failure = msgspec.json.encode(error(500, "The stand-in fails on purpose."))
        if await before_answer(body.model, exchange, failure):
            return
        if body.stream and endpoint in _STREAMED:
            events = _events(endpoint, body, answer)
            if not await spoilt_stream(body.model, exchange, events):
                await _stream(exchange, events)
            return
        whole = msgspec.json.encode(_whole(endpoint, body, answer))
        if not await spoilt_body(body.model, exchange, whole):
            await exchange.answer(200, [JSON, *_OWN, _request_id(answer)], whole)


_CHAT: Final = "POST /v1/chat/completions"
_RESPONSES: Final = "POST /v1/responses"
_EMBEDDINGS: Final = "POST /v1/embeddings"
_MESSAGES: Final = "POST /v1/messages"
_COUNT_TOKENS: Final = "POST /v1/messages/count_tokens"
_WHOLE: Final = frozenset({_CHAT, _RESPONSES, _EMBEDDINGS, _MESSAGES, _COUNT_TOKENS})
_STREAMED: Final = frozenset({_CHAT, _RESPONSES, _MESSAGES})


def _whole(endpoint: str, body: Body, answer: Answer) -> dict[str, object]:
    if endpoint == _CHAT:
        return openai.chat(answer)
    if endpoint == _RESPONSES:
        return openai.response(answer)
    if endpoint == _EMBEDDINGS:
        return openai.embeddings(body, answer)
    if endpoint == _MESSAGES:
        return anthropic.message(answer)
    return anthropic.token_count(answer)


def _events(endpoint: str, body: Body, answer: Answer) -> Iterable[bytes]:
    if endpoint == _CHAT:
        return openai.chat_events(body, answer)
    if endpoint == _RESPONSES:
        return openai.response_events(answer)
    return anthropic.message_events(answer)


def _models(path: str, speaks_anthropic: bool) -> dict[str, object]:
    name = path.removeprefix("/v1/models").lstrip("/")
    if speaks_anthropic:
        return anthropic.model(name) if name else anthropic.models()
    return openai.model(name) if name else openai.models()


def _request_id(answer: Answer) -> tuple[str, str]:
    return ("x-request-id", f"req_{answer.tail}")


async def _send(exchange: Exchange, status: int, members: dict[str, object]) -> None:
    await exchange.answer(status, [JSON, *_OWN], msgspec.json.encode(members))


async def _stream(exchange: Exchange, events: Iterable[bytes]) -> None:
    await exchange.start(200, [STREAM, *_OWN, ("cache-control", "no-cache")])
    for event in events:
        await exchange.send(event)
    await exchange.end()


async def _run(host: str, port: int, count_file: str | None, key: str | None) -> None:
    token = secrets.token_urlsafe(16)
    listener = listen(host, port)
    provider = Provider(Ledger(count_file), token=token, key=key)
    # Before the line is printed, so that whoever reads it may end us at once.
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, listener, provider.handle)
            ready = {"port": listener.getsockname()[1], "token": token}
            sys.stdout.buffer.write(msgspec.json.encode(ready) + b"\n")
            sys.stdout.buffer.flush()
            async for _ in signals:
                tasks.cancel_scope.cancel()
                return


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port; 0 takes a free one.")
@click.option("--count-file", help="File that always holds the counts as JSON.")
@click.option("--key", help="The API key that callers must present; a made-up one.")
@click.option("--key-file", help="File with that key instead.")
def main(
    host: str, port: int, count_file: str | None, key: str | None, key_file: str | None
) -> None:
    """A stand-in for a model provider, for demonstrations and tests."""
    if key_file is not None:
        with open(key_file, encoding="utf-8") as file:
            key = file.read().strip()
    anyio.run(_run, host, port, count_file, key)


if __name__ == "__main__":
    main()
