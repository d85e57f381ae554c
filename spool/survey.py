"""What stands under a spool root: one survey per instance, without a lock and without a trace.

Owns: finding instances, what their directories hold besides segments, and whether anybody owns
them. Refuses: writing, taking locks, and judging records one by one (``audit.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Literal

import msgspec

from gateway.errors import UNREADABLE
from gateway.ports import FileSystem
from spool import frame, home
from spool.dead import SETTLED_NAME, Settled
from spool.examine import Damage, Findings
from spool.recover import is_instance
from spool.segment import read_all, segment_base
from spool.shelf import PREPARED_PREFIX
from spool.walk import NewerFormat, Walk

Condition = Literal["live", "shipping", "dead", "unknown"]
"""``live``: a process holds it and may write. ``shipping``: its chain has ended, and a process
holds it to ship it. ``dead``: nobody holds it. ``unknown``: the kernel cannot say."""

IsHeld = Callable[[str], bool | None]
"""Whether a process holds a lock file, asked without taking it (``gateway.io.file_lock``)."""


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """A directory of an instance, by its names and sizes. ``held``: see ``IsHeld``.

    ``bytes_used``: segments, prepared ones and quarantine. ``settled``: what a successor noted.
    """

    instance: str
    directory: str
    held: bool | None
    segments: int
    segment_bytes: int
    prepared: int
    quarantine_files: int
    quarantine_bytes: int
    bytes_used: int
    settled: Settled | None

    @property
    def may_be_written(self) -> bool:
        """Whether a writer may be at work. Settled ones are held by a successor at most."""
        return self.held is not False and self.settled is None


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """An instance, read through once. ``findings`` is None where its format is newer.

    ``damages``: stretches that cannot be read; ``deleted``: segments that were shipped and
    deleted while this was read; ``writing_bytes``: what was being written.
    """

    home: Home
    version: int
    findings: Findings | None
    damages: int
    deleted: int
    writing_bytes: int

    @property
    def condition(self) -> Condition:
        """Whether somebody owns it, and why."""
        held = self.home.held
        if not held:
            return "unknown" if held is None else "dead"
        ended = self.home.settled is not None or (
            self.findings is not None and self.findings.sealed
        )
        return "shipping" if ended else "live"


def find_homes(files: FileSystem, root: str, is_held: IsHeld) -> list[Home]:
    """Every instance under ``root``, by name. Raises OSError where it cannot be read."""
    found = []
    for name in files.list_directory(root):
        if is_instance(name):
            # One that is removed just now was shipped to its end.
            with contextlib.suppress(FileNotFoundError):
                found.append(look_at(files, root, name, is_held))
    return found


def look_at(files: FileSystem, root: str, instance: str, is_held: IsHeld) -> Home:
    """The directory of ``instance``. Raises OSError."""
    directory = f"{root}/{instance}"
    # Asked first: who is dead now writes nothing later.
    held = is_held(f"{directory}/{home.LOCK_NAME}")
    names = files.list_directory(directory)
    segments = [
        _size(files, f"{directory}/{one}") for one in names if segment_base(one) is not None
    ]
    prepared = [
        _size(files, f"{directory}/{one}") for one in names if one.startswith(PREPARED_PREFIX)
    ]
    aside = f"{directory}/{home.QUARANTINE_NAME}"
    kept = [_size(files, f"{aside}/{name}") for name in home.quarantined_names(files, directory)]
    return Home(
        instance=instance,
        directory=directory,
        held=held,
        segments=len(segments),
        segment_bytes=sum(segments),
        prepared=len(prepared),
        quarantine_files=len(kept),
        quarantine_bytes=sum(kept),
        bytes_used=sum(segments) + sum(prepared) + sum(kept),
        settled=_settled(files, directory) if SETTLED_NAME in names else None,
    )


def survey(files: FileSystem, place: Home, advance: Callable[[int], None]) -> Survey:
    """Read an instance through. ``advance``: told the bytes of each segment. Raises OSError."""
    walk = Walk(files, place.directory, place.instance, may_be_written=place.may_be_written)
    damages, version, findings = 0, frame.VERSION, None
    try:
        for view in walk:
            damages += sum(isinstance(item, Damage) for item in view.items)
            advance(view.bytes_read)
        findings = walk.examiner.findings([])
    except NewerFormat as newer:
        version = newer.version
    return Survey(
        home=place,
        version=version,
        findings=findings,
        damages=damages,
        deleted=walk.deleted,
        writing_bytes=walk.writing_bytes,
    )


def _size(files: FileSystem, path: str) -> int:
    """Bytes of a file; 0 for one that went away."""
    try:
        file = files.open(path, writable=False)
    except FileNotFoundError:
        return 0
    try:
        return file.size()
    finally:
        file.close()


def _settled(files: FileSystem, directory: str) -> Settled | None:
    try:
        data = read_all(files, f"{directory}/{SETTLED_NAME}", frame.PAGE_BYTES)
        return msgspec.json.decode(data, type=Settled)
    except (FileNotFoundError, *UNREADABLE):
        return None
