"""The files that central services trust: key seeds and root documents.

Owns: reading them, with the checks that make a leaked or swapped file fail at start. Refuses:
creating keys (``gatepost keys`` and ``gatepost up`` do) and holding more than the service needs.
"""

from __future__ import annotations

import os
import stat

from gateway import documents, limits, roots, seal
from gateway.documents import Root
from gateway.errors import ConfigInvalid, DocumentInvalid


def read_secret(path: str, what: str) -> bytes:
    """The 32 bytes in ``path``, base64, one line. Raises ConfigInvalid.

    Refused: a missing or malformed file, a symbolic link, and one that others may read; see
    ``lets_others_in``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigInvalid(f"{what} key {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        text = file.read(256)
    if not stat.S_ISREG(status.st_mode):
        raise ConfigInvalid(f"{what} key {path}: not a regular file")
    if lets_others_in(status, os.geteuid(), os.getegid()):
        raise ConfigInvalid(
            f"{what} key {path}: mode {stat.S_IMODE(status.st_mode):04o} lets others in; "
            f"chmod 600 it, and replace the key if anybody may have read it"
        )
    try:
        secret = seal.unbase64(text.decode("ascii", "replace").strip(), "key")
    except DocumentInvalid as error:
        raise ConfigInvalid(f"{what} key {path}: {error.detail}") from error
    if len(secret) != seal.SEED_BYTES:
        raise ConfigInvalid(f"{what} key {path}: {len(secret)} bytes, wanted {seal.SEED_BYTES}")
    return secret


def lets_others_in(status: os.stat_result, user: int, group: int) -> bool:
    """Whether anybody but this process, of ``user`` and ``group``, may read or change the file.

    A file of root's that this group alone may read is how an orchestrator hands a secret to a
    process that is not root (a Kubernetes Secret under ``fsGroup``), which cannot own it.
    """
    handed = user != 0 and status.st_uid == 0 and status.st_gid == group
    allowed = 0o740 if handed else 0o700
    return bool(stat.S_IMODE(status.st_mode) & 0o777 & ~allowed)


def read_signer(path: str | None, what: str) -> seal.Signer:
    """The signing key in ``path``. Raises ConfigInvalid, also where no path is configured."""
    if path is None:
        raise ConfigInvalid(f"keys.{what}: this service signs with it, and no file is named")
    return seal.Signer(read_secret(path, what))


class RootFiles:
    """The verified chain of roots in a directory (``1.json`` … ``N.json``)."""

    def __init__(self, directory: str, pinned: str | None) -> None:
        """Raises ConfigInvalid: no root, a gap, or one that does not chain."""
        self._files: list[bytes] = []
        while True:
            data = _read_optional(os.path.join(directory, f"{len(self._files) + 1}.json"))
            if data is None:
                break
            self._files.append(data)
        if not self._files:
            raise ConfigInvalid(f"roots_directory {directory}: there is no 1.json")
        try:
            self.envelopes = [seal.parse_envelope(data) for data in self._files]
            first = seal.unbase64(self.envelopes[0].payload, "unreadable")
            self.fingerprint = roots.fingerprint(first)
            self.chain = roots.walk(self.envelopes, pinned or self.fingerprint)
        except DocumentInvalid as error:
            raise ConfigInvalid(f"roots_directory {directory}: {error}") from error

    @property
    def current(self) -> Root:
        return self.chain[-1]

    def file(self, version: int) -> bytes | None:
        """The bytes of root ``version``, or None if there is no such root."""
        return self._files[version - 1] if 1 <= version <= len(self._files) else None

    def role(self, role: roots.RoleName) -> roots.RoleKeys:
        """The keys of ``role`` in the newest root."""
        return roots.role_keys(self.current, role)

    def require(self, signer: seal.Signer, role: roots.RoleName) -> None:
        """Raise ConfigInvalid unless the newest root lets ``signer`` act in ``role``."""
        if signer.kid not in self.role(role).keys:
            raise ConfigInvalid(f"keys.{role}: the root does not give {signer.kid} the role {role}")

    def require_offline(self) -> None:
        """Raise ConfigInvalid unless the newest root says that its keys are held offline."""
        if self.current.custody != "offline":
            raise ConfigInvalid(
                f"require_offline_root: root {self.current.version} says custody "
                f"{self.current.custody}: one operator holds every key, the root's included; make "
                "one with several people (gatepost keys init FILE), or turn the setting off where "
                "nothing rests on it"
            )

    def exact_envelopes(self) -> list[bytes]:
        """Each root as the exact encoding of its envelope: lines of an export, no newline."""
        return [documents.encode(envelope) for envelope in self.envelopes]


def _read_optional(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            data = file.read(limits.POLICY_ROOT_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigInvalid(f"root {path}: {error.strerror}") from error
    if len(data) > limits.POLICY_ROOT_BYTES_MAX:
        raise ConfigInvalid(f"root {path}: over {limits.POLICY_ROOT_BYTES_MAX} bytes")
    return data
