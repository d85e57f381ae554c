"""What instances that ended left under the spool root.

A directory whose lock can be taken is dead: its process is gone, and its key with it.

Owns: finding dead directories, taking them, and which of them wrote last. Refuses: what is done
with one (``dead.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

import msgspec

from gateway import limits
from gateway.errors import ConfigInvalid
from gateway.ports import Disk, FileSystem
from gateway.record import Continues
from spool import frame, home
from spool.dead import DeadInstance, Place
from spool.segment import file_size


class LeftAlone(msgspec.Struct, frozen=True):
    """A directory that was not touched, and why: the operator has to look.

    ``bytes_used``: as far as it could be measured; it counts against the quota.
    """

    instance: str
    why: str
    bytes_used: int = 0


async def find_dead(
    disk: Disk, root: str, place: Place, *, wall_us: int
) -> tuple[list[DeadInstance], list[LeftAlone]]:
    """Take and examine every dead directory under ``root``; oldest last record first.

    Directories with nothing in them are removed at once. One that others may write to, of a
    newer format, of another ``place``, or that cannot be read is left alone. Run it before
    ``Spool.open``. Raises ConfigInvalid where ``root`` itself cannot be read.
    """
    dead: list[DeadInstance] = []
    alone: list[LeftAlone] = []
    try:
        taken = await disk.run(partial(_take_all, root=root, place=place))
    except OSError as error:
        raise ConfigInvalid(f"spool directory {root}: {error.strerror or error}") from error
    for found in taken:
        if isinstance(found, LeftAlone):
            alone.append(found)
            continue
        try:
            await found.examine(disk)
            if found.findings.records == 0:
                if found.bases:
                    # What is there and no record is in quarantine by now.
                    await found.trim(disk, limits.JSON_INTEGER_MAX)
                if found.removable(wall_us) or found.never_used:
                    await found.remove(disk)
                    continue
            if found.findings.clean and found.settled is None and found.quarantine_files:
                await found.settle(disk, None, found.instance, wall_us)
        except (OSError, ConfigInvalid) as error:
            found.release()
            look = partial(_left_alone, root=root, instance=found.instance, error=error)
            alone.append(await disk.run(look))
            continue
        dead.append(found)
    dead.sort(key=lambda one: one.findings.last_id or "")
    return dead, alone


def _sizes(files: FileSystem, directory: str) -> list[int]:
    """Bytes of each file that can be looked at; directories in it are not gone into."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for name in files.list_directory(directory):
            with contextlib.suppress(OSError):
                found.append(file_size(files, f"{directory}/{name}"))
    return found


def newest(dead: Sequence[DeadInstance]) -> Continues | None:
    """What the next ``start`` record continues: the dead instance that wrote last.

    Record ids are UUIDv7, so they sort by time.
    """
    found = [one.findings for one in dead if one.findings.last_seq is not None]
    if not found:
        return None
    last = max(found, key=lambda findings: findings.last_id or "")
    assert last.last_seq is not None
    assert last.last_hash is not None
    return Continues(instance=last.instance, seq=last.last_seq, record_hash=last.last_hash)


def instances(files: FileSystem, root: str) -> list[str]:
    """Every instance that has a directory under ``root``, dead or alive. Raises OSError."""
    try:
        names = files.list_directory(root)
    except FileNotFoundError:
        return []
    return [name for name in names if is_instance(name)]


def is_instance(name: str) -> bool:
    """Whether a name under the spool root is an instance's."""
    try:
        frame.instance_bytes(name)
    except ValueError:
        return False
    return True


def _take_all(files: FileSystem, *, root: str, place: Place) -> list[DeadInstance | LeftAlone]:
    """Every dead directory, locked and looked at, in one piece of work: most of those that a start
    meets hold nothing but a quarantine."""
    found = (_take(files, root, instance, place) for instance in instances(files, root))
    return [one for one in found if one is not None]


def _take(
    files: FileSystem, root: str, instance: str, place: Place
) -> DeadInstance | LeftAlone | None:
    """None if another process holds the directory or has removed it meanwhile."""
    path = f"{root}/{instance}"
    try:
        home.check_home(files, path)
        lock = files.lock(f"{path}/{home.LOCK_NAME}")
    except FileNotFoundError:
        return None
    except (OSError, ConfigInvalid) as error:
        return _left_alone(files, root, instance, error)
    if lock is None:
        return None
    found = DeadInstance(root, instance, lock, place)
    try:
        found.look(files)
    except (OSError, ConfigInvalid) as error:
        found.release()
        return _left_alone(files, root, instance, error)
    return found


def _left_alone(files: FileSystem, root: str, instance: str, error: Exception) -> LeftAlone:
    directory = f"{root}/{instance}"
    sizes = _sizes(files, directory) + _sizes(files, f"{directory}/{home.QUARANTINE_NAME}")
    return LeftAlone(instance, str(error), sum(sizes))
