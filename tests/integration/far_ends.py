"""Starting the stand-ins as processes, as the demo does, and asking what reached them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import httpx
import msgspec

_STOP_SECONDS_MAX = 10


class FarEnd:
    """A running stand-in: ``url`` without a path, and what it counted."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        ready = msgspec.json.decode(process.stdout.readline())
        self.port: int = ready["port"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = process
        self._token: str = ready["token"]

    def _ask(self, path: str, token: str | None = None) -> httpx.Response:
        headers = {"X-Far-End-Token": self._token if token is None else token}
        return httpx.get(self.url + path, headers=headers, trust_env=False)

    def counts(self) -> dict[str, int]:
        """Path or ``tool:<name>`` → how often."""
        found: dict[str, int] = self._ask("/_count").json()["by_path"]
        return found

    def total(self) -> int:
        """All requests that arrived (and tools that ran)."""
        return int(self._ask("/_count").json()["total"])

    def last_headers(self) -> dict[str, str]:
        """The headers of the newest request."""
        return dict(self._ask("/_seen").json()[-1]["headers"])

    def last_body(self) -> str:
        """The body of the newest request."""
        return str(self._ask("/_seen").json()[-1]["body"])

    def status_without_token(self, path: str) -> int:
        """What a caller who does not know the token gets."""
        return self._ask(path, token="guess").status_code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()

    def stop(self) -> int:
        """End the process; its exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=_STOP_SECONDS_MAX)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@contextmanager
def far_end(module: str, *options: str) -> Iterator[FarEnd]:
    """``python -m gatepost.far_end.<module>`` on a free port, ended afterwards."""
    command = [sys.executable, "-m", f"gatepost.far_end.{module}", "--port", "0", *options]
    with FarEnd(subprocess.Popen(command, stdout=subprocess.PIPE)) as running:
        yield running
