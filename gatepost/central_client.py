"""Asking the central services as a person, from the command line.

Owns: one blocking HTTP client with a bearer token, and the messages for the usual faults.
Refuses: daemons' calls, which are signed (``gateway.io.service``).
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gatepost.faults import InputOutputError
from gateway.limits import SERVICE_SECONDS_MAX

_CHUNK_BYTES: Final = 256 * 1024


class CentralClient:
    """``url``: base URL; ``token``: a person's bearer token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> bytes:
        """The body of a GET. Raises InputOutputError with the service's own words."""
        with self._open("GET", path, parameters, None) as answer:
            return bytes(answer.read())

    def post(self, path: str, body: bytes) -> bytes:
        """The body of a POST's answer. Raises InputOutputError with the service's own words."""
        with self._open("POST", path, None, body) as answer:
            return bytes(answer.read())

    def save(self, path: str, target: Path) -> int:
        """Write the body of a GET to ``target``; returns its bytes."""
        written = 0
        with self._open("GET", path, None, None) as answer, target.open("wb") as file:
            while chunk := answer.read(_CHUNK_BYTES):
                written += file.write(chunk)
        return written

    def _open(
        self, method: str, path: str, parameters: Mapping[str, str | int] | None, body: bytes | None
    ) -> http.client.HTTPResponse:
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        request = urllib.request.Request(  # noqa: S310 - the scheme is the operator's
            f"{self._url}{path}{query}",
            data=body,
            method=method,
            headers={
                "authorization": f"Bearer {self._token}",
                "content-type": "application/json",
            },
        )
        try:
            opened = urllib.request.urlopen(request, timeout=SERVICE_SECONDS_MAX)  # noqa: S310
        except urllib.error.HTTPError as error:
            words = error.read(2000).decode(errors="replace")
            raise InputOutputError(f"{method} {path}: {error.code} {words}") from error
        except OSError as error:
            raise InputOutputError(f"{self._url}: {error}") from error
        assert isinstance(opened, http.client.HTTPResponse)
        return opened
