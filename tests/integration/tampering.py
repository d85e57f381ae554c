"""A man in the middle: central services behind a proxy that hands out other bundles.

Owns: passing requests on, and answering those for bundles with whatever a test sets. Refuses:
signing anything; it has no key.
"""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.system import Central


class Proxy(http.server.ThreadingHTTPServer):
    """Passes everything on to the real services, but for bundles while ``bundle`` is set."""

    daemon_threads = True

    def __init__(self, services: Central) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = services.url.removeprefix("http://")
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.bundle: bytes | None = None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _proxy(self) -> Proxy:
        assert isinstance(self.server, Proxy)
        return self.server

    def do_GET(self) -> None:
        self._pass(b"")

    def do_POST(self) -> None:
        self._pass(self.rfile.read(int(self.headers.get("content-length", "0"))))

    def _pass(self, body: bytes) -> None:
        if self._proxy.bundle is not None and "/blobs/" in self.path:
            self._answer(200, self._proxy.bundle, [])
            return
        connection = http.client.HTTPConnection(self._proxy.target, timeout=10)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        kept = [pair for pair in answer.getheaders() if pair[0].lower() == "etag"]
        self._answer(answer.status, answer.read(), kept)
        connection.close()

    def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in [*headers, ("content-length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: standard error is the test run's."""


@contextmanager
def tampering(services: Central) -> Iterator[Proxy]:
    """A running proxy in front of ``services``."""
    with Proxy(services) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
