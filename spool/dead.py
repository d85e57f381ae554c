"""What one instance that ended left in its directory, held by its lock until it is removed.

It is read, shipped and deleted; its chain is never continued. Bytes that cannot be read are copied
to its quarantine before anything else happens to them.

Owns: making what is read durable, quarantine, and letting go of the directory. Refuses: finding
directories (``recover.py``), the judgement of damage (``examine.py``), shipping (``ship.py``), and
writing the ``recovered`` record, which belongs into the successor's own chain.
"""

from __future__ import annotations

from functools import partial

import msgspec

from gateway import limits
from gateway.errors import UNREADABLE, ConfigInvalid
from gateway.ports import Disk, FileSystem, Lock, Receipt
from gateway.record import Quarantined
from gateway.seal import sha256_text
from spool import frame, home, read
from spool.examine import Damage, Examiner, Findings, joined, with_rot
from spool.judge import judge_segment
from spool.read import LoadedSegment
from spool.scan import Scan, Stretch
from spool.segment import (
    file_size,
    read_all,
    remove_if_there,
    segment_base,
    segment_name,
    write_all,
    write_file,
)

SETTLED_NAME = "settled.json"
FOUND_NAME = "found.json"
_PIECES_MAX = 16
"""Damaged stretches of one segment that get a file each; with more, the segment is kept whole."""


class Settled(msgspec.Struct, frozen=True):
    """Says that the findings stand in a record, so that later starts need not repeat it.

    ``by`` and ``seq``: that record; null for an instance with nothing to record.
    """

    by: str | None
    seq: int | None
    wall_us: int


class Place(msgspec.Struct, frozen=True):
    """Whose records a process ships. What is of another tenant or region is left alone: under
    our name the store would refuse it, and it would be lost to its owner."""

    tenant: str
    region: str


class DeadInstance:
    """One directory of a process that is gone, held by its lock until it is removed.

    ``bases``: segments still there; ``last_seqs``: the newest readable seq up to and in each.
    """

    def __init__(self, root: str, instance: str, lock: Lock, place: Place) -> None:
        self.root = root
        self.instance = instance
        self.directory = f"{root}/{instance}"
        self.bases: list[int] = []
        self.last_seqs: list[int] = []
        self.bytes_used = 0
        self.quarantine_files = 0
        self.quarantine_bytes = 0
        self.settled: Settled | None = None
        self.removed = False
        self._noted = False
        self._known_damage: set[tuple[int, int]] = set()
        self._lock = lock
        self._place = place
        self._before: Findings | None = None
        self._findings: Findings | None = None

    def __repr__(self) -> str:
        return f"DeadInstance({self.instance!r})"

    @property
    def findings(self) -> Findings:
        """What was found; there once ``find_dead`` has returned."""
        assert self._findings is not None
        return self._findings

    @property
    def needs_record(self) -> bool:
        """Whether a ``recovered`` record is still to be written about it."""
        return self.settled is None and not self.findings.clean

    async def examine(self, disk: Disk) -> None:
        """Read every segment and quarantine what is damaged. Raises OSError."""
        examiner = Examiner(self.instance)
        quarantined: list[Quarantined] = []
        for base_seq in self.bases:
            last = base_seq == self.bases[-1]
            quarantined += await disk.run(
                partial(self._segment, examiner=examiner, base_seq=base_seq, last=last)
            )
        found = examiner.findings(quarantined)
        self._findings = found if self._before is None else joined(self._before, found)

    @property
    def never_used(self) -> bool:
        """Whether no record and no damage was ever found in it."""
        kept = self.quarantine_files > 0
        return self.findings.last_seq is None and self.findings.whole and not kept

    def look(self, files: FileSystem) -> None:
        """Drop what was never used, and read what earlier starts noted: all that there is to read
        where every segment is gone. Run it before ``examine``. Raises OSError, ConfigInvalid."""
        names = files.list_directory(self.directory)
        self.bases = [base for name in names if (base := segment_base(name)) is not None]
        for base_seq in self.bases:
            self._refuse_newer(files, base_seq)
        if self.bases:
            self._refuse_foreign(files)
        for name in names:
            if name.endswith(".tmp"):
                remove_if_there(files, f"{self.directory}/{name}")
        if SETTLED_NAME in names:
            self.settled = self._read_settled(files)
        if FOUND_NAME in names:
            self._before = self._read_found(files)
        if not self.bases:
            self._measure(files)

    def _read_settled(self, files: FileSystem) -> Settled | None:
        """The note that the findings stand in a record."""
        try:
            data = read_all(files, f"{self.directory}/{SETTLED_NAME}", frame.PAGE_BYTES)
            return msgspec.json.decode(data, type=Settled)
        except UNREADABLE:
            return None

    def _refuse_newer(self, files: FileSystem, base_seq: int) -> None:
        path = f"{self.directory}/{segment_name(base_seq)}"
        header = frame.decode_header(read_all(files, path, frame.PAGE_BYTES))
        if header is not None and header.version > frame.VERSION:
            raise ConfigInvalid(
                f"{path} has format version {header.version}, this program reads up to "
                f"{frame.VERSION}: start a newer one to ship it"
            )

    def _refuse_foreign(self, files: FileSystem) -> None:
        """A chain belongs to one tenant and region: its first readable record says which."""
        first = read.first_record(files, self.directory)
        if first is None:
            return
        found = Place(first.leading.tenant, first.leading.region)
        if found != self._place:
            raise ConfigInvalid(
                f"{self.directory} holds records of tenant {found.tenant}, region {found.region}; "
                f"this process is of {self._place.tenant}, {self._place.region}, and must not "
                "ship them: start one that is configured for theirs"
            )

    def _segment(
        self, files: FileSystem, *, examiner: Examiner, base_seq: int, last: bool
    ) -> list[Quarantined]:
        loaded = read.load_segment(files, self.directory, self.instance, base_seq)
        scanned = loaded.scan(self.instance)
        self._known_damage |= {
            (base_seq, one.offset) for one in scanned.pieces if isinstance(one, Stretch)
        }
        if last:
            self._make_true(files, loaded, scanned)
        damages = judge_segment(examiner, loaded, scanned, instance=self.instance, last=last)
        self.last_seqs.append(examiner.last_seq)
        quarantined = self._quarantine(files, loaded, damages) if damages else []
        if last:
            self._measure(files)
        return quarantined

    def _make_true(self, files: FileSystem, loaded: LoadedSegment, scanned: Scan) -> None:
        """Have the disk hold what was read: what is told of an instance must stay so.

        What a killed process wrote may be in memory only; and after a failed sync the kernel
        takes the pages for clean, so that a sync alone would write nothing. Only the last batch
        can be meant. Its own bytes are written over it: a crash leaves old sectors or equal ones.
        """
        batches = scanned.batches
        last_first = max((first for _, first in batches), default=0)
        start = min((at for at, first in batches if first == last_first), default=frame.PAGE_BYTES)
        end = scanned.data_end
        path = f"{self.directory}/{segment_name(loaded.base_seq)}"
        file = files.open(path, writable=True)
        try:
            if end > start:
                write_all(file, loaded.data[start:end], start)
            file.fdatasync()
        finally:
            file.close()

    def _quarantine(
        self, files: FileSystem, loaded: LoadedSegment, damages: list[Damage]
    ) -> list[Quarantined]:
        """Copy damaged bytes, durably, before anything else happens to them."""
        if len(damages) > _PIECES_MAX:
            damages = [
                Damage(base_seq=loaded.base_seq, offset=0, length=len(loaded.data), rule="damaged")
            ]
        pieces: dict[str, bytes] = {}
        kept = []
        for damage in damages:
            data = loaded.data[damage.offset : damage.offset + damage.length]
            name = home.damage_name(files, self.directory, loaded.base_seq, damage.offset, data)
            pieces[name] = data
            kept.append(Quarantined(file=name, length=len(data), digest=sha256_text(data)))
        if self.settled is not None and pieces.keys() - home.quarantined_names(
            files, self.directory
        ):
            self._unsettle(files)
            self.settled = None
        home.quarantine(files, self.directory, pieces)
        return kept

    def _unsettle(self, files: FileSystem) -> None:
        """Before more is kept than the record about it knows of: once it is kept, the next start
        would take it for known."""
        remove_if_there(files, f"{self.directory}/{SETTLED_NAME}")
        files.sync_directory(self.directory)

    def knows(self, base_seq: int, stretch: Stretch) -> bool:
        """Whether this damage was found before."""
        return (base_seq, stretch.offset) in self._known_damage

    async def note_damage(self, disk: Disk, base_seq: int, stretch: Stretch) -> None:
        """Keep bytes that rotted since they were examined. Raises OSError.

        This process raised the alarm, which ends with it: the next start writes the record.
        """
        self._known_damage.add((base_seq, stretch.offset))

        def keep(files: FileSystem) -> Quarantined:
            if self.settled is not None:
                self._unsettle(files)
            return home.quarantine_stretch(
                files,
                directory=self.directory,
                base_seq=base_seq,
                offset=stretch.offset,
                length=stretch.length,
            )

        kept = await disk.run(keep)
        # The segment may be shipped and gone by then: what is found is noted anew before it goes.
        self.settled, self._noted = None, False
        self._findings = with_rot(self.findings, stretch.seq, kept)
        self.note_set_aside(kept.length)

    def _measure(self, files: FileSystem) -> None:
        quarantine = f"{self.directory}/{home.QUARANTINE_NAME}"
        paths = [f"{self.directory}/{segment_name(base)}" for base in self.bases]
        try:
            kept = [f"{quarantine}/{name}" for name in files.list_directory(quarantine)]
        except FileNotFoundError:
            kept = []
        self.quarantine_files = len(kept)
        self.quarantine_bytes = sum(file_size(files, path) for path in kept)
        self.bytes_used = self.quarantine_bytes + sum(file_size(files, path) for path in paths)

    def note_set_aside(self, file_bytes: int) -> None:
        """One more file of that size is in the quarantine."""
        self.quarantine_files += 1
        self.quarantine_bytes += file_bytes
        self.bytes_used += file_bytes

    # -- until it stands in a record --------------------------------------------------------

    def _read_found(self, files: FileSystem) -> Findings | None:
        """What an earlier start found and could not record before it ended."""
        try:
            data = read_all(files, f"{self.directory}/{FOUND_NAME}", limits.SEGMENT_BYTES_MAX)
            return msgspec.json.decode(data, type=Findings)
        except UNREADABLE:
            return None

    def _note_found(self, files: FileSystem) -> None:
        """Keep the findings beside the segments, of which the first is about to go.

        Raises OSError where damage could not be noted; for a chain that only has no end, room
        for new records, which may wait for this segment, comes first.
        """
        try:
            write_file(files, f"{self.directory}/{FOUND_NAME}", msgspec.json.encode(self.findings))
            files.sync_directory(self.directory)
        except OSError:
            if not self.findings.whole:
                raise

    # -- letting go -----------------------------------------------------------------------

    async def settle(self, disk: Disk, by: Receipt | None, own: str, wall_us: int) -> None:
        """Note that the record ``by`` of instance ``own`` holds the findings.

        Of a directory that was shipped and removed meanwhile there is nothing to note. Raises
        OSError where the note cannot be written: it holds for this process all the same, and a
        later start will repeat the record.
        """
        if self.removed:
            return
        settled = Settled(
            by=None if by is None else own, seq=None if by is None else by.seq, wall_us=wall_us
        )

        def note(files: FileSystem) -> None:
            write_file(files, f"{self.directory}/{SETTLED_NAME}", msgspec.json.encode(settled))
            files.sync_directory(self.directory)

        self.settled = settled
        await disk.run(note)

    async def trim(self, disk: Disk, through_seq: int) -> None:
        """Unlink segments whose readable records all have a seq up to ``through_seq``.

        Shipping does not wait for the ``recovered`` record, which may itself wait for room: what
        was found is noted first, so that a crash in between leaves it to the next start.
        """
        while self.bases and self.last_seqs[0] <= through_seq:
            if self.needs_record and not (self._noted or self.never_used):
                await disk.run(self._note_found)
                self._noted = True
            base_seq = self.bases[0]
            await disk.run(partial(self._unlink, base_seq=base_seq))
            self.bases.pop(0)
            self.last_seqs.pop(0)
        await disk.run(self._measure)

    def _unlink(self, files: FileSystem, base_seq: int) -> None:
        remove_if_there(files, f"{self.directory}/{segment_name(base_seq)}")
        files.sync_directory(self.directory)

    def removable(self, wall_us: int) -> bool:
        """Whether nothing is left to ship, to record or to keep in quarantine."""
        if self.bases or self.needs_record:
            return False
        if not self.quarantine_files:
            return True
        kept_us = limits.QUARANTINE_SECONDS_MAX * 1_000_000
        return self.settled is not None and self.settled.wall_us + kept_us <= wall_us

    async def remove(self, disk: Disk) -> None:
        """Remove the directory and give up its lock. Raises OSError."""

        def remove(files: FileSystem) -> None:
            quarantine = f"{self.directory}/{home.QUARANTINE_NAME}"
            try:
                names = files.list_directory(self.directory)
            except FileNotFoundError:
                # An attempt that failed half-way gave the lock up, and another process went on.
                self._lock.release()
                return
            if home.QUARANTINE_NAME in names:
                # Raises for a link: nothing outside our own directories is ever deleted.
                files.directory_mode(quarantine)
                for name in files.list_directory(quarantine):
                    remove_if_there(files, f"{quarantine}/{name}")
                files.remove_directory(quarantine)
            for name in names:
                # A note that found no room leaves its part.
                if name in (FOUND_NAME, SETTLED_NAME) or name.endswith(".tmp"):
                    remove_if_there(files, f"{self.directory}/{name}")
            home.remove_home(files, self.root, self.instance, self._lock)

        await disk.run(remove)
        self.removed = True
        self.bytes_used = 0

    def release(self) -> None:
        """Give up the lock and leave everything as it is."""
        self._lock.release()
