"""A development home: keys, root, policy and configurations of a one-machine set-up.

Owns: making it once, in order (the keys, the tokens, the policy, and last root 1 with custody
``development``), and reading it again. Refuses: production:
every key lies on one disk, and the root says so to everybody who verifies.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

import msgspec

from gatepost import key_set
from gatepost.faults import InputOutputError
from gatepost.key_file import read_signer, write_private
from gateway import issuing, policy, seal
from gateway.errors import DocumentInvalid
from gateway.ports import Entropy

TENANT: Final = "acme"
REGION: Final = "local"
SCOPE: Final = "acme/dev"
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
        self.auditor_token = self.keys / "auditor.token"
        self.one_time_token = self.keys / "one-time.token"
        self.host_key = self.keys / "host.key"
        self.policy_json = self.directory / "policy.json"

    def key_file(self, role: str) -> Path:
        """Where the key of ``role`` lies."""
        return key_set.key_path(self.keys, role)

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
        key_set.draw(self.keys, entropy)
        self.draw_tokens(entropy)
        if not self.policy_json.exists():
            self.policy_json.write_bytes(policy_text)
        key_set.write_root(self.keys, self.roots, [SCOPE], now_us)

    def draw_tokens(self, entropy: Entropy) -> None:
        """Make those tokens that are not there: homes of older versions lack some. Raises
        OSError."""
        for token in (self.operator_token, self.one_time_token, self.auditor_token):
            if not token.exists():
                write_private(token, base64.urlsafe_b64encode(entropy.bytes(24)))

    def signer(self, role: str) -> seal.Signer:
        """The key of ``role``. Raises InputOutputError."""
        return read_signer(self.key_file(role))

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
