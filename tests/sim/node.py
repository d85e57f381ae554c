"""One machine of a simulated world: its disk, and one life of the real daemon after the other.

The daemon is ``sidecar.app`` itself, with its four ports replaced. A life ends by a power failure,
a kill, SIGTERM or a failed disk; the next one starts on what is left of the same disk. A dead
life's coroutines unwind as ghosts: their disk is dead and their connections are gone.
"""

from __future__ import annotations

import base64
import io
import random
from typing import Final

import anyio
import msgspec

from gateway.errors import ConfigInvalid, TurnAway
from gateway.snapshot import Snapshot
from sidecar.app import Announcement, Daemon
from sidecar.config import SidecarConfig
from sidecar.eventlog import EventLog
from sidecar.lifecycle import EXIT_CONFIGURATION, EXIT_DISK_FAILED, EXIT_DRAINED, EXIT_UNSENT
from sidecar.outside import Outside
from sidecar.status import DaemonStatus
from tests.sim.auditor import audit
from tests.sim.central import HOST_SEED, ONE_TIME, Central
from tests.sim.clock import SimClock
from tests.sim.configuration import HOST_KEY, SPOOL, SPOOL_BYTES_MAX, TOKEN
from tests.sim.disk import Faults, Moment, PowerCut, SimDisk
from tests.sim.durable import DurableIndex
from tests.sim.entropy import SeededEntropy
from tests.sim.ledger import Ledger
from tests.sim.net import DaemonNetwork, Host, Sending, SimNetwork
from tests.sim.provider import MODELS, TOOLS
from tests.sim.rot import spoil
from tests.sim.watch import Watch
from tests.sim.weather import AGENT_PORT, AGENT_SOCKET

_STALLED_SECONDS: Final = 0.2
_AUDITED_SHARE: Final = 0.1
"""How often somebody looks at the volume between two lives."""
_FAULTS_OF_OURS: Final = frozenset({"exchange_failed", "forward_failed", "connection_failed"})


class _Line(msgspec.Struct):
    event: str
    level: str
    error: str | None = None
    where: str | None = None


class _Log(io.StringIO):
    """Log lines of one life; a fault of our own in them is a violation."""

    def __init__(self, life: int, ledger: Ledger, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines
        self.silent = False
        self._life = life
        self._ledger = ledger

    def write(self, text: str) -> int:
        if self.silent:
            return len(text)
        self.lines.append(f"life {self._life}: {text.rstrip()}")
        line = msgspec.json.decode(text, type=_Line)
        self._ledger.counts[f"log {line.event}"] += 1
        if line.event in _FAULTS_OF_OURS:
            self._ledger.violate("faults", f"life {self._life}: {text.strip()}")
        return len(text)


class Node:
    """Implements ``weather.Daemons``; ``live`` runs one life."""

    def __init__(
        self,
        config: SidecarConfig,
        clock: SimClock,
        network: SimNetwork,
        central: Central,
        ledger: Ledger,
        chance: random.Random,
    ) -> None:
        self.disk = SimDisk(chance.randrange(2**32))
        self.life = 0
        self.daemon: Daemon | None = None
        self.watch: Watch | None = None
        self.log: _Log | None = None
        self.last_code: int | None = None
        self.last_lines: list[str] = []
        self.started = anyio.Event()
        self.up_since = 0.0
        self._config = config
        self._clock = clock
        self._network = network
        self._central = central
        self._ledger = ledger
        self._chance = chance
        self._stop = anyio.Event()
        self._spare_bytes: int | None = None
        self._crash_scope: anyio.CancelScope | None = None
        self._host: Host | None = None
        if config.enrolment.one_time_token_file is None:
            self.disk.put(HOST_KEY, base64.b64encode(HOST_SEED) + b"\n")
        else:
            self.disk.put(TOKEN, ONE_TIME.encode())
        self._new_disk(self.disk)

    # -- lives

    async def live(self) -> int | None:
        """One life; its exit code, or None for a crash."""
        self.life += 1
        disk, ledger = self.disk, self._ledger
        watch = Watch(self.life, disk, SPOOL, SPOOL_BYTES_MAX, ledger, self._central)
        self.watch = watch
        self._central.shipping = watch.shipping
        host = self._host = Host(self._network, self._watched(watch))
        disk.on_cut, disk.on_work = self._power_is_gone, watch.worked
        self._stop = anyio.Event()
        log = self.log = _Log(self.life, ledger, self.last_lines)
        outside = Outside(
            clock=self._clock,
            entropy=SeededEntropy(self._chance.randrange(2**64)),
            disk=disk,
            network=DaemonNetwork(host),
            host_name="sim",
            threads=False,
        )
        daemon = Daemon(self._config, outside, EventLog(self._clock, log), self._announced)
        self.daemon = daemon
        watch.version_in_force = self.version_in_force
        watch.is_built = lambda: daemon.parts is not None
        watch.damaged_records = self._damaged_records
        code: int | None = None
        with anyio.CancelScope() as scope:
            self._crash_scope = scope
            try:
                code = await daemon.run(self._stop)
            except TurnAway:
                # Before anything was served: the command ends with this code.
                code = EXIT_DISK_FAILED
            except (PowerCut, Exception, BaseExceptionGroup) as error:
                if not disk.dead and _is_of_configuration(error):
                    code = EXIT_CONFIGURATION
                elif not disk.dead:
                    ledger.violate("faults", f"life {self.life} ended with {error!r}")
                    raise
        if disk.dead:
            code = None
            ledger.crashes[disk.cut_at or "now"] += 1
        if daemon.parts is not None:
            instance = daemon.parts.instance
            ledger.digest_keys[instance.id] = instance.digest_key
        self._crash_scope = self.daemon = None
        if self.started.is_set():
            self.started = anyio.Event()
        self.last_code = code
        host.kill(cleanly=True)
        if code is not None:
            self._check_exit(code, watch)
        self._new_disk(self._left_of(disk))
        if self._chance.random() < _AUDITED_SHARE:
            await self.disk.run(lambda files: audit(files, SPOOL, ledger))
        return code

    def _watched(self, watch: Watch) -> dict[str, Sending]:
        upstreams = dict.fromkeys((*MODELS, *TOOLS), watch.forwarding)
        return {AGENT_SOCKET: watch.answering, AGENT_PORT: watch.answering, **upstreams}

    def _announced(self, announcement: Announcement) -> None:
        self.up_since = anyio.current_time()
        self.started.set()

    def _left_of(self, disk: SimDisk) -> SimDisk:
        """What the next life finds. A killed process loses nothing of what it wrote, and none of
        that is durable yet: a later power cut may still take it."""
        keep = self._chance.choice((0.0, 0.3, 0.7, 1.0)) if disk.dead else 1.0
        return disk.killed() if keep == 1.0 else disk.cut(keep)

    def _power_is_gone(self) -> None:
        assert self._host is not None
        assert self.log is not None
        self.log.silent = True
        self._host.kill(cleanly=self._chance.random() < 0.5)
        if self._crash_scope is not None:
            self._crash_scope.cancel()

    def _new_disk(self, disk: SimDisk) -> None:
        slow = self.disk.faults.flush_seconds
        self.disk = disk
        disk.faults = Faults(flush_seconds=slow, queue_seconds=0.001, short_counts=True)
        self.fill_disk(self._spare_bytes)

    def _check_exit(self, code: int, watch: Watch) -> None:
        """What the exit code says is true of the disk and the store."""
        watch.index.refresh()
        left = [path for path in self.disk.paths() if path.startswith(SPOOL) and "/seg-" in path]
        unsent = [
            f"{instance} {seq}"
            for instance, ids in watch.index.ids.items()
            for seq, one in ids.items()
            if not self._central.keeps(one) and (instance, seq) not in self._ledger.rotten
        ]
        if code == EXIT_DRAINED and unsent:
            self._ledger.violate("exit", f"exit 0, not in the store: {unsent[:3]}")
        # What could not be read may hold something.
        if code == EXIT_UNSENT and not left and not self.disk.read_errors:
            self._ledger.violate("exit", "exit 75, and nothing is left in the spool")
        # A disk that stalls for longer than the grace period has failed, too.
        sound = not self.disk.write_errors and self.disk.faults.flush_seconds < _STALLED_SECONDS
        if code == EXIT_DISK_FAILED and sound:
            self._ledger.violate("exit", "exit 74, and nothing was wrong with the disk")
        if code == EXIT_CONFIGURATION and not self.disk.read_errors:
            self._ledger.violate("exit", "exit 78, and every file could be read")
        if code not in (EXIT_DRAINED, EXIT_UNSENT, EXIT_DISK_FAILED, EXIT_CONFIGURATION):
            self._ledger.violate("exit", f"exit {code}")
        for instance, seq in watch.index.behind_seals:
            self._ledger.violate("exit", f"{instance}: seq {seq} follows the seal")
        self._ledger.counts[f"exit {code}"] += 1

    # -- what may be asked

    def snapshot_in_force(self) -> Snapshot | None:
        """The policy that the daemon would decide by now."""
        if self.daemon is None or self.daemon.parts is None:
            return None
        return self.daemon.parts.policy.current()

    def _damaged_records(self) -> int:
        """What the daemon's status says of rot; 0 before it has one."""
        if self.daemon is None or self.daemon.parts is None:
            return 0
        return self.daemon.parts.spool.damaged_records

    def version_in_force(self) -> int | None:
        """The version of that policy."""
        snapshot = self.snapshot_in_force()
        return None if snapshot is None else snapshot.version

    @property
    def up_seconds(self) -> float:
        """For how long the present life has taken calls."""
        return anyio.current_time() - self.up_since if self.started.is_set() else 0.0

    @property
    def down_seconds(self) -> float:
        """For how long no life has taken calls, since one last began to; 0 while one does."""
        return 0.0 if self.started.is_set() else anyio.current_time() - self.up_since

    @property
    def clock_behind_seconds(self) -> float:
        """How far this node's clock is behind the true one."""
        return -self._clock.offset_us / 1e6

    def compare_status(self, *, quiet: bool) -> None:
        """Hold the daemon's status against the checker's own counts."""
        daemon, watch = self.daemon, self.watch
        up = self.started.is_set() and not self.disk.dead
        if up and daemon is not None and watch is not None:
            watch.compare(daemon.status(), quiet=quiet)

    def status(self) -> DaemonStatus | None:
        """The status of a daemon that takes calls, None if there is none."""
        daemon = self.daemon
        return daemon.status() if daemon is not None and self.started.is_set() else None

    def quiet_status(self) -> DaemonStatus | None:
        """The status, once the daemon is up and nothing is on its way to the disk."""
        daemon = self.daemon
        if daemon is None or not self.started.is_set():
            return None
        status = daemon.status()
        spool = status.spool
        under_way = status.calls_in_flight or spool.last_seq != spool.acked_seq
        return None if under_way else status

    # -- what the weather does

    @property
    def faults(self) -> Faults:
        return self.disk.faults

    def crash(self) -> None:
        if self.daemon is not None and not self.disk.dead:
            try:
                self.disk.fail_power()
            except PowerCut:
                return

    def arm(self, moment: Moment, under: str, skips: int) -> None:
        faults = self.disk.faults
        faults.cut_under, faults.cut_skips = under, skips
        faults.cut_before |= {moment}

    def stop(self) -> None:
        self._stop.set()

    def fail_next_sync(self) -> None:
        self.disk.faults.sync_error_at = self.disk.syncs + 1

    def fail_next_write(self, code: int | None) -> None:
        self.disk.faults.write_errno = code
        self.disk.faults.write_error_at = self.disk.writes + 1

    def fail_next_read(self, under: str, skips: int) -> None:
        self.disk.faults.read_error_under = under
        self.disk.faults.read_error_at = self.disk.reads + 1 + skips

    def held(self) -> set[str]:
        """Ids of the records that are durable on the disk now."""
        index = DurableIndex(self.disk, SPOOL)
        index.refresh()
        return index.known

    def rot(self) -> None:
        if self.daemon is not None and self.watch is not None and not self.disk.dead:
            index, keeps = self.watch.index, self._central.keeps
            spoil(self.disk, index, self._ledger, self._chance, keeps)

    def fill_disk(self, spare_bytes: int | None) -> None:
        self._spare_bytes = spare_bytes
        taken = self.disk.taken_bytes
        self.disk.faults.capacity_bytes = None if spare_bytes is None else taken + spare_bytes


def _is_of_configuration(error: BaseException) -> bool:
    """Whether the command would end with exit code 78: a file could not be read, say."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_of_configuration(one) for one in error.exceptions)
    return isinstance(error, ConfigInvalid)
