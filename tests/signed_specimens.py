"""One specimen of every signed document that is not a record; ``specimens.py`` has the actors."""

from __future__ import annotations

import base64
from typing import Final

from gateway import documents, seal
from tests import specimens as actors

_ROLE: Final = documents.Role(keyids=[actors.ISSUER.kid], threshold=1)

ROOT: Final = documents.Root(
    spec=1,
    version=1,
    epoch=1,
    custody="development",
    issued=actors.T0,
    expires="2027-11-23T18:00:00.000000Z",
    scopes=["acme"],
    keys={actors.ISSUER.kid: base64.b64encode(actors.ISSUER.public).decode()},
    roles=documents.Roles(
        root=_ROLE, bundle=_ROLE, policy_head=_ROLE, issuer=_ROLE, log=_ROLE, revocation=_ROLE
    ),
)

POLICY_HEAD: Final = documents.PolicyHead(
    spec=1,
    scope="acme",
    epoch=1,
    version=7,
    root_version=1,
    issued=actors.T0,
    expires=actors.T2,
    bundle=documents.BundlePin(version=7, digest=seal.sha256_text(b"the bundle"), length=4_096),
    next=documents.Candidate(
        version=8, digest=seal.sha256_text(b"the next"), length=4_100, percent=10
    ),
    lock=documents.Lock(reason="incident", ticket="INC-1"),
    refresh=documents.Refresh(min_seconds=30, max_seconds=60),
    min_gatepost="0.1.0",
)

CHAIN_HEAD: Final = documents.ChainHead(
    instance=actors.INSTANCE,
    durable_seq=41,
    record_hash=actors.HASH,
    acked_seq=40,
    counters=actors.COUNTERS,
    log_seen=actors.LOG_SEEN,
)

REVOCATION: Final = documents.Revocation(
    kid=actors.SIGNER.kid,
    serial=actors.KEY_CERT.serial,
    reason="key_compromise",
    untrusted_from=actors.T1,
    issued=actors.T2,
)

LOG_STATEMENT: Final = documents.LogStatement(
    closed_origin="store.example/log/acme/eu-west-1/1",
    last_checkpoint="store.example/log/acme/eu-west-1/1\n1234\nqqqq\n",
    opened_origin="store.example/log/acme/eu-west-1/2",
    reason="restored from a backup",
    issued=actors.T2,
)

REQUEST: Final = documents.SignedRequest(
    audience="store.example",
    method="POST",
    path="/v1/records",
    content=seal.sha256_text(b"the body as sent"),
    time=actors.T1,
    sender=documents.RequestSender(instance=actors.INSTANCE, kid=actors.SIGNER.kid),
    of=documents.RequestOf(instance=actors.BEFORE, first_seq=0, last_seq=99),
    log_seen=actors.LOG_SEEN,
)

ENROL: Final = documents.Enrol(
    audience="gatepost-enrol",
    nonce="bm9uY2Utbm9uY2Utbm9uY2Utbm9uY2U=",
    pub=actors.PUB,
    instance=actors.INSTANCE,
    tenant="acme",
    region="eu-west-1",
    topology="sidecar",
    not_before=actors.T0,
    digest_key=base64.b64encode(actors.DIGEST_KEY).decode(),
    attestation=documents.EnrolAttestation(type="k8s_sa", token="eyJ.projected.token", worker=0),
)

PARENT: Final = documents.ParentLink(
    id=actors.ID.format(200),
    instance=actors.BEFORE,
    seq=17,
    record_hash=actors.HASH,
    request_sha256=seal.sha256_text(b"the request body"),
    time=actors.T0,
    hops=1,
)

DOCUMENTS: Final[dict[str, documents.Document]] = {
    documents.KEY_CERT: actors.KEY_CERT,
    documents.ROOT: ROOT,
    documents.POLICY_HEAD: POLICY_HEAD,
    documents.CHAIN_HEAD: CHAIN_HEAD,
    documents.REVOCATION: REVOCATION,
    documents.LOG_STATEMENT: LOG_STATEMENT,
    documents.REQUEST: REQUEST,
    documents.ENROL: ENROL,
    documents.PARENT: PARENT,
}
