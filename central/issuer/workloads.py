"""Starts that a platform attests: projected service-account tokens and JWT-SVIDs.

Owns: which platform a token is of, its verification offline by that platform's keys, and the place
that the configuration gives the workload. Refuses: host keys (``attestors.py``), claims
(``gateway.workload_token``) and certificates (``enrolment.py``).

A token is not bound to a nonce and may be used again until it ends: the kubelet replaces it late.
What is bound to the nonce is the new key's own signature.
"""

from __future__ import annotations

from central.config import CentralConfig
from central.errors import Refused
from central.issuer.attestors import Proved
from central.issuer.platform_keys import PlatformKeys
from central.workload_config import ServiceAccountPlace, SpiffePlace
from gateway import token, workload_token
from gateway.documents import Attestation, Enrol
from gateway.errors import IdentityRejected
from gateway.ports import WallClock
from gateway.token import Token


class Workloads:
    """The platforms of one issuer. Raises ConfigInvalid for a key file that cannot be used."""

    def __init__(self, config: CentralConfig, clock: WallClock) -> None:
        self._clock = clock
        self._clusters = {
            one.issuer: (one, PlatformKeys(one, clock)) for one in config.issuer.clusters
        }
        self._domains = {
            one.name: (one, PlatformKeys(one, clock)) for one in config.issuer.trust_domains
        }

    async def attest(self, request: Enrol) -> Proved | None:
        """What a platform's token proves; None where ``request`` is attested another way.

        Raises Refused: ``attestation_not_configured``, ``attestation_invalid``,
        ``attestation_keys_unavailable``, ``wrong_tenant``, ``topology_not_allowed``.
        """
        kind = request.attestation.type
        if kind not in ("k8s_sa", "spiffe_jwt"):
            return None
        if not (self._clusters if kind == "k8s_sa" else self._domains):
            raise Refused("attestation_not_configured", f"attestation type {kind}")
        try:
            found = token.read_token(request.attestation.token)
            if found.algorithm not in workload_token.ALGORITHMS:
                raise IdentityRejected(
                    "token_alg_not_allowed", f"alg is not {' or '.join(workload_token.ALGORITHMS)}"
                )
            if kind == "k8s_sa":
                return await self._service_account(request, found)
            return await self._spiffe(request, found)
        except IdentityRejected as error:
            raise Refused("attestation_invalid", f"{error.code}: {error.detail}") from error

    async def aclose(self) -> None:
        """Close kept connections to the platforms."""
        for _, keys in (*self._clusters.values(), *self._domains.values()):
            await keys.aclose()

    async def _service_account(self, request: Enrol, found: Token) -> Proved:
        # What a token says of its issuer chooses the keys, and is true if they verify it.
        stated = found.claims.get("iss")
        known = self._clusters.get(stated) if isinstance(stated, str) else None
        if known is None:
            raise Refused("attestation_invalid", "iss is no cluster of this issuer")
        cluster, keys = known
        await keys.verify(found)
        workload_token.check_token(found, self._clock.wall_us())
        pod = workload_token.read_service_account(found.claims)
        place = cluster.place_of(pod.namespace, pod.name)
        if place is None:
            raise Refused(
                "attestation_invalid",
                f"service account {pod.namespace}/{pod.name} is not among the workloads of "
                f"cluster {cluster.name}",
            )
        _check_place(request, place)
        return Proved(
            Attestation(
                type="k8s_sa",
                issuer=cluster.issuer,
                subject=pod.subject,
                pod_uid=pod.pod_uid,
                worker=request.attestation.worker,
            ),
            exclusive=True,
        )

    async def _spiffe(self, request: Enrol, found: Token) -> Proved:
        # Its trust domain chooses the keys: a domain speaks for no id but its own.
        spiffe_id = workload_token.read_spiffe_id(found.claims)
        known = self._domains.get(spiffe_id.trust_domain)
        if known is None:
            raise Refused("attestation_invalid", "the trust domain is none of this issuer")
        domain, keys = known
        await keys.verify(found)
        workload_token.check_token(found, self._clock.wall_us())
        place = domain.place_of(spiffe_id.path)
        if place is None:
            raise Refused(
                "attestation_invalid", f"{spiffe_id.text} is not among the workloads of its domain"
            )
        _check_place(request, place)
        return Proved(
            Attestation(
                type="spiffe_jwt",
                issuer=f"spiffe://{domain.name}",
                subject=spiffe_id.text,
                pod_uid=None,
                worker=request.attestation.worker,
            ),
            exclusive=place.exclusive,
        )


def _check_place(request: Enrol, place: ServiceAccountPlace | SpiffePlace) -> None:
    if request.tenant != place.tenant or request.region not in place.regions:
        raise Refused("wrong_tenant", "the workload is meant for another tenant or region")
    if request.topology not in place.topologies:
        raise Refused("topology_not_allowed", f"topology {request.topology}")
