"""The log of a small store: leaves, signed checkpoints and proofs, all real.

Owns: giving out places and proving them. Refuses: what a store keeps or refuses.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from gateway import checkpoint, merkle
from gateway.acknowledgement import LogKeys
from gateway.checkpoint import Checkpoint
from gateway.logproof import Entry, LeafType
from gateway.roots import RoleKeys
from gateway.seal import Signer
from gateway.shipping import ShipRun

TENANT_REGION: Final = ("acme", "eu")
LOG_KEY: Final = Signer(b"l" * 32)
KEYS: Final = LogKeys(
    log=RoleKeys({LOG_KEY.kid: LOG_KEY.public}, 1),
    revocation=RoleKeys({LOG_KEY.kid: LOG_KEY.public}, 1),
)


class ShipLog:
    """``places``: (instance, seq, hash, leaf type) → leaf index."""

    def __init__(self, number: int = 1) -> None:
        self.origin = checkpoint.origin("log.example", *TENANT_REGION, number)
        self.places: dict[tuple[str, int, str, int], int] = {}
        self._frontier = merkle.Frontier()
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._arrived: dict[int, int] = {}

    def add(self, instance: str, seq: int, digest: str, kind: LeafType, now_us: int) -> None:
        """Give the record a leaf, unless it has one."""
        key = (instance, seq, digest, int(kind))
        if key in self.places:
            return
        self.places[key] = index = self._frontier.size
        self._arrived[index] = now_us
        raw = bytes.fromhex(digest.removeprefix("sha256:"))
        for level, at, node in self._frontier.append(Entry(kind, now_us, raw).leaf_hash()):
            self._nodes[level, at] = node

    def runs(
        self, came: Sequence[tuple[str, int, str]], kinds: dict[int, LeafType]
    ) -> list[ShipRun]:
        """A run for each record that came: more of them than a store would send, and as true."""
        return [self._run(*one, kinds.get(one[1], LeafType.RECORD)) for one in came]

    def _run(self, instance: str, seq: int, digest: str, kind: LeafType) -> ShipRun:
        index = self.places[instance, seq, digest, int(kind)]
        proof = merkle.range_proof(index, 1, self._frontier.size, self._at)
        return ShipRun(seq, seq, index, self._arrived[index], _texts(proof))

    def note(self) -> str:
        """The newest checkpoint, signed."""
        found = Checkpoint(self.origin, self._frontier.size, self._frontier.root())
        return checkpoint.write(found, [LOG_KEY]).encode()

    def consistency(self, old: int) -> list[str]:
        """What leads from ``old`` leaves to the newest checkpoint."""
        if old > self._frontier.size:
            return []
        return _texts(merkle.consistency_proof(old, self._frontier.size, self._at))

    def _at(self, level: int, index: int) -> bytes:
        return self._nodes[level, index]


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in hashes]
