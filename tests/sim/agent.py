"""A simulated agent: calls through the daemon's doors, reads answers, and sometimes hangs up.

Each call is asked once and never repeated, so whatever reaches a provider twice was repeated by
somebody else. Requests are those of ``asking.py``; answers are judged by ``readings.py``.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

import anyio

from tests.sim.answer import Answer, Garbled, request_bytes
from tests.sim.asking import request_of
from tests.sim.clock import SimClock
from tests.sim.ledger import Call, Ledger
from tests.sim.net import Host, Refused
from tests.sim.readings import body_digest, fault_of, refusal_code
from tests.sim.stream import SimStream
from tests.sim.tokens import TokenIssuer
from tests.sim.twists import Door

UID: Final = 1_000
STRANGER: Final = 2_000
_PATIENCE_SECONDS: Final = 200.0
_LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)


class Way(NamedTuple):
    """How an agent comes in: the address, and the uid that the kernel tells, if it can."""

    address: str
    uid: int | None
    door: Door


class Agent:
    """One client process with one connection at a time. ``hang_up``: the chance per call;
    ``ways``: one is drawn for each connection; ``clock``: the true one."""

    def __init__(
        self,
        host: Host,
        ways: tuple[Way, ...],
        ledger: Ledger,
        issuer: TokenIssuer,
        clock: SimClock,
        chance: random.Random,
        hang_up: float,
    ) -> None:
        self._host = host
        self._ways = ways
        self._way = ways[0]
        self._ledger = ledger
        self._issuer = issuer
        self._clock = clock
        self._chance = chance
        self._hang_up = hang_up
        self._stream: SimStream | None = None
        self._answer = Answer()

    async def call(self, call: Call) -> bool:
        """Make ``call`` and note what came of it; False if nobody could be asked."""
        if not await self._connect():
            return False
        patience = _PATIENCE_SECONDS
        if self._chance.random() < self._hang_up:
            patience = self._chance.choice((0.01, 0.5, 3.0)) * self._chance.random()
        call.door = self._way.door
        call.asked_at, call.asked_us = anyio.current_time(), self._clock.wall_us()
        answered = False
        with anyio.move_on_after(patience):
            answered = await self._exchange(call)
        call.hung_up = not answered and patience < _PATIENCE_SECONDS
        if not answered or not self._answer.keeps_open or self._chance.random() < 0.1:
            self.drop()
        return True

    async def _connect(self) -> bool:
        if self._stream is None:
            self._way = self._chance.choice(self._ways)
            try:
                self._stream = await self._host.connect(self._way.address, self._way.uid)
            except Refused:
                return False
        return True

    def drop(self) -> None:
        """Close the connection; the next call makes another."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    async def _exchange(self, call: Call) -> bool:
        now_seconds = call.asked_us // 1_000_000
        wire = request_of(call, self._issuer, now_seconds, self._chance)
        try:
            call.asked = wire.body
            await self._send(request_bytes(wire))
            return await self._receive(call, body_digest(wire.body))
        except _LOST:
            return False
        except Garbled as garbled:
            self._ledger.violate("answers", f"{call.name}: {garbled}")
            return False

    async def _send(self, wire: bytes) -> None:
        assert self._stream is not None
        if self._chance.random() < 0.1:
            cut = self._chance.randrange(1, len(wire))
            await self._stream.send(wire[:cut])
            await anyio.sleep(self._chance.random())
            wire = wire[cut:]
        try:
            await self._stream.send(wire)
        except _LOST:
            # It may have been answered before all of it was read.
            return

    async def _receive(self, call: Call, digest: str) -> bool:
        assert self._stream is not None
        answer = self._answer = Answer()
        while not answer.is_whole:
            try:
                answer.feed(await self._stream.receive())
            except anyio.EndOfStream:
                return False
            if answer.status is not None and call.status is None:
                self._note_head(call, answer)
        call.complete = True
        self._judge(call, bytes(answer.body), digest)
        return True

    def _note_head(self, call: Call, answer: Answer) -> None:
        call.status = answer.status
        decision_id = answer.headers.get(b"x-gatepost-decision-id")
        call.decision_id = None if decision_id is None else decision_id.decode()
        for name in (b"set-cookie", b"x-internal-host", b"location"):
            if name in answer.headers:
                text = f"{call.name}: {name.decode()} of a provider came back"
                self._ledger.violate("credentials", text)

    def _judge(self, call: Call, body: bytes, digest: str) -> None:
        """A whole answer is a refusal of the gateway, the provider's error, or the right text."""
        code = refusal_code(body)
        if code is not None:
            call.code = code or None
        elif call.status in (200, 202):
            fault = fault_of(call, body, digest)
            if fault is not None:
                self._ledger.violate("answers", f"{call.name} ({call.kind}): {fault}")
