"""``gatepost run`` with recording off: to see what recording costs, and for nothing else.

Owns: a record log that keeps nothing. Refuses: being shipped; the wheel does not hold ``bench``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

from gatepost.foreground import SWITCH_SECONDS
from gateway.ports import Receipt, Reservation
from gateway.record import Record
from gateway.world import World
from sidecar.app import Announcement, Daemon
from sidecar.config import SidecarConfig, parse
from sidecar.eventlog import EventLog
from sidecar.outside import real_outside
from sidecar.parts import Parts


class _Nothing:
    receipts: Sequence[Receipt] = ()

    def release(self) -> None:
        return None

    async def wait(self) -> Sequence[Receipt]:
        return self.receipts


class ForgetfulLog:
    """Takes every draft and drops it: no seal, no signature, no disk."""

    def reserve(self, records: int) -> Reservation:
        return _Nothing()

    def submit(
        self, reservation: Reservation, *drafts: Record, unhurried: bool = False
    ) -> _Nothing:
        return _Nothing()


class UnrecordedDaemon(Daemon):
    def world(self, parts: Parts) -> World:
        return msgspec.structs.replace(super().world(parts), log=ForgetfulLog())


def _announce(announcement: Announcement) -> None:
    print(msgspec.json.encode(announcement).decode(), flush=True)


async def _serve(config: SidecarConfig) -> int:
    outside = real_outside(config)
    stop = anyio.Event()
    return await UnrecordedDaemon(config, outside, EventLog(outside.clock), _announce).run(stop)


if __name__ == "__main__":
    settings = parse(Path(sys.argv[1]).read_text(), sys.argv[1])
    sys.setswitchinterval(SWITCH_SECONDS)
    sys.exit(anyio.run(_serve, settings, backend_options={"use_uvloop": True}))
