"""A small HTTPS server that publishes a JWK set, as a cluster or trust domain does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.unit.gateway_io.authority import Authority

PATH = "/openid/v1/jwks"


class KeyServer:
    """``jwks`` and ``status`` are what it answers; ``asked`` the Authorization of each request."""

    def __init__(self, port: int) -> None:
        self.url = f"https://localhost:{port}{PATH}"
        self.jwks = b""
        self.status = 200
        self.asked: list[str | None] = []


@contextmanager
def serving(authority: Authority, *, name: str = "localhost") -> Iterator[KeyServer]:
    """A running server whose certificate is for ``name``."""
    known: list[KeyServer] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            (server,) = known
            server.asked.append(self.headers.get("authorization"))
            body = server.jwks if self.path == PATH else b"{}"
            self.send_response(server.status)
            self.send_header("content-type", "application/jwk-set+json")
            self.send_header("content-length", str(len(body)))
            if server.status == 302:
                self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests read what they need from ``asked``."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    listener.socket = authority.server(name, alpn=("http/1.1",)).wrap_socket(
        listener.socket, server_side=True
    )
    known.append(KeyServer(listener.server_address[1]))
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield known[0]
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
