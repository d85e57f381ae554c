"""Checkers that look at every byte as it leaves the daemon, and at every piece of disk work.

* ``durable``: no head of an answer with a decision before that decision is on the disk, no call
  on its way to a provider before its own is (but on the route that overlaps them), and no record
  in the store that a power cut could still take;
* ``kept``: no segment is deleted before all its records are in the store;
* ``quota``: the spool's files never take more than they may;
* ``status``: what the daemon says of itself never claims more than the disk and the store hold.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.status import DaemonStatus
from tests.sim.central import Central
from tests.sim.disk import SimDisk
from tests.sim.durable import DurableIndex, segment_ids
from tests.sim.ledger import Ledger
from tests.sim.sectors import Inode
from tests.sim.stream import SimStream
from tests.sim.twists import name_of

_DECISION: Final = re.compile(rb"^x-gatepost-decision-id: (\S+)\r$", re.MULTILINE | re.IGNORECASE)
_TRACE: Final = re.compile(rb"traceparent: (\S+)\r", re.IGNORECASE)
_CODE: Final = re.compile(rb'"code":"([a-z_]+)"')
_NOTES: Final = (
    *("/LOCK", "/found.json", "/found.json.tmp"),
    *("/settled.json", "/settled.json.tmp"),
    *("/log-seen.json", "/log-seen.json.tmp"),
)
_CONTRADICTION: Final = "/contradiction-"
"""What begins the name of two checkpoints that a store could not both mean."""
_QUARANTINE: Final = "/quarantine/"
_INTERIM: Final = b"HTTP/1.1 1"


class _Line(msgspec.Struct):
    payload: str


class _Payload(msgspec.Struct):
    id: str


class Watch:
    """Watches one life of the daemon on ``disk``. ``version_in_force``: of its policy, now;
    ``is_built``: whether its parts are there, and running; ``damaged_records``: of its status."""

    def __init__(
        self, life: int, disk: SimDisk, root: str, bytes_max: int, ledger: Ledger, central: Central
    ) -> None:
        self.index = DurableIndex(disk, root)
        self.version_in_force: Callable[[], int | None] = lambda: None
        self.is_built: Callable[[], bool] = lambda: False
        self._codes: Counter[str] = Counter()
        self.damaged_records: Callable[[], int] = lambda: 0
        self._damaged = 0
        self._grown = (-1, -1)
        self._life = life
        self._disk = disk
        self._root = root
        self._bytes_max = bytes_max
        self._ledger = ledger
        self._central = central
        self._files: dict[str, Inode] = {}
        self._counted: dict[str, Inode] = {}
        self._kept_since: list[str] = []
        self._unkept = 0
        for path, entry in disk.entries.items():
            self._note_file(path, entry)

    def answering(self, stream: SimStream, data: bytes) -> None:
        """Bytes leave for an agent."""
        if not data.startswith(b"HTTP/1.1 ") or data.startswith(_INTERIM):
            return
        found = _DECISION.search(data.partition(b"\r\n\r\n")[0] + b"\r\n")
        if found is None:
            self._ledger.turned_away[self._life] += 1
            code = _CODE.search(data)
            if code is not None:
                self._codes[code[1].decode()] += 1
            return
        decision_id = found[1].decode()
        if not self._is_safe(decision_id):
            self._ledger.violate(
                "durable", f"decision {decision_id} is answered and is not durable"
            )
        self._ledger.answered[decision_id] = int(data[9:12])
        version = self.version_in_force()
        if version is not None:
            self._ledger.answered_under[decision_id] = version

    def forwarding(self, stream: SimStream, data: bytes) -> None:
        """Bytes leave for a provider."""
        for found in _TRACE.findall(data):
            name = name_of(found.decode())
            call = self._ledger.calls.get(name or "")
            if call is None or call.kind == "quick":
                continue
            self.index.refresh()
            if name not in self.index.names:
                text = f"{name} is forwarded and its record is not durable"
                self._ledger.violate("durable", text)

    def shipping(self, body: bytes) -> None:
        """A body of records arrives at the store."""
        for line in gzip.decompress(body).splitlines():
            payload = base64.b64decode(msgspec.json.decode(line, type=_Line).payload)
            record_id = msgspec.json.decode(payload, type=_Payload).id
            if not (self._is_safe(record_id) or self.index.holds(payload)):
                text = f"record {record_id} is shipped and is not durable"
                self._ledger.violate("durable", text)

    def _is_safe(self, record_id: str) -> bool:
        """Whether this record is durable, or was once: in the store, or rotten since then. A batch
        that was read before the rot, and is still tried, arrives whole."""
        if record_id in self.index.known:
            return True
        self.index.refresh()
        if record_id in self.index.known or self._central.keeps(record_id):
            return True
        return any(one.id == record_id for one in self._ledger.rotten.values())

    def worked(self) -> None:
        """A piece of disk work is done."""
        self._note_deleted()
        if not self.is_built():
            self._kept_since.clear()
            return  # a power cut brings removed names back, until the start has removed them again
        self._note_alarm()
        grown = (self._disk.writes, self._disk.name_changes)
        if grown == self._grown:
            return
        self._grown = grown
        taken = sum(len(entry.written) for entry in self._counted.values())
        # A start that finds damage keeps a copy of it, room or not.
        if taken > self._bytes_max:
            self._ledger.violate("quota", f"{taken} bytes of at most {self._bytes_max}")

    def _note_deleted(self) -> None:
        gone: dict[str, Inode] = {}
        for change in self._disk.take_changes():
            entry = self._files.pop(change.path, None)
            self._counted.pop(change.path, None)
            if entry is not None:
                gone[change.path] = entry
            if change.target:
                self._note_file(change.target, entry)
            else:
                self._note_file(change.path, change.entry)
        for path, entry in gone.items():
            if path in self._files:
                continue
            for record_id in segment_ids(path, entry.written):
                if not self._central.keeps(record_id):
                    text = f"{path} is deleted, and {record_id} is not in the store"
                    self._ledger.violate("kept", text)

    def _note_file(self, path: str, entry: Inode | None) -> None:
        if entry is not None and path.startswith(self._root):
            self._files[path] = entry
            if _QUARANTINE in path:
                if not path.endswith(".tmp"):
                    self._kept_since.append(path)
            elif _counts(path):
                self._counted[path] = entry

    def _note_alarm(self) -> None:
        """The alarm of damage counts for those instances of which something is in quarantine, or
        comes there next: it is raised before the bytes are kept, and the disk may be slow."""
        damaged = self.damaged_records()
        if damaged > self._damaged:
            self._ledger.alarmed |= {
                self._instance_of(path) for path in self._files if _QUARANTINE in path
            }
            self._unkept += damaged - self._damaged
            self._damaged = damaged
        if self._unkept and self._kept_since:
            self._ledger.alarmed |= {self._instance_of(path) for path in self._kept_since}
            self._unkept = max(0, self._unkept - len(self._kept_since))
        self._kept_since.clear()

    def _instance_of(self, path: str) -> str:
        return path[len(self._root) + 1 :].split("/")[0]

    def _sizes(self, *, notes: bool = False) -> list[tuple[str, int]]:
        return [
            (path, len(entry.written))
            for path, entry in self._disk.entries.items()
            if entry is not None and path.startswith(self._root)
            if notes or _counts(path)
        ]

    def compare(self, status: DaemonStatus, *, quiet: bool) -> None:
        """``status`` was made at this moment; ``quiet``: nothing is under way."""
        spool = status.spool
        self.index.refresh()
        stored = self._stored_seq(spool.instance)
        # What was deleted before the index saw it had to be in the store.
        durable = max(stored, self.index.last_seq.get(spool.instance, -1))
        if spool.durable_seq > durable or (quiet and spool.durable_seq != durable):
            self._complain(f"durable_seq {spool.durable_seq}, on the disk {durable}")
        if spool.acked_seq > stored or (quiet and spool.acked_seq != stored):
            self._complain(f"acked_seq {spool.acked_seq}, in the store {stored}")
        if spool.backlog_records != spool.durable_seq - spool.acked_seq:
            self._complain(f"backlog_records {spool.backlog_records}")
        self._compare_bytes(status)
        if quiet:
            self._compare_quarantine(status)
        if quiet and spool.last_seq != spool.durable_seq:
            self._complain(f"last_seq {spool.last_seq}, durable_seq {spool.durable_seq}")
        if quiet:
            # Notes are counted where a directory could not be read.
            most = sum(size for _, size in self._sizes(notes=True))
            # A segment that is being prepared counts once it is whole.
            least = sum(size for path, size in self._sizes() if not path.endswith(".tmp"))
            if not least <= spool.bytes_used <= most:
                self._complain(f"bytes_used {spool.bytes_used}, on the disk {least} to {most}")
        told = sum(sum(one.values()) for one in status.counters.turned_away.values())
        seen = self._ledger.turned_away[self._life]
        if told < seen:
            self._complain(f"{told} turned away, and {seen} answers without a decision were seen")
        for code, count in self._codes.items():
            counted = sum(status.counters.turned_away.get(code, {}).values())
            if counted < count:
                self._complain(f"{counted} turned away with {code}, and {count} were seen")

    def _compare_bytes(self, status: DaemonStatus) -> None:
        """What waits for the store, in bytes, by the frames on the disk."""
        spool = status.spool
        sizes = self.index.frame_bytes.get(spool.instance, {})
        waiting = range(spool.acked_seq + 1, spool.durable_seq + 1)
        if all(seq in sizes for seq in waiting):
            found = sum(sizes[seq] for seq in waiting)
            if found != spool.backlog_bytes:
                self._complain(f"backlog_bytes {spool.backlog_bytes}, on the disk {found}")

    def _compare_quarantine(self, status: DaemonStatus) -> None:
        told = {status.spool.instance: status.spool.quarantine}
        told |= {one.instance: one.quarantine for one in status.shipping.dead}
        for instance, quarantine in told.items():
            kept = f"{self._root}/{instance}/quarantine/"
            sizes = [size for path, size in self._sizes() if path.startswith(kept)]
            if (quarantine.files, quarantine.bytes) != (len(sizes), sum(sizes)):
                self._complain(f"quarantine {quarantine} of {instance}, on the disk {sizes}")

    def _stored_seq(self, instance: str) -> int:
        seq = max(self._central.last_seq(instance), self._central.acknowledged.get(instance, -1))
        # What no longer reads back is passed over, and the alarm is raised.
        while (instance, seq + 1) in self._ledger.rotten:
            seq += 1
        return seq

    def _complain(self, text: str) -> None:
        self._ledger.violate("status", f"life {self._life}: {text}")


def _counts(path: str) -> bool:
    """Whether a file of the spool counts against its quota."""
    return not (path.endswith(_NOTES) or _CONTRADICTION in path)
