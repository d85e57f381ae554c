"""Asking the central services as a person, from the command line.

Owns: one blocking HTTP client with a bearer token, and the messages for the usual faults.
Refuses: daemons' calls, which are signed (``gateway.io.service``).
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gatepost.faults import InputOutputError
from gateway.limits import POLICY_BUNDLE_BYTES_MAX, SERVICE_SECONDS_MAX

_CHUNK_BYTES: Final = 256 * 1024
_LINE_BYTES_MAX: Final = 2 * POLICY_BUNDLE_BYTES_MAX
_WORDS_BYTES_MAX: Final = 2_000
_NOT_FOUND: Final = 404


class NotThere(InputOutputError):
    """The service was reached and has nothing of that name."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to whoever it names."""

    def redirect_request(self, *_: object) -> None:
        return None


# Without proxies: they are for the world outside, and central services are ours.
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def client_of(central: str, token_file: Path) -> CentralClient:
    """Asks ``central``, a base URL, with the token in ``token_file``. Raises InputOutputError."""
    try:
        token = token_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputOutputError(f"{token_file}: cannot be read") from error
    return CentralClient(central.rstrip("/"), token)


class CentralClient:
    """``url``: base URL; ``token``: a person's bearer token, None for what is open to all."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> bytes:
        """The body of a GET. Raises InputOutputError with the service's own words."""
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        with self._asked("GET", path + query, None) as answer:
            return bytes(answer.read())

    def find(self, path: str) -> bytes | None:
        """As ``get``; None where the service has nothing there (404)."""
        try:
            return self.get(path)
        except NotThere:
            return None

    def post(self, path: str, body: bytes) -> bytes:
        """The body of a POST's answer. Raises InputOutputError with the service's own words."""
        with self._asked("POST", path, body) as answer:
            return bytes(answer.read())

    def put(self, path: str, body: bytes) -> bytes:
        """As ``post``, with a PUT."""
        with self._asked("PUT", path, body) as answer:
            return bytes(answer.read())

    def delete(self, path: str) -> bytes:
        """The body of a DELETE's answer. Raises InputOutputError with the service's own words."""
        with self._asked("DELETE", path, None) as answer:
            return bytes(answer.read())

    def save(self, path: str, target: Path) -> int:
        """Write the body of a GET to ``target``; returns its bytes. Raises InputOutputError.

        ``target`` appears whole or not at all.
        """
        written = 0
        partial = target.with_name(f"{target.name}.part")
        with self._asked("GET", path, None) as answer:
            with partial.open("wb") as file:
                while chunk := answer.read(_CHUNK_BYTES):
                    written += file.write(chunk)
            if answer.length:
                # Reading in pieces, the library takes a connection that was cut for an end.
                raise InputOutputError(f"{self._url}{path}: cut after {written} bytes")
            partial.replace(target)
        return written

    def lines(self, path: str, parameters: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """The lines of a GET, as they come. Raises InputOutputError, for an answer that was cut
        too."""
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        with self._asked("GET", path + query, None) as answer:
            while line := answer.readline(_LINE_BYTES_MAX):
                yield line
            if answer.length:
                raise InputOutputError(f"{self._url}{path}: cut")

    @contextmanager
    def _asked(
        self, method: str, path: str, body: bytes | None
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request, while it is being read."""
        try:
            headers = {"content-type": "application/json"}
            if self._token is not None:
                headers["authorization"] = f"Bearer {self._token}"
            request = urllib.request.Request(  # noqa: S310 - the scheme is the operator's
                f"{self._url}{path}", data=body, method=method, headers=headers
            )
            with _OPENER.open(request, timeout=SERVICE_SECONDS_MAX) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                words = error.read(_WORDS_BYTES_MAX).decode(errors="replace")
            kind = NotThere if error.code == _NOT_FOUND else InputOutputError
            raise kind(f"{method} {path}: {error.code} {words}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise InputOutputError(f"{self._url}: {error}") from error
