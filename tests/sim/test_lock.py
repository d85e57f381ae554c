"""A lock in the simulated world: a whole daemon with streams open when it arrives."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import pytest

from gateway.wire import Incoming
from tests.sim.agent import UID, Agent, Way
from tests.sim.clock import SimClock
from tests.sim.ledger import Call
from tests.sim.loop import elapse, simulate
from tests.sim.net import Host
from tests.sim.pack import shared_packs
from tests.sim.policies import VARYING, call_name
from tests.sim.provider import Provider
from tests.sim.replies import Reply
from tests.sim.weather import AGENT_SOCKET
from tests.sim.world import Plan, World

STREAMS = ("stream", "responses", "messages")


class Stalling(Provider):
    """A provider whose streams begin and never end."""

    async def _stream(
        self, incoming: Incoming, headers: tuple[tuple[str, str], ...], reply: Reply, *, cut: bool
    ) -> None:
        await incoming.send_head(reply.status, headers, None)
        await incoming.send(reply.parts[0])
        await anyio.sleep_forever()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_lock_cuts_every_open_stream_at_once_and_beats_every_grant(
    seed: int, tmp_path: Path
) -> None:
    async def main() -> None:
        world = World(seed, Plan(trouble=0.0, hang_up=0.0), tmp_path)
        world.provider = Stalling(world.ledger, random.Random(seed), 0.0)
        ended: dict[str, float] = {}

        async def ask(number: int, kind: str) -> Call:
            allowed = sorted(world.publisher.versions[-1].allowed & set(VARYING))
            name = call_name(allowed[-1], number)
            call = Call(name=name, kind=kind, life=1)  # type: ignore[arg-type]  # one of STREAMS
            world.ledger.calls[name] = call
            agent = Agent(
                Host(world.network),
                (Way(AGENT_SOCKET, UID, "unix"),),
                world.ledger,
                world.issuer,
                SimClock(),
                random.Random(number),
                0.0,
            )
            assert await agent.call(call)
            ended[name] = anyio.current_time()
            return call

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.central.serve, Host(world.network))
            tasks.start_soon(world.provider.serve, Host(world.network))
            await elapse(0.01)
            await world.publisher.publish()
            tasks.start_soon(world.node.live)
            await world.node.started.wait()
            await elapse(5)
            async with anyio.create_task_group() as streams:
                for number, kind in enumerate(STREAMS, 1):
                    streams.start_soon(ask, number, kind)
                await elapse(20)
                assert not ended
                locked_at = anyio.current_time()
                await world.publisher.lock()
            assert len(ended) == len(STREAMS)
            assert all(at - locked_at < 1.0 for at in ended.values()), ended
            assert not any(call.complete for call in world.ledger.calls.values())
            refused = await ask(9, "stream")
            assert (refused.status, refused.code) == (503, "policy_locked")
            await elapse(30)
            said = world.central.rows("SELECT outcome FROM record WHERE kind = 'completion'")
            assert said == [("response_blocked",)] * len(STREAMS)
            assert world.ledger.violations == []
            tasks.cancel_scope.cancel()

    with shared_packs():
        simulate(seed, main)
