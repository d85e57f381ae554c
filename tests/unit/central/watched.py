"""A store whose log witnesses watch: the witnesses are ours, and they are asked in this process."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import anyio
import httpx
import msgspec
from litestar import Litestar
from litestar.di import Provide

from central.config import WitnessSettings
from central.database import Database
from central.record_store import cosignatures, schema, upgrades
from central.record_store.logs import Log, find_log
from central.record_store.service import RecordStore
from central.record_store.witness_client import WitnessClient
from central.record_store.witnesses import Asked, Witnesses, Witnessing
from central.witness import app as witness_app
from central.witness.config import WatchedLog, WitnessConfig
from gateway import checkpoint, note, seal
from gateway.checkpoint import Checkpoint
from gateway.documents import RequestOf
from gateway.note import NoteKey
from gateway.ports import ServiceAnswer, ServiceUnreachable
from tests.unit.central.deployment import (
    REGION,
    SEEDS,
    TENANT,
    Daemon,
    Deployment,
    HandClock,
    write_key,
)

ORIGIN = f"localhost/log/{TENANT}/{REGION}/1"
BASE = f"/log/{TENANT}/{REGION}/1"
LOG_KEY = NoteKey(ORIGIN, seal.Signer(SEEDS["log"]).public)


class House:
    """One witness, run by somebody else. It is a ``ports.Service`` for the store."""

    def __init__(self, name: str, directory: Path, clock: HandClock) -> None:
        directory.mkdir()
        self.name = name
        seed = name.encode().ljust(32, b"-")
        config = WitnessConfig(
            name=f"witness.example/{name}",
            key=write_key(directory / "witness.key", seed),
            data_directory=str(directory),
            logs=[WatchedLog(keys=[LOG_KEY.verifier_key()])],
        )
        self.app: Litestar
        self.app, self.witness = witness_app.build(config, clock=clock)
        self.key = self.witness.key
        self.calls = 0
        self.instead: Callable[[bytes], Awaitable[ServiceAnswer]] | None = None

    def close(self) -> None:
        self.witness.database.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        of: RequestOf | None = None,
        answer_bytes_max: int | None = None,
        timeout_seconds: float | None = None,
    ) -> ServiceAnswer:
        self.calls += 1
        if self.instead is not None:
            return await self.instead(body)
        return await self.really(method, path, headers or {}, body)

    async def really(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> ServiceAnswer:
        # Two ways of writing the same type of ASGI.
        transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://w") as http:
            got = await http.request(method, path, headers=headers, content=body)
        return ServiceAnswer(got.status_code, dict(got.headers), got.content)

    # -- far ends that are not what they should be ----------------------------------------------

    def dies(self) -> None:
        async def refuse(_: bytes) -> ServiceAnswer:
            raise ServiceUnreachable("connect", "refused")

        self.instead = refuse

    def hangs(self) -> None:
        self.instead = _for_ever

    def says(self, *answers: tuple[int, bytes]) -> None:
        left = list(answers)

        async def say(_: bytes) -> ServiceAnswer:
            status, body = left.pop(0) if len(left) > 1 else left[0]
            return ServiceAnswer(status, {}, body)

        self.instead = say

    def breaks(self) -> None:
        """Something that nobody thought of, in our own code or a library."""

        async def fail(_: bytes) -> ServiceAnswer:
            raise ZeroDivisionError

        self.instead = fail

    def lives(self) -> None:
        self.instead = None


async def _for_ever(_: bytes) -> ServiceAnswer:
    await anyio.sleep_forever()
    raise AssertionError("never")


async def _nothing() -> None:
    """The chains are sealed already."""


class Watched:
    """A deployment whose newest checkpoint needs ``threshold`` of the houses ``names``."""

    def __init__(
        self, directory: Path, *, threshold: int = 2, houses: dict[str, House] | None = None
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.clock = HandClock()
        self._own_houses = houses is None
        self.houses = houses or {
            name: House(name, directory / name, self.clock) for name in ("a", "b", "c")
        }
        self.policy = directory / "witnesses.policy"
        self.require(threshold)
        # The rounds of these tests are their own: the store's first one finds no log, and the
        # second one is an hour away.
        settings = WitnessSettings(policy=str(self.policy), push_seconds=3_600)
        self.deployment = Deployment(directory / "store", ["issuer", "records"], witnesses=settings)

    def __enter__(self) -> Self:
        self.deployment.http.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self.deployment.http.__exit__(None, None, None)
        if self._own_houses:
            for house in self.houses.values():
                house.close()

    def require(self, threshold: int) -> None:
        lines = [
            f"witness {one.name} {one.key.verifier_key()} http://127.0.0.1:9/{one.name}\n"
            for one in self.houses.values()
        ]
        members = " ".join(self.houses)
        self.policy.write_text(
            f"{''.join(lines)}group enough {threshold} {members}\nquorum enough\n"
        )

    def daemon(self) -> Daemon:
        return Daemon(self.deployment).ready()

    def witnesses(self, database: Database, push_seconds: float = 10) -> Witnesses:
        quorum = cosignatures.read_quorum(str(self.policy))
        clients = [
            WitnessClient(one, self.houses[one.name], "", 5) for one in quorum.policy.witnesses
        ]
        # These rounds run in a loop of their own; what the store's do first is ``rest``.
        return Witnesses(Asked(quorum, clients, push_seconds), database, self.clock, _nothing)

    def database(self) -> Database:
        path = f"{self.deployment.config.data_directory}/records.db"
        return Database(path, schema.SCHEMA, schema.VERSION, upgrades.UPGRADES)

    def run(
        self, work: Callable[[Witnesses], Awaitable[None]], push_seconds: float = 10
    ) -> Witnessing:
        """``work`` with witnesses that begin anew; returns what they say of the log afterwards."""

        async def main() -> Witnessing:
            database = self.database()
            try:
                made = self.witnesses(database, push_seconds)
                await work(made)
                return await database.read(lambda c: made.status(c, only_log(c)))
            finally:
                database.close()

        return anyio.run(main)

    def rest(self) -> None:
        """Seal the store's own chains, as the store does before a round."""
        provided = self.deployment.app.dependencies["record_store"]
        assert isinstance(provided, Provide)
        store: RecordStore = provided.dependency()
        self.deployment.http.blocking_portal.call(store.register.rest)

    def round(self) -> Witnessing:
        return self.run(lambda made: made.round())

    def checkpoint(self, **params: int) -> tuple[Checkpoint, set[str]]:
        """What the store gives out, and which houses cosigned it."""
        http = self.deployment.http
        headers = self.deployment.as_person("audrey")
        answer = http.get(f"{BASE}/checkpoint", params=params, headers=headers)
        assert answer.status_code == 200, answer.text
        return opened(answer.text, self)

    def told(self) -> Witnessing:
        """The status as the store answers it."""
        return msgspec.convert(self.deployment.get(f"{BASE}/witnesses"), Witnessing)


def opened(text: str, watched: Watched) -> tuple[Checkpoint, set[str]]:
    parsed = note.parse(text)
    assert note.signers(parsed, [LOG_KEY]) == [LOG_KEY]
    keys = [house.key for house in watched.houses.values()]
    names = {one.name.rpartition("/")[2] for one in note.cosigned(parsed, keys)}
    return checkpoint.read(parsed.text), names


def only_log(connection: sqlite3.Connection) -> Log:
    log = find_log(connection, TENANT, REGION)
    assert log is not None
    return log
