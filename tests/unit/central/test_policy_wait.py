"""Waiting for a change of policy: what changes while the request arrives is not waited out."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio

from central.database import Database
from central.keys import RootFiles
from central.people import People, Person
from central.policy_service.service import PolicyService
from gateway.documents import Lock
from tests.unit.central.deployment import SCOPE, TENANT, HandClock, bundle, configuration

ResultT = TypeVar("ResultT")
OLAF = Person(name="olaf", tenant=TENANT, role="operator")


class Overtaken(Database):
    """Something happens between a reading and whoever asked for it."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def read(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        found = await super().read(work)
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            await happens()
        return found


def test_a_lock_that_comes_between_the_look_and_the_wait_is_answered_at_once(
    tmp_path: Path,
) -> None:
    config = configuration(tmp_path, ["policy"])
    service = PolicyService(
        config,
        RootFiles(config.roots_directory, config.root_fingerprint),
        People(config),
        HandClock(),
        Overtaken,
    )
    database = service.database
    assert isinstance(database, Overtaken)

    async def wait() -> tuple[str, str]:
        await service.publish(OLAF, SCOPE, bundle(1).envelope)
        seen = await service.head(SCOPE)
        database.meanwhile = lambda: service.set_lock(OLAF, SCOPE, Lock("incident", None))
        with anyio.fail_after(10):
            found = await service.head_after(SCOPE, seen.etag, 30)
        return found.etag, (await service.head(SCOPE)).etag

    answered, locked = anyio.run(wait)
    database.close()
    assert answered == locked
