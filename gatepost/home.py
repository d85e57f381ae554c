"""A development home: keys, root, policy and configurations of a one-machine set-up.

Owns: making it once, in order (root, issuer, log, policy-head and bundle keys; the root document
with custody ``development``; the configurations), and reading it again. Refuses: production:
every key lies on one disk, and the root says so to everybody who verifies.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from gatepost.faults import InputOutputError
from gateway import issuing, policy, seal
from gateway.errors import DocumentInvalid
from gateway.ports import Entropy

TENANT: Final = "acme"
REGION: Final = "local"
SCOPE: Final = "acme/dev"
KEY_ROLES: Final = ("root", "issuer", "log", "policy_head", "bundle")
"""In the order in which they are made."""

_YEAR_US: Final = 365 * 24 * 3600 * 1_000_000
BUNDLE_LIFE_US: Final = 90 * 24 * 3600 * 1_000_000
"""How long a published policy holds; `gatepost up` publishes it again before that."""


class Home:
    """Paths of a development home. ``make`` fills an empty one; an existing one is kept."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.keys = self.directory / "keys"
        self.roots = self.directory / "roots"
        self.logs = self.directory / "logs"
        self.central_toml = self.directory / "central.toml"
        self.sidecar_toml = self.directory / "sidecar.toml"
        self.agent_socket = self.directory / "run" / "agent" / "agent.sock"
        self.admin_socket = self.directory / "run" / "admin" / "admin.sock"
        self.operator_token = self.keys / "operator.token"
        self.one_time_token = self.keys / "one-time.token"
        self.host_key = self.keys / "host.key"
        self.policy_json = self.directory / "policy.json"

    def key_file(self, role: str) -> Path:
        """Where the key of ``role`` lies."""
        return self.keys / f"{role.replace('_', '-')}.key"

    @property
    def made(self) -> bool:
        """Whether ``make`` finished here before: the root is written last."""
        return (self.roots / "1.json").exists()

    def make(self, entropy: Entropy, now_us: int, policy_text: bytes) -> None:
        """Draw keys and write root and policy. Raises InputOutputError."""
        try:
            self._make(entropy, now_us, policy_text)
        except OSError as error:
            raise InputOutputError(f"{self.directory}: {error.strerror}") from error

    def _make(self, entropy: Entropy, now_us: int, policy_text: bytes) -> None:
        for directory in (self.directory, self.keys, self.roots, self.logs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        (self.directory / "run").mkdir(mode=0o755, exist_ok=True)
        for role in KEY_ROLES:
            _write_secret(self.key_file(role), entropy.bytes(seal.SEED_BYTES))
        _write_secret(self.key_file("digest_wrap"), entropy.bytes(32))
        for token in (self.operator_token, self.one_time_token):
            _write_private(token, base64.urlsafe_b64encode(entropy.bytes(24)))
        if not self.policy_json.exists():
            self.policy_json.write_bytes(policy_text)
        root = self._root(now_us)
        partial = self.roots / "1.json.new"
        partial.write_bytes(root.envelope)
        partial.rename(self.roots / "1.json")

    def _root(self, now_us: int) -> issuing.Issued:
        signers = {role: self.signer(role) for role in KEY_ROLES}
        # Revocations and log statements want a key apart from the log's; the root key serves here.
        roles = {role: issuing.role([signer]) for role, signer in signers.items()}
        roles["revocation"] = issuing.role([signers["root"]])
        return issuing.build_root(
            version=1,
            epoch=1,
            custody="development",
            issued_us=now_us,
            expires_us=now_us + _YEAR_US,
            scopes=[SCOPE],
            keys={
                signer.kid: base64.b64encode(signer.public).decode() for signer in signers.values()
            },
            roles=roles,
            signers=[signers["root"]],
        )

    def signer(self, role: str) -> seal.Signer:
        """The key of ``role``. Raises InputOutputError."""
        path = self.key_file(role)
        try:
            return seal.Signer(base64.b64decode(path.read_text()))
        except OSError as error:
            raise InputOutputError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise InputOutputError(f"{path} is not a key: {error}") from error

    @property
    def root_fingerprint(self) -> str:
        """What a daemon and a verifier pin: SHA-256 of root 1's payload."""
        sealed = seal.parse_envelope((self.roots / "1.json").read_bytes())
        return seal.sha256_text(base64.b64decode(sealed.payload))

    def bundle(self, version: int, now_us: int) -> issuing.Issued:
        """The policy in ``policy.json``, compiled, self-tested and signed as ``version``.

        Raises InputOutputError with the place of the error.
        """
        try:
            return self._bundle(
                policy.decode_policy(self.policy_json.read_bytes()), version, now_us
            )
        except DocumentInvalid as error:
            raise InputOutputError(f"{self.policy_json}: {error.detail}") from error
        except OSError as error:
            raise InputOutputError(f"{self.policy_json}: {error.strerror}") from error

    def _bundle(self, content: policy.Policy, version: int, now_us: int) -> issuing.Issued:
        return issuing.build_bundle(
            content,
            scope=SCOPE,
            epoch=1,
            version=version,
            issued_us=now_us,
            not_before_us=now_us,
            expires_us=now_us + BUNDLE_LIFE_US,
            source=None,
            signers=[self.signer("bundle")],
        )

    def token_sha256(self, path: Path) -> str:
        """Hex digest of the token in ``path``, as configurations hold it."""
        return hashlib.sha256(path.read_bytes().strip()).hexdigest()


def toml_text(value: str | Path) -> str:
    """``value`` as a TOML basic string; JSON's escapes are a subset of TOML's."""
    return msgspec.json.encode(str(value)).decode()


def _write_secret(path: Path, secret: bytes) -> None:
    _write_private(path, base64.b64encode(secret))


def _write_private(path: Path, data: bytes) -> None:
    """Write ``path``, 0600, unless it is there; an interrupted one leaves no part of it."""
    if path.exists():
        return
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data + b"\n")
    partial.rename(path)
