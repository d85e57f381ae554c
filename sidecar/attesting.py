"""What a daemon proves its start with: a host key, or a token that its platform gave it.

Owns: the three ways, and reading a platform's token anew at every enrolment, because it is replaced
while the daemon lives. Refuses: judging a token (the issuer does) and talking to the issuer
(``enrol.py``).
"""

from __future__ import annotations

import os
from typing import Final, Literal, Protocol

from gateway import attestation, limits, seal
from gateway.attestation import HostRegistration
from gateway.documents import Enrol
from gateway.errors import DocumentInvalid
from gateway.ports import Disk, Entropy
from sidecar.config import Enrolment
from sidecar.hostkey import load_host_key, read_token
from spool.segment import read_all

TokenKind = Literal["k8s_sa", "spiffe_jwt"]

_NOT_PREPARED: Final = "prepare comes first"


class Attestor(Protocol):
    """One way to prove a start. ``kind``: the attestation's type."""

    kind: str

    async def prepare(self) -> None:
        """Before the first enrolment. Raises ConfigInvalid for what no retry can mend."""

    async def token(self, draft: Enrol) -> str:
        """What proves ``draft``, whose own token is not read. Raises DocumentInvalid
        (``attestation``): there is none now."""

    async def registration(self, tenant: str, region: str) -> HostRegistration | None:
        """What makes an issuer know us that does not, or None. Raises ConfigInvalid."""


class HostKey:
    """``path``: the key, drawn if missing; ``token_path``: a one-time token that registers it."""

    kind = "host_key"

    def __init__(self, disk: Disk, entropy: Entropy, path: str, token_path: str | None) -> None:
        self._disk = disk
        self._entropy = entropy
        self._path = path
        self._token_path = token_path
        self._key: seal.Signer | None = None

    async def prepare(self) -> None:
        self._key = await load_host_key(self._disk, self._path, self._entropy)

    async def token(self, draft: Enrol) -> str:
        assert self._key is not None, _NOT_PREPARED
        return attestation.host_token(draft, self._key)

    async def registration(self, tenant: str, region: str) -> HostRegistration | None:
        assert self._key is not None, _NOT_PREPARED
        if self._token_path is None:
            return None
        token = await read_token(self._disk, self._token_path)
        if token is None:
            return None
        return attestation.register_host(token, self._key, tenant, region)


class PlatformToken:
    """A file that the platform keeps up to date: a projected token, or a JWT-SVID."""

    def __init__(self, disk: Disk, kind: TokenKind, path: str) -> None:
        self.kind: str = kind
        self._disk = disk
        self._path = path

    async def prepare(self) -> None:
        """Nothing: a file that is not there yet may come, and is asked for again."""

    async def token(self, draft: Enrol) -> str:  # noqa: ARG002 - it is bound to no request
        bytes_max = limits.TOKEN_BYTES_MAX
        try:
            # What the kubelet mounts is a symbolic link, and the disk port follows none.
            text = await self._disk.run(
                lambda files: read_all(files, os.path.realpath(self._path), bytes_max + 1)
            )
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        if len(text) > bytes_max:
            raise self._unusable(f"it is longer than {bytes_max} bytes")
        token = text.decode(errors="replace").strip()
        if not token:
            raise self._unusable("it is empty")
        return token

    async def registration(self, tenant: str, region: str) -> HostRegistration | None:  # noqa: ARG002 - as above
        return None

    def _unusable(self, why: str) -> DocumentInvalid:
        return DocumentInvalid("attestation", f"token file {self._path}: {why}")


def attestor_of(enrolment: Enrolment, disk: Disk, entropy: Entropy) -> Attestor | None:
    """What the configuration names, or None where it names nothing."""
    if enrolment.service_account_token_file is not None:
        return PlatformToken(disk, "k8s_sa", enrolment.service_account_token_file)
    if enrolment.spiffe_jwt_file is not None:
        return PlatformToken(disk, "spiffe_jwt", enrolment.spiffe_jwt_file)
    if enrolment.host_key_file is not None:
        return HostKey(disk, entropy, enrolment.host_key_file, enrolment.one_time_token_file)
    return None
