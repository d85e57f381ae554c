"""Requests that a tool server sends to the agent inside an event stream (stage ``server``).

Owns: holding each event back until the request in it is decided and its record is durable.
Refuses: letting a denied request through; the stream then ends as an error, because the agent
must not see it and the server must not take silence for consent.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.call import CallView
from gateway.protocols.server_requests import EventGate
from gateway.recording import Finding
from gateway.ruling import rule
from gateway.understanding import Understood
from gateway.wire import UpstreamHead
from gateway.world import Context

_RECORDS: Final = 2


class ServerBlocked(Exception):
    """A tool server's request was denied: the stream that carried it must not go on."""


class ServerGate:
    """Releases the events of one MCP stream one by one."""

    def __init__(self, context: Context, known: Understood) -> None:
        self._context = context
        self._known = known
        self._events = EventGate(context.route)

    @classmethod
    def for_answer(
        cls, context: Context, known: Understood, head: UpstreamHead
    ) -> ServerGate | None:
        """A gate where a server could ask something: on MCP event streams."""
        kind = (head.get("content-type") or "").partition(";")[0].strip().lower()
        if context.route.protocol != "mcp" or kind != "text/event-stream":
            return None
        return cls(context, known)

    async def release(self, chunk: bytes) -> list[bytes]:
        """The events that ``chunk`` completes and that may pass. Raises ServerBlocked."""
        released: list[bytes] = []
        for event in self._events.feed(chunk):
            if event.server_call is not None:
                await self._decide(event.server_call)
            released.append(event.raw)
        return released

    async def _decide(self, call: CallView) -> None:
        world = self._context.world
        label = await world.classify(call)
        reading = self._known.reading
        assert reading is not None
        known = Understood(
            principal=self._known.principal,
            reading=msgspec.structs.replace(reading, calls=(call,)),
            labels=(label,),
            parent=self._known.parent,
        )
        reservation = world.log.reserve(_RECORDS)
        try:
            rulings = rule(self._context, known, stage="server")
            commit = world.log.submit(reservation, *rulings.drafts)
            for draft in rulings.drafts:
                world.decided(draft)
            await commit.wait()
            if rulings.denied is not None:
                raise ServerBlocked(rulings.denied.draft.id)
            passed = Finding(policy_us=rulings.policy_us)
            end = world.scribe.completion(rulings.each[0].draft.id, world.clock.wall_us(), passed)
            world.log.submit(reservation, end)
            world.tally.completed(passed.outcome)
        finally:
            reservation.release()
