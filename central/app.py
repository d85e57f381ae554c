"""The central services as one application: the composition root of ``central``.

Owns: which services run in this process, their start and end, and the runner. Refuses: what they
do. One machine may run all three; in production the issuer runs apart from the record store.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType

import anyio
import msgspec
import uvicorn
from litestar import Litestar, Response, get
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from central import config as configuration
from central import revocations, web
from central.certifying import RemoteIssuer
from central.config import CentralConfig
from central.database import Database, OpenDatabase
from central.described import COMPONENTS
from central.issuer import api as issuer_api
from central.issuer.service import Issuer
from central.keys import RootFiles, read_signer
from central.outbox.service import Outbox
from central.people import People
from central.policy_service import api as policy_api
from central.policy_service.service import PolicyService
from central.record_store import api as record_api
from central.record_store import log_api
from central.record_store.service import RecordStore
from gateway import __version__
from gateway.errors import ConfigInvalid
from gateway.io.clock import SystemClock
from gateway.io.dial import AnyioDialer
from gateway.io.entropy import SystemEntropy
from gateway.io.service import CentralService
from gateway.ports import Entropy, WallClock

Service = Issuer | PolicyService | RecordStore


@get("/livez", include_in_schema=False)
async def livez() -> Response[bytes]:
    """The process answers."""
    return web.answer(b'{"live":true}')


def build(
    config: CentralConfig,
    *,
    clock: WallClock | None = None,
    entropy: Entropy | None = None,
    open_database: OpenDatabase = Database,
) -> Litestar:
    """The application of ``config.services``. Raises ConfigInvalid before anything listens."""
    configuration.check(config)
    clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
    root_files = RootFiles(config.roots_directory, config.root_fingerprint)
    if config.require_offline_root:
        root_files.require_offline()
    people = People(config)
    handlers: list[HTTPRouteHandler] = [livez]
    with contextlib.ExitStack() as opened:
        services: dict[str, Service] = {}
        issuer: Issuer | None = None
        store: RecordStore | None = None
        if "issuer" in config.services:
            issuer = Issuer(config, root_files, clock, entropy, open_database)
            services["issuer"] = issuer
            opened.callback(issuer.database.close)
            handlers += issuer_api.HANDLERS
        if "records" in config.services:
            desk = issuer or _remote_issuer(config)
            store = RecordStore(config, root_files, people, clock, entropy, open_database, desk)
            services["record_store"] = store
            opened.callback(store.database.close)
            handlers += record_api.HANDLERS
            handlers += log_api.HANDLERS
        outbox = _outbox(config, root_files, issuer, clock, entropy, open_database)
        if outbox is not None:
            opened.callback(outbox.database.close)
        register = store or outbox
        note = None if register is None else register.note
        if issuer is not None and note is not None:
            issuer.note = note
        if "policy" in config.services:
            policy = PolicyService(config, root_files, people, clock, open_database, note)
            services["policy_service"] = policy
            opened.callback(policy.database.close)
            handlers += policy_api.HANDLERS
        if issuer is not None or store is not None:
            handlers.append(revocations.handler(config, root_files, issuer, store))
        handlers.append(_readyz(services, store, outbox, one_operator=config.one_operator))
        # From here on the application's own end closes the databases.
        opened.pop_all()
    return web.CentralApp(
        route_handlers=handlers,
        dependencies={name: _provide(service) for name, service in services.items()},
        exception_handlers=web.EXCEPTION_HANDLERS,
        # The process decides where logs go; a framework that configures the root logger does not.
        logging_config=None,
        lifespan=[_lifespan(services, outbox)],
        openapi_config=OpenAPIConfig(
            title="Gatepost central services",
            version=__version__,
            path="/schema",
            components=COMPONENTS,
            render_plugins=[JsonRenderPlugin()],
        ),
    )


def _remote_issuer(config: CentralConfig) -> RemoteIssuer | None:
    if config.issuer_url is None:
        return None
    dialer = AnyioDialer(ca_file=config.issuer_ca_file, any_address=True)
    return RemoteIssuer(CentralService(config.issuer_url, dialer))


def _outbox(
    config: CentralConfig,
    root_files: RootFiles,
    issuer: Issuer | None,
    clock: WallClock,
    entropy: Entropy,
    open_database: OpenDatabase,
) -> Outbox | None:
    """Where acts are kept and sent from, if the record store is another process."""
    if config.record_store_url is None:
        return None
    if issuer is not None:
        attesting = read_signer(config.keys.issuer, "issuer")
    else:
        attesting = read_signer(config.keys.policy_head, "policy_head")
    desk = issuer or _remote_issuer(config)
    assert desk is not None, "checked with the configuration"
    dialer = AnyioDialer(ca_file=config.record_store_ca_file, any_address=True)
    return Outbox(config, root_files, attesting, desk, dialer, clock, entropy, open_database)


def _provide(service: Service) -> Provide:
    def provide() -> Service:
        return service

    return Provide(provide, sync_to_thread=False, use_cache=True)


class Ready(msgspec.Struct, frozen=True):
    """``alarms``: words, of which none makes a service unready: an operator looks into them."""

    ready: bool
    one_operator: bool
    alarms: list[str]


def _readyz(
    services: dict[str, Service],
    store: RecordStore | None,
    outbox: Outbox | None,
    *,
    one_operator: bool,
) -> HTTPRouteHandler:
    databases = [service.database for service in services.values()]
    if outbox is not None:
        databases.append(outbox.database)

    @get("/readyz", include_in_schema=False)
    async def readyz() -> Response[bytes]:
        """Every database answers."""
        for database in databases:
            await database.read(lambda connection: connection.execute("SELECT 1").fetchone())
        behind = store is not None and await store.any_behind()
        alarms = ["log_behind"] if behind else []
        if outbox is not None:
            alarms += await outbox.alarms()
        return web.answer(msgspec.json.encode(Ready(True, one_operator, alarms)))

    return readyz


def _lifespan(
    services: dict[str, Service], outbox: Outbox | None
) -> Callable[[Litestar], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        try:
            for service in services.values():
                await service.start()
            async with anyio.create_task_group() as tasks:
                for service in services.values():
                    if isinstance(service, RecordStore):
                        tasks.start_soon(service.published.push_checkpoints)
                if outbox is not None:
                    tasks.start_soon(outbox.run)
                yield
                tasks.cancel_scope.cancel()
            if outbox is not None:
                await outbox.aclose()
            for service in services.values():
                if isinstance(service, RecordStore):
                    await service.aclose()
        finally:
            for service in services.values():
                if isinstance(service, Issuer):
                    await service.aclose()
                service.database.close()
            if outbox is not None:
                outbox.database.close()

    return lifespan


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises ConfigInvalid, also where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigInvalid(
            f"cannot listen on {host} port {port}: {error.strerror}; set host or port"
        ) from error
    return listener


def serve(config: CentralConfig, *, started: Callable[[str], None] | None = None) -> None:
    """Run ``config.services`` until SIGTERM or SIGINT; requests under way are finished.

    ``started`` gets the base URL once requests are accepted. Raises ConfigInvalid.
    """
    with listen(config.host, config.listening_port) as listener:
        run(build(config), listener, started)


def run(
    app: Litestar, listener: socket.socket, started: Callable[[str], None] | None = None
) -> None:
    """Run ``app`` on ``listener`` until SIGTERM or SIGINT; requests under way are finished."""
    server = Server(uvicorn_config(app), base_url(listener), started)
    with _ended_by_signal():
        server.run(sockets=[listener])


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Uvicorn raises the signal that stopped it once more at its end; a drained stop is exit 0."""
    before = {one: signal.signal(one, _ignore) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler that does nothing: by then uvicorn has stopped."""


def base_url(listener: socket.socket) -> str:
    """``http://host:port`` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def uvicorn_config(app: Litestar) -> uvicorn.Config:
    """How uvicorn runs ``app``: no logging set-up of its own, no banner, a bounded stop."""
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=10,
    )


class Server(uvicorn.Server):
    """uvicorn, saying when it accepts requests."""

    def __init__(
        self, config: uvicorn.Config, url: str, started: Callable[[str], None] | None
    ) -> None:
        super().__init__(config)
        self._url = url
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._tell is not None:
            self._tell(self._url)
