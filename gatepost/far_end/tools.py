"""A stand-in for a company's tool server: ``python -m gatepost.far_end.tools --port 0``.

The real ``mcp`` package speaks the protocol (streamable HTTP at ``/mcp``); the tools do nothing
but count. Prints one JSON line ``{"port": …, "token": …}`` once it listens, and ends with 0 on
SIGTERM.

Owns: three harmless tools with names and arguments that a policy would care about. Refuses:
effects. ``GET /_count`` and ``GET /_seen`` say what arrived, to callers with the printed token in
``X-Far-End-Token``; each tool that ran is counted as ``tool:<name>``.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio
import click
import msgspec
import uvicorn
from mcp.server import MCPServer
from starlette.types import ASGIApp, Receive, Scope, Send

from gatepost.far_end.ledger import Ledger
from gatepost.far_end.provider import GUARD_HEADER
from gatepost.far_end.web import Request, listen

NAME: Final = "shop"
_SHUTDOWN_SECONDS_MAX: Final = 1


def tool_server(ledger: Ledger) -> MCPServer:
    """The tools; each call counts in ``ledger`` before it answers."""
    server = MCPServer(NAME, version="1.0.0", log_level="WARNING")

    @server.tool()
    def lookup_order(order_id: str) -> str:
        """Say where an order is."""
        ledger.count("tool:lookup_order")
        return f"Order {order_id} is on its way."

    @server.tool()
    def refund(order_id: str, amount: float, currency: str) -> str:
        """Pay an amount back."""
        ledger.count("tool:refund")
        return f"Refunded {amount:.2f} {currency} for order {order_id}."

    @server.tool()
    def delete_customer(customer_id: str) -> str:
        """Delete a customer for good."""
        ledger.count("tool:delete_customer")
        return f"Customer {customer_id} is deleted."

    return server


class Counted:
    """Counts every request before the tool server sees it, and answers the guarded paths."""

    def __init__(self, app: ASGIApp, ledger: Ledger, token: str) -> None:
        self._app = app
        self._ledger = ledger
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(
            method=scope["method"],
            target=scope["path"],
            headers=tuple((n.decode(), v.decode("latin-1")) for n, v in scope["headers"]),
            body=b"",
        )
        if request.path in ("/_count", "/_seen"):
            await self._tell(request, send)
            return
        self._ledger.arrived(request)
        await self._app(scope, receive, send)

    async def _tell(self, request: Request, send: Send) -> None:
        given = request.header(GUARD_HEADER) or ""
        good = hmac.compare_digest(given.encode(), self._token.encode())
        body = b""
        if good:
            told = self._ledger.counts if request.path == "/_count" else self._ledger.seen
            body = told()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        status = 200 if good else 404
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would end the process by the signal again; this one ends with 0.
        yield


async def _serve(server: uvicorn.Server, listener: socket.socket, ready: bytes) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            sys.stdout.buffer.write(ready + b"\n")
            sys.stdout.buffer.flush()
            async for _ in signals:
                server.should_exit = True
                return


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port; 0 takes a free one.")
@click.option("--count-file", help="File that always holds the counts as JSON.")
def main(host: str, port: int, count_file: str | None) -> None:
    """A stand-in for a company's tool server, for demonstrations and tests."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    ledger = Ledger(count_file)
    token = secrets.token_urlsafe(16)
    listener = listen(host, port)
    app = tool_server(ledger).streamable_http_app(host=host)
    config = uvicorn.Config(
        Counted(app, ledger, token),
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS_MAX,
    )
    ready = msgspec.json.encode({"port": listener.getsockname()[1], "token": token})
    anyio.run(_serve, _Server(config), listener, ready)


if __name__ == "__main__":
    main()
