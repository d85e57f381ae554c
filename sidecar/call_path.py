"""What a daemon needs to serve calls, and one that only ships does not.

Owns: building the call path (credentials, classifier, token keys, upstream connections) and the
``World`` that an exchange sees. Refuses: listening (``doors.py``), and what every daemon is made
of (``parts.py``).
"""

from __future__ import annotations

from typing import Final

from gateway import limits
from gateway.call import Head, Peer, Principal
from gateway.io.credentials import CredentialFile, Credentials
from gateway.io.upstream import UpstreamPool
from gateway.lineage import Lineage
from gateway.rate import KeyedBuckets
from gateway.routes import RouteTable
from gateway.world import World
from sidecar.classifying import Classifying, load_classifier
from sidecar.config import SidecarConfig
from sidecar.eventlog import EventLog
from sidecar.keyfiles import KeyFiles
from sidecar.outside import Outside
from sidecar.parts import Parts
from sidecar.pseudonym_key import read_pseudonym_key
from sidecar.route_config import built_routes

_KEYS_MAX: Final = 4_096
"""Callers and agents that a rate limit remembers one by one."""


class CallPath:
    """Credentials, classifier, token keys and upstreams; ``load`` makes one."""

    def __init__(
        self, config: SidecarConfig, outside: Outside, log: EventLog, classifying: Classifying
    ) -> None:
        self.credentials = Credentials(
            {entry.id: CredentialFile(entry.file, entry.style) for entry in config.credentials}
        )
        self.keys = KeyFiles(config.identity, log, watch=outside.threads)
        self._upstreams = UpstreamPool(outside.network.upstreams)
        self._routes = RouteTable(built_routes(config.upstreams, config.routes))
        self._classifying = classifying
        self._pseudonym_key = read_pseudonym_key(config.pseudonyms.key_file)

    @classmethod
    async def load(cls, config: SidecarConfig, outside: Outside, log: EventLog) -> CallPath:
        """Read what the configuration names. Raises ConfigInvalid."""
        classifier = await load_classifier(config.classification, threads=outside.threads)
        return cls(config, outside, log, Classifying(classifier, outside.threads))

    def world(self, parts: Parts) -> World:
        """What an exchange of the daemon made of ``parts`` sees."""

        def identify(peer: Peer, head: Head, now_us: int) -> Principal:
            return self.keys.current.identify(peer, head, now_us)

        def credentials(credential_id: str | None) -> tuple[tuple[str, str], ...]:
            return () if credential_id is None else self.credentials.headers_for(credential_id)

        return World(
            routes=self._routes,
            identify=identify,
            classify=self._classifying.classify,
            analyse=self._classifying.analyse,
            policy=parts.policy.current,
            signed_time_us=parts.policy.signed_time_us,
            log=parts.spool,
            upstreams=self._upstreams,
            credentials=credentials,
            scribe=parts.scribe,
            tally=parts.tally,
            decided=parts.decided,
            in_flight=parts.in_flight,
            clock=parts.outside.clock,
            lineage=Lineage(parts.issuer_keys),
            parent_header=parts.instance.parent_header,
            identity_failures=KeyedBuckets(
                limits.IDENTITY_FAILURES_PER_SECOND_MAX,
                limits.IDENTITY_FAILURES_PER_SECOND_MAX,
                _KEYS_MAX,
            ),
            denials=KeyedBuckets(
                limits.DENIALS_PER_SECOND_MAX, limits.DENIALS_BURST_MAX, _KEYS_MAX
            ),
            report=parts.log.fault,
            overhead_header=parts.config.overhead_header,
            pseudonym_key=self._pseudonym_key,
        )

    async def aclose(self) -> None:
        """Close idle connections to upstreams."""
        await self._upstreams.aclose()
