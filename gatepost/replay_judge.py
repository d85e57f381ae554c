"""Which bundle a recorded decision is put to: one that was given, or the one that it names.

Owns: fetching bundles, each once, holding them against the roots that vouch for them, and keeping
the compiled ones. Refuses: verdicts (``gateway.replay``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from gatepost.central_client import CentralClient
from gatepost.export_file import Unusable
from gatepost.faults import InputOutputError
from gatepost.replay_bundle import Given, check_signed, given_in
from gateway.documents import Envelope
from gateway.errors import DocumentInvalid
from gateway.policy import Policy
from gateway.record import Decision
from gateway.replay import Replay, Replayed

_COMPILED_MAX: Final = 64


class NotKept(Exception):
    """The bundle that a decision names is not to be had, for a cause out of a short list."""


class GivenBundle:
    """Everything is put to ``given``. ``fingerprint``: of root 1; None: signatures do not count.

    Raises Unusable for a plain policy with a fingerprint.
    """

    def __init__(self, given: Given, fingerprint: str | None) -> None:
        if fingerprint is not None and given.envelope is None:
            raise Unusable("--root: a plain policy has no signatures to check")
        self.given: Given | None = given
        self.fingerprint = fingerprint
        self._replay = given.replay

    @property
    def bundles(self) -> int:
        return 1

    def trust(self, chain: Sequence[Envelope]) -> None:
        """Hold the bundle against the roots in ``chain``. Raises Unusable."""
        if self.given is not None and self.given.envelope is not None and self.fingerprint:
            check_signed(self.given.envelope, chain, self.fingerprint)

    def judge(self, decision: Decision) -> Replayed:
        return self._replay.judge(decision)


class OwnBundles:
    """Each decision is put to the bundle that it names, from the policy service of ``client``."""

    def __init__(self, client: CentralClient, fingerprint: str | None) -> None:
        self.given: Given | None = None
        self.fingerprint = fingerprint
        self._client = client
        self._chain: Sequence[Envelope] = ()
        self._digests: set[str] = set()
        self._of = lru_cache(maxsize=_COMPILED_MAX)(self._fetched)
        # A call that met no policy is put to none: every one gives the same.
        self._without = Replay(Policy(grants=[]), None)

    @property
    def bundles(self) -> int:
        return len(self._digests)

    def trust(self, chain: Sequence[Envelope]) -> None:
        """Hold each bundle against the roots in ``chain`` from now on."""
        self._chain = chain

    def judge(self, decision: Decision) -> Replayed:
        """Raises NotKept and Unusable."""
        digest = decision.policy.digest
        if digest is None:
            return self._without.judge(decision)
        given = self._of(digest)
        if given is None:
            raise NotKept("the service does not keep the bundle that decided")
        self._digests.add(digest)
        return given.replay.judge(decision)

    def _fetched(self, digest: str) -> Given | None:
        path = f"/v1/policy/blobs/sha256/{digest.removeprefix('sha256:')}"
        try:
            found = self._client.find(path)
            if found is None:
                return None
            given = given_in(found)
            if given.envelope is None or given.digest != digest:
                raise DocumentInvalid("digest", "is not the bundle that was asked for")
        except (InputOutputError, DocumentInvalid) as error:
            raise Unusable(f"the bundle {digest}: {error}") from error
        if self.fingerprint is not None:
            check_signed(given.envelope, self._chain, self.fingerprint)
        return given


Judge = GivenBundle | OwnBundles
