"""The real central services, served inside the simulated world.

Policy service, issuer and record store are the product's own application with databases in memory
and no threads; only HTTP/1.1 is carried by ``gateway.io.serve`` instead of uvicorn. Requests may
be delivered twice, and each takes its time before it changes anything.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import msgspec

from central import app as central_app
from central.config import (
    CentralConfig,
    IssuerSettings,
    KeyFiles,
    OneTimeToken,
    PersonToken,
    PolicySettings,
)
from central.config import Host as HostKey
from central.config import Tenant as TenantConfig
from central.database import Database, Upgrade, _transaction, prepare
from gateway import issuing, seal
from gateway.call import Peer
from gateway.io.incoming import ServeOptions
from gateway.io.serve import serve_listener
from gateway.ports import Entropy, WallClock
from gateway.shipping import RECORDS_PATH
from gateway.wire import Answer, Incoming
from tests.sim.clock import EPOCH_US
from tests.sim.net import Host
from tests.sim.policies import SCOPE

if TYPE_CHECKING:
    from litestar import Litestar

ResultT = TypeVar("ResultT")

ADDRESS: Final = "central.example:4143"
TENANT: Final = "acme"
REGION: Final = "eu"
OPERATOR: Final = "gpp_simulated-operator"
ONE_TIME: Final = "gpo_simulated-token"
HOST_SEED: Final = b"h" * 32
BUNDLE_KEY: Final = seal.Signer(b"b" * 32)

_SEEDS: Final = {"issuer": b"i" * 32, "log": b"l" * 32, "policy_head": b"p" * 32}
LOG_KEY: Final = seal.Signer(_SEEDS["log"])
REVOCATION_KEY: Final = seal.Signer(b"v" * 32)
_YEAR_US: Final = 365 * 86_400_000_000
_BODY_BYTES_MAX: Final = 32 * 1024 * 1024
_WORK_SECONDS: Final = 0.002


def root_document() -> issuing.Issued:
    """Root 1: a key per role, everything with threshold 1."""
    root_key = seal.Signer(b"r" * 32)
    signers = {"root": root_key, "bundle": BUNDLE_KEY, "revocation": REVOCATION_KEY}
    signers |= {name: seal.Signer(seed) for name, seed in _SEEDS.items()}
    return issuing.build_root(
        version=1,
        epoch=1,
        custody="development",
        issued_us=EPOCH_US - 3_600_000_000,
        expires_us=EPOCH_US + _YEAR_US,
        scopes=[SCOPE],
        keys={one.kid: base64.b64encode(one.public).decode() for one in signers.values()},
        roles={name: issuing.role([signer]) for name, signer in signers.items()},
        signers=[root_key],
    )


def _write_key(path: Path, secret: bytes) -> str:
    path.write_text(base64.b64encode(secret).decode() + "\n")
    os.chmod(path, 0o600)
    return str(path)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def configuration(directory: Path, certificate_seconds: int) -> CentralConfig:
    """A configuration whose key and root files are in ``directory``; the same in every world."""
    roots = directory / "roots"
    roots.mkdir(parents=True, exist_ok=True)
    (roots / "1.json").write_bytes(root_document().envelope)
    files = {name: _write_key(directory / f"{name}.key", seed) for name, seed in _SEEDS.items()}
    public = base64.b64encode(seal.Signer(HOST_SEED).public).decode()
    return CentralConfig(
        data_directory=str(directory / "unused"),
        roots_directory=str(roots),
        root_fingerprint=root_document().digest,
        tenants=[TenantConfig(name=TENANT, regions=[REGION], scope=SCOPE)],
        keys=KeyFiles(digest_wrap=_write_key(directory / "wrap.key", b"w" * 32), **files),
        policy=PolicySettings(widening_needs_approval=False),
        issuer=IssuerSettings(certificate_seconds=certificate_seconds),
        hosts=[HostKey(name="node", tenant=TENANT, region=REGION, pub=public)],
        one_time_tokens=[
            OneTimeToken(name="new", tenant=TENANT, region=REGION, sha256=_sha256(ONE_TIME))
        ],
        people=[
            PersonToken(name="operator", tenant=TENANT, role="admin", sha256=_sha256(OPERATOR))
        ],
    )


class InlineDatabase(Database):
    """SQLite in memory, on the event loop; each piece of work is put off by its own time."""

    def __init__(
        self,
        path: str,
        schema: str,
        version: int,
        upgrades: Mapping[int, Upgrade],
        chance: random.Random,
    ) -> None:
        self.path = path
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA foreign_keys=ON")
        self._chance = chance
        prepare(self.connection, path, schema, version, upgrades)

    async def write(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        await anyio.sleep(self._chance.random() * _WORK_SECONDS)
        return _transaction(self.connection, work)

    async def read(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        await anyio.sleep(self._chance.random() * _WORK_SECONDS)
        return work(self.connection)

    async def compute(self, work: Callable[[], ResultT]) -> ResultT:
        await anyio.sleep(self._chance.random() * _WORK_SECONDS)
        return work()

    def close(self) -> None:
        """The world reads what is kept after the services have ended."""


class Central:
    """The services of one world. ``duplicate_rate``: requests that are delivered twice.

    After a restore, ``gone``: ids of records that nobody has any more; ``acknowledged``: the last
    seq that the store had of an instance before.

    ``shipping`` is told of each body of records as it arrives, before anything is done with it.
    """

    def __init__(
        self, config: CentralConfig, clock: WallClock, entropy: Entropy, chance: random.Random
    ) -> None:
        self.databases: dict[str, InlineDatabase] = {}
        self.duplicate_rate = 0.0
        self.duplicates = 0
        self.gone: set[str] = set()
        self.acknowledged: dict[str, int] = {}
        self.faults: list[Exception] = []
        self.shipping: Callable[[bytes], None] = lambda body: None
        self._chance = chance
        self._app: Litestar = central_app.build(
            config, clock=clock, entropy=entropy, open_database=self._open
        )

    def _open(
        self, path: str, schema: str, version: int, upgrades: Mapping[int, Upgrade]
    ) -> Database:
        name = Path(path).stem
        self.databases[name] = InlineDatabase(path, schema, version, upgrades, self._chance)
        return self.databases[name]

    async def serve(self, host: Host) -> None:
        """Serve until cancelled."""
        options = ServeOptions(
            listener="central",
            hosts=None,
            draining=lambda: False,
            turned_away=lambda code, listener: None,
            failed=self.faults.append,
        )
        async with self._app.lifespan():
            limiter = anyio.CapacityLimiter(100)
            listener = host.listen(ADDRESS)
            await serve_listener(listener, lambda _: _PEER, self._handle, options, limiter)

    async def _handle(self, incoming: Incoming) -> None:
        body = await incoming.read_body(_BODY_BYTES_MAX)
        head = incoming.head
        headers = [(name.encode(), value.encode()) for name, value in head.headers.items()]
        if head.target == RECORDS_PATH:
            self.shipping(body)
        answer = await self.ask(head.method, head.target, headers, body)
        if self._chance.random() < self.duplicate_rate:
            self.duplicates += 1
            answer = await self.ask(head.method, head.target, headers, body)
        await incoming.answer(answer)

    async def ask(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Answer:
        """One request, through the application's own front door."""
        path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": None,
            "server": None,
            "state": {},
        }
        sent: list[dict[str, Any]] = []
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])
        ended = anyio.Event()

        async def receive() -> Any:
            message = next(messages, None)
            if message is None:
                await ended.wait()
            return message or {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                ended.set()

        await self._app(scope, receive, send)  # type: ignore[arg-type]  # ASGI by hand
        given = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        given.pop("content-length", None)
        return Answer(
            status=sent[0]["status"],
            headers=tuple(given.items()),
            body=b"".join(message.get("body", b"") for message in sent[1:]),
        )

    async def operate(self, method: str, path: str, body: bytes = b"") -> bytes:
        """What an operator or auditor asks; must be answered with success."""
        headers = [(b"authorization", f"Bearer {OPERATOR}".encode())]
        answer = await self.ask(method, path, headers, body)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer.body

    # -- what the store holds

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the record store's own tables."""
        return self.databases["records"].connection.execute(sql, values).fetchall()

    def last_seq(self, instance: str) -> int:
        """The newest that the store has of it, or -1."""
        sql = f"SELECT max(seq) FROM record WHERE {_OF_ANY_LOG} AND instance = ?"
        ((last,),) = self.rows(sql, instance)
        return -1 if last is None else int(last)

    def keeps(self, record_id: str) -> bool:
        """Whether the store has it, or had it before a restore and nobody else has it now."""
        return record_id in self.gone or bool(
            self.rows(f"SELECT 1 FROM record WHERE {_OF_ANY_LOG} AND id = ?", record_id)
        )


_OF_ANY_LOG: Final = "log IN (SELECT log FROM log)"
"""Every index of the store begins with the log: without it a question reads the whole table."""
_PEER: Final = Peer(listener="central", kind="tcp", uid=None, agent=None, attested_by=None)


def lock_body(reason: str) -> bytes:
    """The body that stops every call of the scope."""
    return msgspec.json.encode({"reason": reason, "ticket": None})
