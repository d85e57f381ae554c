"""Requests that a tool server sends to the agent (stage ``server``).

They stand inside an event stream, or in place of a plain JSON answer: clients take both.

Owns: holding each event (of a plain answer: all of it) back until the requests in it are decided
and their records durable. Refuses: letting a denied request through; the answer then ends as an
error, because the agent must not see it and the server must not take silence for consent.
"""

from __future__ import annotations

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


class ServerBlocked(Exception):
    """A tool server's request was denied: the answer that carried it must not go on."""


class ServerGate:
    """Releases what a tool server answers, piece by piece, once it is decided.

    ``events``: it is an event stream; otherwise it is held until it is whole.
    """

    def __init__(self, context: Context, known: Understood, *, events: bool) -> None:
        self._context = context
        self._known = known
        self._events = EventGate(context.route) if events else None
        self._held = bytearray()

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
        """Whether less may be released than came: an event that never ended was never sent."""
        return self._events is not None

    async def release(self, chunk: bytes) -> list[bytes]:
        """What may pass after ``chunk``. Raises ServerBlocked, UpstreamFailed and TurnAway."""
        if self._events is None:
            self._hold(chunk)
            return []
        released: list[bytes] = []
        for event in self._events.feed(chunk):
            if event.server_call is not None:
                await self._decide((event.server_call,))
            released.append(event.raw)
        return released

    async def finish(self) -> list[bytes]:
        """What may pass at the end of the answer. Raises as ``release``."""
        held = bytes(self._held)
        if held.strip():
            calls = server_calls(self._context.route, held)
            if calls:
                await self._decide(calls)
        return [held] if held else []

    def _hold(self, chunk: bytes) -> None:
        self._held += chunk
        if len(self._held) > BODY_BYTES_MAX:
            raise UpstreamFailed("upstream_invalid", "a tool server's answer is too large to read")
        self._context.admission.hold(len(self._known.body or b"") + len(self._held))

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
            rulings = rule(self._context, known, stage="server")
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
