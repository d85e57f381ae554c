"""The company's credentials for upstreams, read from files.

Owns: reading them, noticing that a file was replaced, and the header each kind stands in.
Refuses: environment variables (every child process and crash dump has them) and telling a key to
anybody: no repr, message or status holds one. The last good key stays in use while its file is
missing or unusable, and the status says so.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final, Literal

import anyio
import msgspec

from gateway import limits
from gateway.errors import ConfigInvalid

CredentialStyle = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key"]
"""Which header carries the key: ``bearer`` is ``Authorization: Bearer``; the others are names."""

_STYLES: Final = frozenset({"bearer", "x-api-key", "api-key", "x-goog-api-key"})
_OTHERS_READ: Final = stat.S_IRGRP | stat.S_IROTH

Headers = tuple[tuple[str, str], ...]


class CredentialFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a key is, and how it is sent."""

    path: str
    style: CredentialStyle


class CredentialStatus(msgspec.Struct, frozen=True):
    """``problem``: why the file's present content is not used; the key before it still is.
    ``warning``: what is wrong, though the key is used."""

    id: str
    path: str
    problem: str | None
    warning: str | None


class Credentials:
    """Credentials by id. Each file is looked at again when used, at most once a second.

    Raises ConfigInvalid if a file holds no usable key at the start: there is no last good one.
    """

    def __init__(self, entries: Mapping[str, CredentialFile]) -> None:
        self._loaded = {name: _Credential(name, entry) for name, entry in entries.items()}
        for credential in self._loaded.values():
            if credential.problem is not None:
                raise ConfigInvalid(
                    f"credential {credential.name!r}: {credential.problem}; the file must hold "
                    "the key alone"
                )

    def __repr__(self) -> str:
        return f"Credentials({sorted(self._loaded)})"

    def headers_for(self, credential_id: str) -> Headers:
        """The header lines that authenticate with ``credential_id``, names in lower case.

        Runs in the event loop and takes its time. Raises KeyError for an id that is not
        configured.
        """
        credential = self._loaded[credential_id]
        now = anyio.current_time()
        if now >= credential.check_at:
            credential.check_at = now + limits.CREDENTIAL_CHECK_SECONDS
            credential.refresh()
        return credential.headers

    def reload(self) -> None:
        """Read every file again now, whether or not it seems to have changed."""
        for credential in self._loaded.values():
            credential.load()

    def status(self) -> tuple[CredentialStatus, ...]:
        """One entry per credential, sorted by id; never a key."""
        return tuple(
            CredentialStatus(
                id=name,
                path=credential.path,
                problem=credential.problem,
                warning=credential.warning,
            )
            for name, credential in sorted(self._loaded.items())
        )


class _Unusable(Exception):
    pass


class _Credential:
    def __init__(self, name: str, entry: CredentialFile) -> None:
        if entry.style not in _STYLES:
            raise ConfigInvalid(f"credential {name!r}: unknown style {entry.style!r}")
        self.name = name
        self.path = entry.path
        self.headers: Headers = ()
        self.problem: str | None = None
        self.warning: str | None = None
        self.check_at = 0.0
        self._style = entry.style
        self._seen: tuple[int, ...] | None = None
        self.load()

    def __repr__(self) -> str:
        return f"_Credential({self.name!r}, {self.path!r})"

    def refresh(self) -> None:
        """Read the file if it is another one or was written since."""
        try:
            if _fingerprint(os.stat(self.path)) == self._seen:
                return
        except OSError as error:
            self._fail(f"{self.path}: {error.strerror}")
            return
        self.load()

    def load(self) -> None:
        try:
            found, key = _read_key(self.path)
        except _Unusable as error:
            self._fail(str(error))
            return
        self._seen = _fingerprint(found)
        self.headers = _headers(self._style, key)
        self.problem = None
        self.warning = (
            f"{self.path} is readable by others (mode {stat.S_IMODE(found.st_mode):04o}); 0600 is "
            "enough"
            if found.st_mode & _OTHERS_READ
            else None
        )

    def _fail(self, problem: str) -> None:
        self.problem = problem
        # Looked at again each time, so that the same file, made readable, is taken.
        self._seen = None


def _read_key(path: str) -> tuple[os.stat_result, str]:
    try:
        # A FIFO put there would otherwise hold up the event loop.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Before reading: what is written meanwhile looks like a change next time.
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise _Unusable(f"{path} is not a regular file")
            data = os.read(descriptor, limits.CREDENTIAL_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _Unusable(f"{path}: {error.strerror}") from error
    key = data.strip(b" \t\r\n")
    if not key:
        raise _Unusable(f"{path} is empty")
    if len(data) > limits.CREDENTIAL_BYTES_MAX:
        raise _Unusable(f"{path} is larger than {limits.CREDENTIAL_BYTES_MAX} bytes")
    if any(byte <= 0x20 or byte >= 0x7F for byte in key):
        raise _Unusable(f"{path} holds spaces, line breaks or bytes that a header can't carry")
    return found, key.decode("ascii")


def _headers(style: CredentialStyle, key: str) -> Headers:
    if style == "bearer":
        return (("authorization", f"Bearer {key}"),)
    return ((style, key),)


def _fingerprint(found: os.stat_result) -> tuple[int, ...]:
    # Times alone are not enough: a mounted Secret is swapped for files with older ones.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
