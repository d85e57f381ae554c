"""One specimen of every record kind and signed document, with the same made-up actors throughout.

Golden files are made from these, so a changed value here is a changed golden file.
"""

from __future__ import annotations

import base64
from typing import Final

from gateway import documents, record, seal
from gateway.documents import Counters, LogSeen
from gateway.record import Chain

SIGNER: Final = seal.Signer(bytes(range(32)))
"""The instance key of every golden file: signatures are deterministic, so they are stable."""
ISSUER: Final = seal.Signer(bytes(range(1, 33)))
DIGEST_KEY: Final = bytes(range(2, 34))

INSTANCE: Final = "ajnc4cq5yi53ukxsvvfqzmmvjy"
BEFORE: Final = "z2v3y5rfuhc4r6dqm2yomt3kqe"
ID: Final = "019a0c6e-9d00-7abc-8def-0123456789{:02x}"
T0: Final = "2026-11-23T18:00:00.000000Z"
T1: Final = "2026-11-23T18:00:01.250000Z"
T2: Final = "2026-11-24T18:00:00.000000Z"
HASH: Final = seal.sha256_text(b"an earlier record")
KEYED: Final = seal.keyed_digest(DIGEST_KEY, b"what is the refund policy?")
PUB: Final = base64.b64encode(SIGNER.public).decode()

CLOCK: Final = record.Clock(
    source="synchronised", err_ms=3, mono_us=86_400_000_000, boot_id="5f3f1c6e-boot"
)
COUNTERS: Final = Counters(
    decisions={"allow": 41, "deny": 1},
    completions={"ok": 40, "client_abort": 1},
    turned_away={"unknown_route": {"agent": 2}},
)
LOG_SEEN: Final = LogSeen(
    origin="store.example/log/acme/eu-west-1/1",
    size=1234,
    root="qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=",
)

KEY_CERT: Final = documents.KeyCert(
    serial="019a0c6e-0000-7000-8000-000000000001",
    kid=SIGNER.kid,
    pub=PUB,
    instance=INSTANCE,
    tenant="acme",
    region="eu-west-1",
    topology="sidecar",
    issued=T0,
    not_before=T0,
    not_after=T2,
    attestation=documents.Attestation(
        type="k8s_sa",
        issuer="https://kubernetes.default.svc",
        subject="system:serviceaccount:claims:claims-bot",
        pod_uid="3c1b7e0e-4f0f-4c57-9d6d-1d1d0c1b2a39",
        worker=0,
    ),
    issuer_kid=ISSUER.kid,
)
CERTIFICATE: Final = ISSUER.sign_document(documents.KEY_CERT, KEY_CERT)
NEXT_SIGNER: Final = seal.Signer(bytes(range(3, 35)))


def _chain(seq: int) -> Chain:
    prev = seal.sha256_text(SIGNER.public) if seq == 0 else HASH
    return Chain(instance=INSTANCE, seq=seq, prev=prev, kid=SIGNER.kid)


START: Final = record.Start(
    v=1,
    kind="start",
    id=ID.format(0),
    tenant="acme",
    region="eu-west-1",
    chain=_chain(0),
    topology="sidecar",
    time=record.Started(started=T0, clock=CLOCK),
    pub=PUB,
    certificate=CERTIFICATE,
    config_digest=seal.sha256_text(b"the configuration"),
    build="gatepost 0.1.0",
    continues=record.Continues(instance=BEFORE, seq=99, record_hash=HASH),
    continues_reason=None,
)

DECISION: Final = record.Decision(
    v=1,
    kind="decision",
    id=ID.format(1),
    tenant="acme",
    region="eu-west-1",
    chain=_chain(1),
    topology="sidecar",
    time=record.Decided(decided=T1, clock=CLOCK),
    person=record.Person(
        id="alice@acme.example",
        iss="https://id.acme.example",
        token_id="jti-42",
        assurance="delegated",
    ),
    agent=record.Agent(
        id="claims-bot",
        attested_by="uds_uid",
        name="claimed:ClaimsBot",
        version=None,
        session="claimed:s-7",
    ),
    authz=record.Authz(
        roles=["adjuster"], scopes=["claims.read", "claims.write"], delegation=["claims-bot"]
    ),
    data=record.Data(
        level="confidential",
        categories=["pci.card", "pii.email"],
        completeness="full",
        classifier="builtin@1",
    ),
    policy=record.Policy(
        scope="acme",
        version=7,
        digest=seal.sha256_text(b"the bundle"),
        state="fresh",
        age_ms=1250,
        engine="table/1",
        shadow=None,
    ),
    model=record.Model(
        provider="openai",
        requested="gpt-4.1",
        operation="chat",
        route="openai",
        upstreams=[
            record.UpstreamRef(name="openai-eu", region="eu-west-1", credential_id="openai-key")
        ],
        tool=None,
        tool_server=None,
        tool_call_id=None,
        hosted_tools=[],
        references=["file-abc"],
    ),
    decision=record.Ruling(
        outcome="allow",
        stage="request",
        reason="granted",
        rules=["allow-chat"],
        unknown_rules=["deny-outside-hours"],
        obligations=["redact:pci.card"],
        status=None,
        commit="before_forward",
        fail_open=False,
    ),
    facts=record.Facts(
        inputs={
            "args.amount": record.Number(num="12.50"),
            "args.count": 3,
            "args.currency": "EUR",
            "args.dry_run": False,
            "args.note": KEYED,
            "args.tags": ["urgent", "vip"],
            "args.ticket": None,
        },
        results="pgI",
    ),
    absent=[
        record.Absent(path="agent.version", reason="not_stated"),
        record.Absent(path="model.tool", reason="not_applicable"),
        record.Absent(path="model.tool_server", reason="not_applicable"),
        record.Absent(path="model.tool_call_id", reason="not_applicable"),
        record.Absent(path="policy.shadow", reason="not_applicable"),
    ],
    cut=[record.Cut(path="agent.session", length=4096, digest=KEYED)],
    digest=record.DecisionDigest(request=KEYED, forwarded=KEYED, input=KEYED),
    parent=record.Parent(
        id=ID.format(200),
        instance=BEFORE,
        seq=17,
        record_hash=HASH,
        request_sha256=seal.sha256_text(b"the request body"),
        time=T0,
        hops=1,
    ),
    trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ext={"ticket": "INC-1", "weight": 2},
)

COMPLETION: Final = record.Completion(
    v=1,
    kind="completion",
    id=ID.format(2),
    tenant="acme",
    region="eu-west-1",
    chain=_chain(2),
    of=DECISION.id,
    outcome="ok",
    time=record.Ended(ended=T1),
    upstream="openai-eu",
    attempts=[
        record.Attempt(
            upstream="openai-eu",
            region="eu-west-1",
            status=None,
            code="upstream_unreachable",
            latency_us=900,
        ),
        record.Attempt(
            upstream="openai-eu", region="eu-west-1", status=200, code=None, latency_us=412_000
        ),
    ],
    served="gpt-4.1-2025-04-14",
    usage=record.Usage(input=21, output=11, cache_read=0, cache_creation=None, reasoning=None),
    finish_reasons=["stop"],
    upstream_request_id="req_0123456789",
    status=200,
    latency_us=record.Latency(
        policy=40, classify=210, commit=2_900, upstream=412_000, first_byte=180_000, total=416_000
    ),
    bytes=record.Bytes(in_=512, out=2_048),
    digest=record.CompletionDigest(request=None, response=KEYED),
    cut=[],
)

HEARTBEAT: Final = record.Heartbeat(
    v=1,
    kind="heartbeat",
    id=ID.format(3),
    tenant="acme",
    region="eu-west-1",
    chain=_chain(3),
    durable_seq=2,
    record_hash=HASH,
    acked_seq=1,
    counters=COUNTERS,
    log_seen=LOG_SEEN,
    certificate=CERTIFICATE,
)

ROTATE: Final = record.Rotate(
    v=1,
    kind="rotate",
    id=ID.format(4),
    tenant="acme",
    region="eu-west-1",
    chain=_chain(4),
    next_kid=NEXT_SIGNER.kid,
    next_certificate=CERTIFICATE,
)

RECOVERED: Final = record.Recovered(
    v=1,
    kind="recovered",
    id=ID.format(5),
    tenant="acme",
    region="eu-west-1",
    chain=_chain(5),
    instance=BEFORE,
    last_seq=99,
    last_hash=HASH,
    cut_bytes=512,
    ambiguous=True,
    damaged=[record.DamagedRange(first_seq=40, last_seq=41)],
    quarantined=[
        record.Quarantined(
            file="0000000000000040.seg", length=1_024, digest=seal.sha256_text(b"damaged bytes")
        )
    ],
)

SEAL: Final = record.Seal(
    v=1,
    kind="seal",
    id=ID.format(6),
    tenant="acme",
    region="eu-west-1",
    chain=_chain(6),
    counters=COUNTERS,
)

ADMIN: Final = record.Admin(
    v=1,
    kind="admin",
    id=ID.format(7),
    tenant="acme",
    region="eu-west-1",
    chain=_chain(7),
    who="auditor@acme.example",
    what="export",
    why="quarterly review Q4",
    parameters={"from": T0, "to": T2},
    range="0-1233",
)

RECORDS: Final[dict[str, record.Record]] = {
    one.kind: one
    for one in (START, DECISION, COMPLETION, HEARTBEAT, ROTATE, RECOVERED, SEAL, ADMIN)
}
