"""The newest checkpoint of every log to every witness, again and again, beside everything else.

A round asks all witnesses at the same time, and all for the same checkpoints, so that those who
answer are a quorum of one size. One that is slow is left behind at the end of the round, one that
fails is asked less and less often. No batch of a daemon ever waits for a witness.

Owns: rounds, pauses after failures, keeping what came, and the state of each witness. Refuses: what
is said to one witness (``witness_client.py``), and stopping: a log that a witness contradicts is an
alarm for people, its daemons hold their own checkpoints against it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import anyio
import msgspec

from central.config import WitnessSettings
from central.database import Database
from central.errors import Refused
from central.record_store import cosignatures, witness_client
from central.record_store.cosignatures import Quorum
from central.record_store.logs import Log
from central.record_store.tree import Nodes
from central.record_store.witness_client import Failure, WitnessClient, WitnessFailed
from gateway import checkpoint, merkle, note
from gateway.checkpoint import Checkpoint
from gateway.io.dial import AnyioDialer
from gateway.note import Note
from gateway.ports import WallClock
from gateway.timestamp import time_text

PAUSE_SECONDS_MAX: Final = 600.0

_SECOND_US: Final = 1_000_000
_AHEAD_US_MAX: Final = 24 * 3_600 * _SECOND_US
_DOUBLINGS_MAX: Final = 10
_EVERY_LOG: Final = ""
_ALARMS: Final = frozenset[Failure]({"ahead", "contradicts"})
_log: Final = logging.getLogger("gatepost.central")

State = Literal["good", "behind"] | Failure


class WitnessStatus(msgspec.Struct, frozen=True):
    """One witness of one log. ``key``: its verifier key. ``cosigned``: when it cosigned
    ``cosigned_size`` leaves, by its own clock. ``failing_since``: by ours."""

    name: str
    key: str
    state: State
    cosigned_size: int
    cosigned: str | None
    failing_since: str | None


class Witnessing(msgspec.Struct, frozen=True):
    """How far witnesses are. ``quorum_size``: leaves of the newest checkpoint that met the quorum,
    null before the first and where no witnesses are configured."""

    origin: str
    size: int
    quorum_size: int | None
    witnesses: list[WitnessStatus]


class _Pause(msgspec.Struct):
    """Failures in a row; ``until``: by the clock of the event loop."""

    code: Failure
    since_us: int
    failures: int
    until: float


class _Target(msgspec.Struct, frozen=True):
    """``log.size``: of the checkpoint."""

    log: Log
    checkpoint: Checkpoint
    note: Note


class Asked(msgspec.Struct, frozen=True):
    """Who is asked, and how often: ``push_seconds`` from the start of a round to the next."""

    quorum: Quorum
    clients: list[WitnessClient]
    push_seconds: float


Rest = Callable[[], Awaitable[None]]
"""Seals the store's own chains: what is cosigned shall hold none that is open. Raises Refused."""


class Witnesses:
    """Those of one store."""

    def __init__(self, asked: Asked, database: Database, clock: WallClock, rest: Rest) -> None:
        self._rest = rest
        self.quorum = asked.quorum
        self._clients = asked.clients
        self._push_seconds = asked.push_seconds
        self._database = database
        self._clock = clock
        # By name of the witness and origin; the empty origin is for all that it is asked.
        self._pauses: dict[tuple[str, str], _Pause] = {}

    async def run(self) -> None:
        """Round after round, until it is cancelled."""
        with contextlib.suppress(Refused):
            await self._database.write(lambda c: cosignatures.look_back(c, self.quorum))
        while True:
            started = anyio.current_time()
            try:
                await self.round()
            except Exception:
                # The last boundary: a fault of ours is one failed round, never a stopped store.
                _log.exception("witness_round_failed")
            await anyio.sleep_until(started + self._push_seconds)

    async def round(self) -> None:
        """Ask every witness once for what it has not cosigned yet. What fails is in the log and in
        ``status``."""
        try:
            await self._rest()
            targets = await self._database.read(_targets)
        except Refused as error:
            _log.error("witness_round_failed", extra={"detail": str(error)})
            return
        async with anyio.create_task_group() as tasks:
            for client in self._clients:
                tasks.start_soon(self._push_all, client, targets)

    def status(self, connection: sqlite3.Connection, log: Log) -> Witnessing:
        """How far each witness of ``log`` is."""
        met = cosignatures.met_size(connection, log, self.quorum)
        found = [self._status(connection, log, client) for client in self._clients]
        return Witnessing(log.origin, log.size, met, found)

    def _status(
        self, connection: sqlite3.Connection, log: Log, client: WitnessClient
    ) -> WitnessStatus:
        witness = client.witness
        size, time = cosignatures.last(connection, log, witness.key)
        pause = self._pauses.get((witness.name, log.origin)) or self._pauses.get(
            (witness.name, _EVERY_LOG)
        )
        behind: State = "good" if size >= log.size else "behind"
        return WitnessStatus(
            name=witness.name,
            key=witness.key.verifier_key(),
            state=behind if pause is None else pause.code,
            cosigned_size=size,
            cosigned=None if time is None else time_text(time * _SECOND_US),
            failing_since=None if pause is None else time_text(pause.since_us),
        )

    async def _push_all(self, client: WitnessClient, targets: Sequence[_Target]) -> None:
        """All that ``client`` lacks, what it lacks longest first, within one round."""
        with anyio.move_on_after(self._push_seconds):
            try:
                for target, old_size in await self._lacking(client, targets):
                    if self._paused(client, _EVERY_LOG):
                        return
                    if not self._paused(client, target.log.origin):
                        await self._push(client, target, old_size)
            except Refused as error:
                _log.error("witness_round_failed", extra={"detail": str(error)})
            except Exception:
                # A fault with one witness is no fault of the others, whose tasks it would cancel.
                _log.exception("witness_round_failed", extra={"witness": client.witness.name})

    async def _lacking(
        self, client: WitnessClient, targets: Sequence[_Target]
    ) -> list[tuple[_Target, int]]:
        def work(connection: sqlite3.Connection) -> list[tuple[int, _Target, int]]:
            found = []
            for target in targets:
                size, time = cosignatures.last(connection, target.log, client.witness.key)
                if size < target.log.size:
                    found.append((time or 0, target, size))
            return found

        rows = await self._database.read(work)
        return [(target, size) for _, target, size in sorted(rows, key=lambda row: row[0])]

    async def _push(self, client: WitnessClient, target: _Target, old_size: int) -> None:
        async def prove(size: int) -> list[bytes]:
            return await self._database.read(
                lambda c: merkle.consistency_proof(size, target.log.size, Nodes(c, target.log.log))
            )

        try:
            found = await client.cosign(target.note, target.checkpoint, old_size, prove)
        except WitnessFailed as failed:
            self._failed(client, target.log.origin, failed)
            return
        now_us = self._clock.wall_us()
        if found.time * _SECOND_US > now_us + _AHEAD_US_MAX:
            # Signed, and no time: it would fit neither into the table nor into a status.
            astray = WitnessFailed("bad_answer", "its clock is more than a day ahead of ours")
            self._failed(client, target.log.origin, astray)
            return
        await self._database.write(
            lambda c: cosignatures.keep(c, target.log, found, self.quorum, now_us)
        )
        for origin in (_EVERY_LOG, target.log.origin):
            self._pauses.pop((client.witness.name, origin), None)

    def _paused(self, client: WitnessClient, origin: str) -> bool:
        pause = self._pauses.get((client.witness.name, origin))
        return pause is not None and anyio.current_time() < pause.until

    def _failed(self, client: WitnessClient, origin: str, failed: WitnessFailed) -> None:
        of = _EVERY_LOG if failed.code == "unreachable" else origin
        before = self._pauses.get((client.witness.name, of))
        failures = 1 if before is None else before.failures + 1
        since_us = self._clock.wall_us() if before is None else before.since_us
        seconds = self._push_seconds * 2 ** min(failures, _DOUBLINGS_MAX)
        until = anyio.current_time() + min(seconds, PAUSE_SECONDS_MAX)
        self._pauses[client.witness.name, of] = _Pause(failed.code, since_us, failures, until)
        if before is not None and before.code == failed.code:
            return
        level = logging.ERROR if failed.code in _ALARMS else logging.WARNING
        _log.log(
            level,
            f"witness_{failed.code}",
            extra={"witness": client.witness.name, "origin": origin, "detail": failed.detail},
        )


def _targets(connection: sqlite3.Connection) -> list[_Target]:
    """The newest checkpoint of every log that has one."""
    rows = connection.execute(
        "SELECT l.log, l.tenant, l.region, l.origin, c.size, c.note FROM log AS l"
        " JOIN checkpoint AS c ON c.log = l.log AND c.origin = l.origin AND c.size ="
        " (SELECT max(size) FROM checkpoint WHERE log = l.log AND origin = l.origin)"
    ).fetchall()
    found = []
    for *log, text in rows:
        signed = note.parse(text)
        found.append(_Target(Log(*log), checkpoint.read(signed.text), signed))
    return found


def configured(settings: WitnessSettings) -> Asked | None:
    """The witnesses of a configuration; None where it names no policy. Raises ConfigInvalid."""
    if settings.policy is None:
        return None
    quorum = cosignatures.read_quorum(settings.policy)
    # Witnesses are named by the operator, and may be next door.
    dialer = AnyioDialer(ca_file=settings.ca_file, any_address=True)
    clients = [
        witness_client.client(one, dialer, settings.answer_seconds)
        for one in quorum.policy.witnesses
    ]
    return Asked(quorum, clients, settings.push_seconds)


def witnessing(
    connection: sqlite3.Connection, log: Log | None, known: Witnesses | None
) -> Witnessing:
    """How far the witnesses of ``log`` are. Raises Refused (``not_found``)."""
    if log is None:
        raise Refused("not_found")
    if known is None:
        return Witnessing(log.origin, log.size, None, [])
    return known.status(connection, log)
