"""Child processes of a demonstration or a one-machine set-up.

Owns: starting ours, waiting until they say where they listen, and ending them in order.
Refuses: daemonising; children live and die with the command that started them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from gateway.errors import UNREADABLE

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 40.0


class StartFailed(Exception):
    """A child ended or stayed silent; the message says which and quotes its last words."""


class Interrupted(Exception):
    """Somebody asked for the end while children were being started or watched."""


class Child:
    """One of our processes. Its first line of standard output is a JSON object: where it is."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules, no shell
                # -P: nothing of ours is imported from the directory that the command runs in.
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def wait_ready(self) -> dict[str, object]:
        """The announcement on its first line. Raises StartFailed."""
        line = self._first_line()
        try:
            announced = msgspec.json.decode(line, type=dict[str, object])
        except UNREADABLE:
            self.stop()
            raise StartFailed(f"{self.name} did not start: {self.last_words()}") from None
        return announced

    def _first_line(self) -> bytes:
        output = self._process.stdout
        assert output is not None
        deadline = time.perf_counter() + START_SECONDS_MAX
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not line.endswith(b"\n") and time.perf_counter() < deadline:
                if selector.select(timeout=0.2):
                    part = os.read(output.fileno(), 4096)
                    if not part:
                        break
                    line += part
        return line.split(b"\n", 1)[0]

    def last_words(self) -> str:
        """The end of its standard error."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").strip().splitlines()
            if lines:
                return " | ".join(lines[-3:])
        return "it said nothing"

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """End it and return its exit code; killed if it does not end in time."""
        if self._process.poll() is None:
            self._process.send_signal(signal_number)
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return self._process.returncode


class Children:
    """Children in order of starting; leaving the block ends them in reverse."""

    def __init__(self, log_directory: Path) -> None:
        self._log_directory = log_directory
        self._children: list[Child] = []
        self._starting = False
        self._interrupted = False

    def start(
        self,
        name: str,
        module: str,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start ``python -m module``; its standard error goes to ``<name>.log``."""
        self._starting = True
        try:
            child = Child(name, module, arguments, self._log_directory / f"{name}.log", environment)
            self._children.append(child)
        finally:
            self._starting = False
        if self._interrupted:
            raise Interrupted
        return child

    def interrupt(self) -> None:
        """For signal handlers: raises Interrupted, but never between a child's birth and the note
        of it, which would leave it behind; then ``start`` raises it."""
        self._interrupted = True
        if not self._starting:
            raise Interrupted

    def dead(self) -> list[Child]:
        """Those that have ended by themselves."""
        return [child for child in self._children if child.returncode is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        for child in reversed(self._children):
            child.stop()
