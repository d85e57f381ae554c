"""One container of a pod, made of the kernel's own parts: no image, no container runtime.

A container has its own process numbers and its own tree of files: the system's programs, this
checkout and its interpreter, all read-only, and the volumes that it mounts. It shares the pod's
network. Its process is pid 1, has no capability and cannot get one.

Owns: building that tree, starting the process in it, signals and its end. Refuses: deciding who
mounts what (``pod.py``).
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from tests.integration.waiting import eventually

ROOT: Final = Path(__file__).parent.parent.parent
_SYSTEM: Final = ("bin", "sbin", "usr", "lib", "lib32", "lib64")
_DEVICES: Final = ("null", "zero", "random", "urandom")
_END_SECONDS_MAX = 40


class User(msgspec.Struct, frozen=True):
    """Whose process it is; ``groups`` are what the kubelet adds for the pod's fsGroup."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class Mount(msgspec.Struct, frozen=True):
    """A volume in a container."""

    volume: Path
    path: str
    read_only: bool = False


class Container:
    """A started container. Leaving the block ends it, whatever it does."""

    def __init__(
        self,
        network_pid: int,
        tree: Path,
        user: User,
        mounts: Sequence[Mount],
        command: Sequence[str],
        *,
        processes_of: int | None = None,
    ) -> None:
        """``processes_of``: join that process's numbers, as with ``shareProcessNamespace``."""
        tree.mkdir()
        self._errors = tree.with_suffix(".err")
        enter = ["nsenter", f"--net=/proc/{network_pid}/ns/net"]
        numbers = ["--pid", "--fork", "--kill-child"]
        if processes_of is not None:
            enter += [f"--pid=/proc/{processes_of}/ns/pid"]
            numbers = []
        with self._errors.open("wb") as errors:
            self._outer = subprocess.Popen(
                [
                    *enter,
                    "unshare",
                    "--mount",
                    "--propagation=private",
                    *numbers,
                    *("/bin/sh", "-euc", _script(tree, user, mounts, command)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT)},
            )

    @property
    def pid(self) -> int:
        """Of the container's first process, as this machine counts."""
        return eventually(lambda: _child_of(self._outer.pid), "the container's process")

    def signal(self, number: int) -> None:
        """Send a signal to the container's first process."""
        os.kill(self.pid, number)

    def line(self) -> bytes:
        """The next line that it printed; empty if it has ended."""
        assert self._outer.stdout is not None
        return self._outer.stdout.readline()

    def wait(self) -> int:
        """Its exit code, once it has ended; minus the number of the signal that killed it."""
        return self._outer.wait(_END_SECONDS_MAX)

    def rest(self) -> list[bytes]:
        """What it printed from here to its end, line by line."""
        assert self._outer.stdout is not None
        return self._outer.stdout.read().splitlines()

    def errors(self) -> str:
        """What it has written on standard error."""
        return self._errors.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._outer.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.running:
            self.signal(signal.SIGKILL)
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        if self.running:
            # Whoever gave up root no longer dies with its parent: the kernel forgets that it should
            # (prctl(2), PR_SET_PDEATHSIG).
            child = _child_of(self._outer.pid)
            if child is not None:
                os.kill(child, signal.SIGKILL)
            self._outer.kill()
        self._outer.wait(_END_SECONDS_MAX)
        assert self._outer.stdout is not None
        self._outer.stdout.close()


def _child_of(pid: int) -> int | None:
    """The process that ``pid`` has forked, or itself where it forks none."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            return int(stat.parent.name)
    return None


def _script(tree: Path, user: User, mounts: Sequence[Mount], command: Sequence[str]) -> str:
    """Build the tree on a small file system of its own, give everything up, and become the
    command."""
    lines = [f"cd {tree}", f"mount -t tmpfs -o mode=0755,size=4m tmpfs {tree}", f"cd {tree}"]
    for name in _SYSTEM:
        there = Path("/", name)
        if there.is_symlink():
            lines.append(f"cp -P {there} {name}")
        elif there.is_dir():
            lines += _bound(there, name, read_only=True)
    for place in _outside_of_usr():
        lines += _bound(place, str(place)[1:], read_only=True)
    lines += ["mkdir -p etc dev proc", "mount -t proc proc proc"]
    if Path("/etc/ld.so.cache").exists():
        lines.append("cp /etc/ld.so.cache etc/")
    for device in _DEVICES:
        lines += [f"touch dev/{device}", f"mount --bind /dev/{device} dev/{device}"]
    for mount in mounts:
        lines += _bound(mount.volume, mount.path[1:], read_only=mount.read_only)
    lines.append(f"mount -o remount,ro {tree}")
    groups = ",".join(map(str, user.groups))
    given_up = [
        "setpriv",
        f"--reuid={user.uid}",
        f"--regid={user.gid}",
        f"--groups={groups}" if groups else "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]
    lines.append(f"exec chroot {tree} {shlex.join([*given_up, *command])}")
    return "\n".join(lines)


def _outside_of_usr() -> list[Path]:
    """The checkout, and an interpreter or environment that lies elsewhere than in it."""
    places = [ROOT]
    for name in (sys.prefix, sys.base_prefix):
        place = Path(name)
        if not any(place.is_relative_to(known) for known in (Path("/usr"), *places)):
            places.append(place)
    return places


def _bound(source: Path, target: str, *, read_only: bool) -> list[str]:
    option = "bind,ro" if read_only else "bind"
    return [
        f"mkdir -p {shlex.quote(target)}",
        f"mount -o {option} {shlex.quote(str(source))} {shlex.quote(target)}",
    ]
