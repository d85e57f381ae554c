"""A mirror as a process of its own: its composition root.

Owns: the application, its start and end. Refuses: what it answers. No other service runs in it, and
it reads no key file.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import anyio
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from central import app as central_app
from central import web
from central.policy_mirror import api
from central.policy_mirror import config as configuration
from central.policy_mirror.config import MirrorConfig
from central.policy_mirror.service import PolicyMirror
from gateway import __version__
from gateway.io.clock import SystemClock
from gateway.io.dial import AnyioDialer
from gateway.io.disk import ThreadDisk
from gateway.io.entropy import SystemEntropy
from gateway.ports import Dialer, Disk, Entropy, WallClock


def build(
    config: MirrorConfig,
    *,
    clock: WallClock | None = None,
    entropy: Entropy | None = None,
    disk: Disk | None = None,
    dialer: Dialer | None = None,
) -> Litestar:
    """The application. Raises ConfigInvalid before anything listens."""
    configuration.check(config)
    mirror = PolicyMirror(
        config,
        clock or SystemClock(),
        entropy or SystemEntropy(),
        disk or ThreadDisk(),
        # The upstream is named by the operator, and lives on a private address as a rule.
        dialer or AnyioDialer(ca_file=config.ca_file, any_address=True),
    )

    def provide() -> PolicyMirror:
        return mirror

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        try:
            await mirror.load()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(mirror.run)
                yield
                tasks.cancel_scope.cancel()
        finally:
            await mirror.aclose()

    return web.CentralApp(
        route_handlers=[central_app.livez, *api.HANDLERS],
        dependencies={"policy_mirror": Provide(provide, sync_to_thread=False, use_cache=True)},
        exception_handlers=web.EXCEPTION_HANDLERS,
        logging_config=None,
        lifespan=[lifespan],
        openapi_config=OpenAPIConfig(
            title="Gatepost policy mirror",
            version=__version__,
            path="/schema",
            render_plugins=[JsonRenderPlugin()],
        ),
    )


def serve(config: MirrorConfig, *, started: Callable[[str], None] | None = None) -> None:
    """Run the mirror until SIGTERM or SIGINT.

    ``started`` gets the base URL once requests are accepted. Raises ConfigInvalid.
    """
    with central_app.listen(config.host, config.port) as listener:
        central_app.run(build(config), listener, started)
