"""A whole set of keys in one place, for development: a key of each role, and root 1 over them.

Owns: which keys there are and in what order they are made. Refuses: production: whoever reads the
directory is everybody at once, and the root says ``custody: development`` to every verifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gatepost.key_file import read_signer, write_secret
from gateway import documents, issuing, root_draft, seal
from gateway.ports import Entropy
from gateway.roots import RoleName

KEY_ROLES: Final[tuple[RoleName, ...]] = (
    "root",
    "issuer",
    "log",
    "policy_head",
    "bundle",
    "revocation",
)
"""In the order in which they are made."""


def key_path(directory: Path, role: str) -> Path:
    """Where the key of ``role`` lies in ``directory``."""
    return directory / f"{role.replace('_', '-')}.key"


def draw(directory: Path, entropy: Entropy) -> None:
    """Make those keys that are not there yet, and the key that wraps digest keys.

    Raises OSError.
    """
    for role in (*KEY_ROLES, "digest_wrap"):
        if not key_path(directory, role).exists():
            write_secret(key_path(directory, role), entropy.bytes(seal.SEED_BYTES))


def write_root(keys: Path, roots: Path, scopes: Sequence[str], now_us: int) -> issuing.Issued:
    """Write root 1 over the keys in ``keys`` as ``1.json`` in ``roots``. Raises OSError,
    InputOutputError, DocumentInvalid."""
    signers = {role: read_signer(key_path(keys, role)) for role in KEY_ROLES}
    holders = {role: signer.public for role, signer in signers.items()}
    document = root_draft.development(holders, scopes, now_us)
    issued = issuing.sign(documents.ROOT, documents.encode(document), [signers["root"]])
    partial = roots / "1.json.new"
    partial.write_bytes(issued.envelope)
    partial.rename(roots / "1.json")
    return issued
