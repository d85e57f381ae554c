"""A mirror of one scope in a simulated world, with the source, disk and clock of a cache there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec

from central.policy_mirror.pins import head_in
from central.policy_mirror.scope_mirror import ScopeMirror
from gateway import documents
from gateway.documents import Candidate
from gateway.issuing import Issued
from policy_cache.config import CacheConfig
from tests.unit.policy_cache.cache_world import World
from tests.unit.policy_cache.policy_world import HEAD, OWN_VERSION, SCOPE, Dice


def mirror(world: World) -> ScopeMirror:
    """One on the world's disk, as after a start."""
    return ScopeMirror(
        world.source,
        world.disk,
        world.clock,
        Dice(),
        CacheConfig(
            scope=SCOPE,
            root_fingerprint=world.publisher.fingerprint,
            directory="/mirror",
            own_version=OWN_VERSION,
            threads=False,
        ),
    )


@asynccontextmanager
async def running(world: World) -> AsyncIterator[ScopeMirror]:
    """A mirror that follows the world's source."""
    made = mirror(world)
    await made.load()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.run)
        yield made
        tasks.cancel_scope.cancel()
    await made.aclose()


async def passes(seconds: float) -> None:
    """Let so much virtual time pass."""
    with anyio.move_on_after(seconds):
        await anyio.Event().wait()


def naming_next(world: World, following: Issued) -> bytes:
    """The newest head signed again, one version on, with ``following`` as the bundle to come."""
    world.head_version += 1
    new = Candidate(version=9, digest=following.digest, length=len(following.payload), percent=10)
    head = msgspec.structs.replace(
        head_in(world.source.current), version=world.head_version, next=new
    )
    return documents.encode(HEAD.sign_document(documents.POLICY_HEAD, head))
