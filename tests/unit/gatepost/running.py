"""A command as a shell would run it, and a daemon for it to ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from anyio.from_thread import start_blocking_portal
from click.testing import CliRunner

from gatepost.cli import main
from gateway.wire import Incoming
from tests.unit.sidecar.operators_end import Daemon, served

Handle = Callable[[Incoming], Awaitable[None]]


class Ended:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return msgspec.json.decode(self.out)


def gatepost(*arguments: object, env: dict[str, str | None] | None = None) -> Ended:
    """Run the command in this process; an exception that escapes it is the test's."""
    # A wide terminal: what is told must not depend on where lines break.
    environment = {"COLUMNS": "250", "TERM": "dumb", **(env or {})}
    result = CliRunner(env=environment).invoke(main, [str(one) for one in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


@contextmanager
def admin_socket(daemon: Daemon, path: str, handle: Handle | None = None) -> Iterator[None]:
    """Serve ``daemon`` on ``path`` in a thread of its own, as another process would."""
    serve = handle or daemon.operators(follow_seconds=0.05).handle
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(served(daemon, serve, path)),
    ):
        yield
