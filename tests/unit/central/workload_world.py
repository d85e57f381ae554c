"""An issuer that knows a cluster and a trust domain, and tokens as those would sign them.

Tokens are made with the primitives, so that a header or payload can be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from central.config import IssuerSettings
from central.workload_config import Cluster, ServiceAccountPlace, SpiffePlace, TrustDomain
from gateway import documents, seal
from gateway.attestation import EnrolAnswer
from gateway.documents import EnrolAttestation, KeyCert
from tests.unit.central.deployment import ISSUER_KEY, NOW_US, REGION, TENANT, Daemon, Deployment
from tests.unit.gateway import token_factory as make

ISSUERS: Final = {ISSUER_KEY.kid: ISSUER_KEY.public}
CLUSTER: Final = "https://kubernetes.default.svc.cluster.local"
DOMAIN: Final = "prod.example.org"
NOW: Final = NOW_US // 1_000_000
POD_UID: Final = "0f3e1c1e-6c2b-4a53-9a3a-8d0f6a1b2c3d"
SPIFFE_ID: Final = f"spiffe://{DOMAIN}/ns/agents/sa/claims-bot"


def settings(directory: Path) -> IssuerSettings:
    """Key files and configuration; the trust domain's set holds keys for X.509 too, as SPIRE's."""
    (directory / "cluster.json").write_bytes(make.jwks("rsa-cluster", "ec-cluster"))
    svid = make.jwk("ec-domain", use="jwt-svid")
    tls = make.jwk("ec-domain-tls", use="x509-svid")
    bundle = {"keys": [tls, svid], "spiffe_sequence": 7, "spiffe_refresh_hint": 300}
    (directory / "domain.json").write_bytes(make.as_json(bundle))
    return IssuerSettings(
        clusters=[
            Cluster(
                name="prod",
                issuer=CLUSTER,
                jwks_file=str(directory / "cluster.json"),
                workloads=[
                    ServiceAccountPlace(
                        namespace="agents",
                        service_account="claims-bot",
                        tenant=TENANT,
                        regions=[REGION],
                        topologies=("sidecar", "regional"),
                    ),
                    ServiceAccountPlace(
                        namespace="agents",
                        service_account="foreign",
                        tenant="globex",
                        regions=["us-east-1"],
                    ),
                ],
            )
        ],
        trust_domains=[
            TrustDomain(
                name=DOMAIN,
                jwks_file=str(directory / "domain.json"),
                workloads=[
                    SpiffePlace(path_prefix="/ns/agents", tenant=TENANT, regions=[REGION]),
                    SpiffePlace(
                        path_prefix="/ns/agents/single",
                        tenant=TENANT,
                        regions=[REGION],
                        exclusive=True,
                    ),
                    SpiffePlace(
                        path_prefix="/ns/agents/foreign", tenant="globex", regions=["us-east-1"]
                    ),
                ],
            )
        ],
    )


def pod_claims(**changes: object) -> dict[str, object]:
    """Claims of a projected token, as the API server writes them; None leaves one out."""
    full: dict[str, object] = {
        "aud": ["gatepost-enrol"],
        "exp": NOW + 3_600,
        "iat": NOW - 10,
        "iss": CLUSTER,
        "jti": "6f5ea3e1-0f6d-4e6b-9d6b-2f6d8f1f4b0c",
        "kubernetes.io": kubernetes(),
        "nbf": NOW - 10,
        "sub": "system:serviceaccount:agents:claims-bot",
        **changes,
    }
    return {name: value for name, value in full.items() if value is not None}


def kubernetes(**changes: object) -> dict[str, object]:
    full: dict[str, object] = {
        "namespace": "agents",
        "node": {"name": "node-7", "uid": "1f3e1c1e-6c2b-4a53-9a3a-8d0f6a1b2c3d"},
        "pod": {"name": "claims-bot-5d7f9", "uid": POD_UID},
        "serviceaccount": {"name": "claims-bot", "uid": "2f3e1c1e-6c2b-4a53-9a3a-8d0f6a1b2c3d"},
        **changes,
    }
    return {name: value for name, value in full.items() if value is not None}


def pod_token(
    claims: Mapping[str, object] | None = None, key: str = "rsa-cluster", algorithm: str = "RS256"
) -> str:
    """A token as the API server signs it, with ``claims`` in place of its own."""
    return make.token(pod_claims(**(claims or {})), key, algorithm, {"typ": None})


def svid_claims(**changes: object) -> dict[str, object]:
    full: dict[str, object] = {
        "sub": SPIFFE_ID,
        "aud": ["gatepost-enrol"],
        "exp": NOW + 300,
        "iat": NOW - 10,
        **changes,
    }
    return {name: value for name, value in full.items() if value is not None}


def svid(claims: Mapping[str, object] | None = None) -> str:
    """A JWT-SVID as SPIRE signs it, with ``claims`` in place of its own."""
    return make.token(svid_claims(**(claims or {})), "ec-domain", "ES256", {"typ": "JWT"})


def ask(
    daemon: Daemon, kind: str, token: str, worker: int = 0, **changes: object
) -> tuple[int, Any]:
    """(status, answer) of an enrolment by a platform's token; the answer is its code or itself."""
    attested = EnrolAttestation(type=kind, token=token, worker=worker)
    request = daemon.enrolment(daemon.nonce(), attestation=attested, **changes)
    body = documents.encode(daemon.signer.sign_document(documents.ENROL, request))
    answer = daemon.deployment.http.post("/v1/enrol", content=body)
    if answer.status_code != 201:
        return answer.status_code, answer.json()["error"]["code"]
    return 201, msgspec.json.decode(answer.content, type=EnrolAnswer)


def certificate(answer: EnrolAnswer) -> KeyCert:
    return seal.open_certificate(answer.certificate, ISSUERS)


def message(daemon: Daemon, kind: str, token: str) -> str:
    """What the service says to a refused enrolment."""
    attested = EnrolAttestation(type=kind, token=token, worker=0)
    request = daemon.enrolment(daemon.nonce(), attestation=attested)
    body = documents.encode(daemon.signer.sign_document(documents.ENROL, request))
    answer = daemon.deployment.http.post("/v1/enrol", content=body)
    return str(answer.json()["error"]["message"])


def deployment(directory: Path) -> Deployment:
    return Deployment(directory, ["issuer"], issuer=settings(directory))
