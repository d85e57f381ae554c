"""A witness as a process of its own: its composition root.

Owns: the application, its start and end. Refuses: what it answers. No other service runs in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from litestar import Litestar
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from central import app as central_app
from central import web
from central.database import Database, OpenDatabase
from central.witness import api
from central.witness import config as configuration
from central.witness.config import WitnessConfig
from central.witness.service import Witness
from gateway import __version__
from gateway.io.clock import SystemClock
from gateway.ports import WallClock


def build(
    config: WitnessConfig,
    *,
    clock: WallClock | None = None,
    open_database: OpenDatabase = Database,
) -> tuple[Litestar, Witness]:
    """The application, and the witness in it. Raises ConfigInvalid before anything listens."""
    configuration.check(config)
    witness = Witness(config, clock or SystemClock(), open_database)

    def provide() -> Witness:
        return witness

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        try:
            yield
        finally:
            witness.database.close()

    app = web.CentralApp(
        route_handlers=[central_app.livez, *api.HANDLERS],
        dependencies={"witness": Provide(provide, sync_to_thread=False, use_cache=True)},
        exception_handlers=web.EXCEPTION_HANDLERS,
        logging_config=None,
        lifespan=[lifespan],
        openapi_config=OpenAPIConfig(
            title="Gatepost witness",
            version=__version__,
            path="/schema",
            render_plugins=[JsonRenderPlugin()],
        ),
    )
    return app, witness


def serve(config: WitnessConfig, *, started: Callable[[str, str], None] | None = None) -> None:
    """Run the witness until SIGTERM or SIGINT.

    ``started`` gets the base URL and the verifier key once requests are accepted. Raises
    ConfigInvalid.
    """
    with central_app.listen(config.host, config.port) as listener:
        app, witness = build(config)

        def tell(url: str) -> None:
            if started is not None:
                started(url, witness.key.verifier_key())

        central_app.run(app, listener, tell)
