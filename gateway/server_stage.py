"""Requests that a tool server sends to the agent (stage ``server``).

They stand inside an event stream, or in place of a plain JSON answer: clients take both.

Owns: holding each event (of a plain answer: all of it) back until the requests in it are decided
and their records durable. Refuses: letting a denied request through; the answer then ends as an
error, because the agent must not see it and the server must not take silence for consent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from gateway.call import CallView
from gateway.errors import UpstreamFailed
from gateway.limits import BODY_BYTES_MAX
from gateway.protocols.server_requests import EventGate, server_calls
from gateway.recording import Finding
from gateway.ruling import rule
from gateway.understanding import Understood
from gateway.wire import UpstreamHead
from gateway.world import Context

_RECORDS: Final = 2

Send = Callable[[bytes], Awaitable[None]]
"""Passes bytes on to the application."""


class ServerBlocked(Exception):
    """A tool server's request was denied: the answer that carried it must not go on."""


class ServerGate:
    """Lets what a tool server answers pass, piece by piece, once it is decided.

    ``events``: it is an event stream; otherwise it is held until it is whole.
    """

    def __init__(self, context: Context, known: Understood, *, events: bool) -> None:
        self._context = context
        self._known = known
        self._events = EventGate(context.route) if events else None
        self._whole = bytearray()
        self._held_bytes = 0

    @classmethod
    def for_answer(
        cls, context: Context, known: Understood, head: UpstreamHead
    ) -> ServerGate | None:
        """A gate where a server could ask something of the agent.

        Clients look for a word in the content type, some anywhere in it, so that is what counts
        here; an answer with neither word is an error to all of them.
        """
        if context.route.protocol != "mcp":
            return None
        kind = (head.get("content-type") or "").lower()
        if "text/event-stream" in kind:
            return cls(context, known, events=True)
        return cls(context, known, events=False) if "json" in kind else None

    @property
    def may_drop(self) -> bool:
        """Whether less may pass than came: an event that never ended was never sent."""
        return self._events is not None

    async def feed(self, chunk: bytes, send: Send) -> None:
        """Take in ``chunk`` and send on what may pass, each piece as soon as it is decided.

        Raises ServerBlocked, UpstreamFailed, TurnAway, and what ``send`` raises.
        """
        self._count(len(chunk))
        if self._events is None:
            self._whole += chunk
            if self._held_bytes > BODY_BYTES_MAX:
                raise UpstreamFailed("upstream_invalid", "the answer is too large to be decided")
            return
        for event in self._events.feed(chunk):
            if event.server_call is not None:
                await self._decide((event.server_call,))
            await send(event.raw)
            self._count(-len(event.raw))

    def _count(self, more: int) -> None:
        self._held_bytes += more
        self._context.admission.hold(len(self._known.body or b"") + self._held_bytes)

    async def finish(self, send: Send) -> None:
        """Send on what may pass at the end of the answer. Raises as ``feed``."""
        whole = bytes(self._whole)
        if whole.strip():
            calls = server_calls(self._context.route, whole)
            if calls:
                await self._decide(calls)
        if whole:
            await send(whole)

    async def _decide(self, calls: tuple[CallView, ...]) -> None:
        """Rule on ``calls`` as one group, at this moment and under the policy of this moment."""
        world = self._context.world
        reading = self._known.reading
        assert reading is not None
        known = Understood(
            principal=self._known.principal,
            reading=msgspec.structs.replace(reading, calls=calls),
            labels=tuple([await world.classify(call) for call in calls]),
            parent=self._known.parent,
        )
        reservation = world.log.reserve(_RECORDS * len(calls))
        try:
            rulings = await rule(self._context, known, stage="server")
            commit = world.log.submit(reservation, *rulings.drafts)
            for draft in rulings.drafts:
                world.decided(draft)
            await commit.wait()
            if rulings.denied is not None:
                raise ServerBlocked(rulings.denied.draft.id)
            passed = Finding(policy_us=rulings.policy_us)
            wall_us = world.clock.wall_us()
            ends = [world.scribe.completion(draft.id, wall_us, passed) for draft in rulings.drafts]
            world.log.submit(reservation, *ends, unhurried=True)
            for _ in ends:
                world.tally.completed(passed.outcome)
        finally:
            reservation.release()
