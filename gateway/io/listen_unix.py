"""The Unix socket listener: exact permissions, never stolen, cleaned up behind itself.

Owns: the socket's own directory, the check for a live or stale socket, binding with the exact
mode and group, and removing the socket at the end if it is still this one. Refuses: accepting
policy, peers and HTTP. Starts are serialised by a lock on the directory, so that two
daemons can't both find the other's socket stale.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from anyio.abc import Listener, SocketListener, SocketStream, TaskGroup

from gateway import limits
from gateway.errors import ListenFailed

SOCKET_MODE: Final = 0o660
DIRECTORY_MODE: Final = 0o750


class UnixListener(Listener[SocketStream]):
    """A listening Unix socket. Closing it removes the path, if it is still the same socket."""

    def __init__(self, listener: SocketListener, path: str, identity: tuple[int, int]) -> None:
        self.path = path
        self._listener = listener
        self._identity = identity

    def __repr__(self) -> str:
        return f"UnixListener({self.path!r})"

    async def accept(self) -> SocketStream:
        """The next connection. Raises anyio.ClosedResourceError once closed."""
        return await self._listener.accept()

    async def serve(
        self,
        handler: Callable[[SocketStream], object],
        task_group: TaskGroup | None = None,
    ) -> None:
        """Run ``handler`` in a task for each connection, for ever."""
        await self._listener.serve(handler, task_group)

    async def aclose(self) -> None:
        """Stop listening. Harmless when called twice."""
        # Removed first: a path without a listener looks like a crash to whoever connects.
        self._remove()
        await self._listener.aclose()

    def _remove(self) -> None:
        # The directory may be gone or another's by now; then there is nothing of ours to remove.
        with suppress(OSError, ListenFailed), _locked(os.path.dirname(self.path)):
            if _identity(self.path) == self._identity:
                os.unlink(self.path)


async def listen_unix(
    path: str,
    *,
    group: int | None,
    mode: int = SOCKET_MODE,
    directory_mode: int = DIRECTORY_MODE,
) -> UnixListener:
    """A listener at ``path`` with exactly ``mode``, and ``group`` if it is given (a gid).

    The directory of ``path`` is made with ``directory_mode`` and ``group`` if it is missing; its
    parent must exist. One that exists is left as it is, and refused if everybody may write there
    or ``group`` may not enter it. Raises ListenFailed: a live socket, something else at the path, a
    path over 107 bytes, or what the system says.
    """
    where = _checked_path(path)
    directory = os.path.dirname(where)
    try:
        _prepare_directory(directory, group, directory_mode)
        with _locked(directory):
            _clear(where)
            bound = _bind(where, group, mode)
            identity = _identity(where)
    except OSError as error:
        raise ListenFailed(f"cannot listen on {where}: {error.strerror or error}") from error
    return UnixListener(await SocketListener.from_socket(bound), where, identity)


def _checked_path(path: str) -> str:
    if not path or "\0" in path:
        raise ListenFailed(
            f"{path!r} is not the path of a socket; abstract sockets have no permissions, "
            "so they are not supported"
        )
    where = os.path.abspath(path)
    length = len(os.fsencode(where))
    if length > limits.UNIX_PATH_BYTES_MAX:
        raise ListenFailed(
            f"the socket path {where} has {length} bytes; Unix sockets take at most "
            f"{limits.UNIX_PATH_BYTES_MAX}: choose a shorter directory"
        )
    return where


def _prepare_directory(directory: str, group: int | None, mode: int) -> None:
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        _check_directory(directory, group)
        return
    except FileNotFoundError as error:
        raise ListenFailed(
            f"cannot make {directory}: its parent does not exist; make it or choose another path"
        ) from error
    try:
        if group is not None:
            _give_to_group(directory, group)
        # After the group, and not by mkdir: the umask would take bits away.
        os.chmod(directory, mode)
    except BaseException:
        os.rmdir(directory)
        raise


def _check_directory(directory: str, group: int | None) -> None:
    found = os.stat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise ListenFailed(f"{directory} is not a directory")
    if found.st_mode & stat.S_IWOTH:
        raise ListenFailed(
            f"everybody may write in {directory}, so anybody could put a socket in the place of "
            "this one; use a subdirectory of it, which is made when it is missing"
        )
    enters = (found.st_gid == group and found.st_mode & stat.S_IXGRP) or (
        found.st_mode & stat.S_IXOTH
    )
    if group is not None and not enters:
        raise ListenFailed(
            f"group {group} may not enter {directory} (group {found.st_gid}, mode "
            f"{stat.S_IMODE(found.st_mode):04o}); remove it and it is made anew, or change it"
        )


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ListenFailed(
                f"another process is starting or stopping a listener in {directory}; try again"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _clear(path: str) -> None:
    """Remove a stale socket at ``path``; raises ListenFailed for everything else there."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenFailed(f"{path} exists and is not a socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(path)
    if code == errno.ECONNREFUSED:
        os.unlink(path)
    elif code in (0, errno.EAGAIN):
        raise ListenFailed(
            f"{path} is in use: another process is listening there; stop it or choose another path"
        )
    elif code != errno.ENOENT:
        raise ListenFailed(
            f"cannot tell whether {path} is in use ({os.strerror(code)}); remove it if it is not"
        )


def _bind(path: str, group: int | None, mode: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made = False
    try:
        # The new path takes the socket's mode less the umask: never more than asked for.
        os.fchmod(listener.fileno(), mode)
        listener.bind(path)
        made = True
        if group is not None:
            _give_to_group(path, group)
        # Bits that the umask took come back. Nobody can connect before listen.
        os.chmod(path, mode)
        listener.setblocking(False)
        listener.listen(limits.LISTEN_BACKLOG)
    except BaseException:
        listener.close()
        if made:
            os.unlink(path)
        raise
    return listener


def _give_to_group(path: str, group: int) -> None:
    try:
        os.chown(path, -1, group, follow_symlinks=False)
    except PermissionError as error:
        raise ListenFailed(
            f"cannot give {path} to group {group}: this process must be a member of it "
            "(in a pod: supplementalGroups or fsGroup)"
        ) from error


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino
