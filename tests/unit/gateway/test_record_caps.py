"""The largest record that the caps allow fits the bytes reserved for it, for every kind.

Caps count bytes of JSON text, so a value made of escapes is no larger than one of letters. Where
a member may be null, the larger of the two is taken: its longest value, or null with the entry in
``absent`` that explains it.
"""

from __future__ import annotations

import base64
from typing import get_args

import msgspec
import pytest
from msgspec import inspect

from gateway import documents, limits, record, seal
from gateway import vocabulary as words
from gateway.cutting import json_bytes
from gateway.errors import CODES

INTEGER = -limits.JSON_INTEGER_MAX
UUID = "019a0c6e-9d00-7abc-8def-0123456789ab"
INSTANCE = "a" * 26
TIME = "2026-11-23T18:00:00.000000Z"
HASH = "sha256:" + "f" * 64
KEYED = "hmac-sha256:" + "f" * 64
KID = "ed25519:" + "f" * 64
PUB = base64.b64encode(bytes(32)).decode()


def text(bytes_max: int) -> str:
    """A value whose JSON text takes exactly ``bytes_max`` bytes, most of them escapes."""
    value = "\x01" * (bytes_max // 6) + "x" * (bytes_max % 6)
    assert json_bytes(value) == bytes_max
    return value


def longest(known: object) -> str:
    assert isinstance(known, frozenset | tuple)
    return str(max(known, key=len))


NAME = text(limits.NAME_BYTES_MAX)
CHAIN = record.Chain(instance=INSTANCE, seq=INTEGER, prev=HASH, kid=KID)
CLOCK = record.Clock(
    source=longest(words.CLOCK_SOURCES), err_ms=INTEGER, mono_us=INTEGER, boot_id=UUID
)
CERTIFICATE_PAYLOAD = documents.KeyCert(
    serial=UUID,
    kid=KID,
    pub=PUB,
    instance=INSTANCE,
    tenant=NAME,
    region=NAME,
    topology=longest(words.TOPOLOGIES),
    issued=TIME,
    not_before=TIME,
    not_after=TIME,
    attestation=documents.Attestation(
        type="spiffe_jwt",
        issuer=text(limits.ATTESTATION_BYTES_MAX),
        subject=text(limits.ATTESTATION_BYTES_MAX),
        pod_uid=UUID,
        worker=INTEGER,
    ),
    issuer_kid=KID,
)
CERTIFICATE = seal.Signer(bytes(32)).sign_document(documents.KEY_CERT, CERTIFICATE_PAYLOAD)
LISTENERS = [
    f"{index}" + text(limits.LISTENER_NAME_BYTES_MAX - 1) for index in range(limits.LISTENERS_MAX)
]
COUNTERS = documents.Counters(
    decisions=dict.fromkeys(words.OUTCOMES, INTEGER),
    completions=dict.fromkeys(words.COMPLETION_OUTCOMES, INTEGER),
    turned_away={
        name: dict.fromkeys(LISTENERS, INTEGER)
        for name, code in CODES.items()
        if code.kind == "turn_away"
    },
)
LOG_SEEN = documents.LogSeen(
    origin=text(limits.LOG_ORIGIN_BYTES_MAX),
    size=INTEGER,
    root=base64.b64encode(bytes(32)).decode(),
)
CUTS = [
    record.Cut(path=text(limits.PATH_BYTES_MAX), length=INTEGER, digest=KEYED)
] * limits.CUTS_MAX

START = record.Start(
    v=1,
    kind="start",
    id=UUID,
    tenant=NAME,
    region=NAME,
    chain=CHAIN,
    topology=longest(words.TOPOLOGIES),
    time=record.Started(started=TIME, clock=CLOCK),
    pub=PUB,
    certificate=CERTIFICATE,
    config_digest=HASH,
    build=text(limits.BUILD_BYTES_MAX),
    continues=record.Continues(instance=INSTANCE, seq=INTEGER, record_hash=HASH),
    continues_reason=longest(words.START_REASONS),
)

# The digit of each rule result takes 2 bits; inputs and results share FACTS_BYTES_MAX.
FACTS = record.Facts(inputs={}, results="")
FACTS = record.Facts(
    inputs={}, results="A" * (limits.FACTS_BYTES_MAX - len(msgspec.json.encode(FACTS)))
)

DECISION = record.Decision(
    v=1,
    kind="decision",
    id=UUID,
    tenant=NAME,
    region=NAME,
    chain=CHAIN,
    topology=longest(words.TOPOLOGIES),
    time=record.Decided(decided=TIME, clock=CLOCK),
    person=record.Person(
        id=text(limits.PERSON_ID_BYTES_MAX),
        iss=text(limits.PERSON_ISS_BYTES_MAX),
        token_id=text(limits.TOKEN_ID_BYTES_MAX),
        assurance=longest(words.ASSURANCES),
    ),
    agent=record.Agent(
        id=text(limits.AGENT_ID_BYTES_MAX),
        attested_by=longest(words.ATTESTATIONS),
        name=text(limits.AGENT_LABEL_BYTES_MAX),
        version=text(limits.AGENT_LABEL_BYTES_MAX),
        session=text(limits.AGENT_LABEL_BYTES_MAX),
    ),
    authz=record.Authz(
        roles=[text(limits.ROLE_BYTES_MAX)] * limits.ROLES_MAX,
        scopes=[text(limits.ROLE_BYTES_MAX)] * limits.SCOPES_MAX,
        delegation=[text(limits.DELEGATION_BYTES_MAX)] * limits.DELEGATION_MAX,
    ),
    data=record.Data(
        level=longest(words.LEVELS),
        categories=[text(limits.CATEGORY_BYTES_MAX)] * limits.CATEGORIES_MAX,
        completeness=longest(words.COMPLETENESSES),
        classifier=text(limits.CLASSIFIER_BYTES_MAX),
    ),
    policy=record.Policy(
        scope=NAME,
        version=INTEGER,
        digest=HASH,
        state=longest(words.POLICY_STATES),
        age_ms=INTEGER,
        engine=text(limits.ENGINE_BYTES_MAX),
        shadow=text(limits.SHADOW_BYTES_MAX),
    ),
    model=record.Model(
        provider=NAME,
        requested=text(limits.MODEL_BYTES_MAX),
        operation=longest(words.OPERATIONS),
        route=NAME,
        upstreams=[record.UpstreamRef(name=NAME, region=NAME, credential_id=NAME)]
        * limits.UPSTREAMS_MAX,
        tool=text(limits.TOOL_BYTES_MAX),
        tool_server=NAME,
        tool_call_id=text(limits.TOOL_CALL_ID_BYTES_MAX),
        hosted_tools=[text(limits.HOSTED_TOOL_BYTES_MAX)] * limits.HOSTED_TOOLS_MAX,
        references=[text(limits.REFERENCE_BYTES_MAX)] * limits.REFERENCES_MAX,
    ),
    decision=record.Ruling(
        outcome=longest(words.OUTCOMES),
        stage=longest(words.STAGES),
        reason=longest(words.DECISION_REASONS),
        rules=[text(limits.RULE_ID_BYTES_MAX)] * limits.RULES_MAX,
        unknown_rules=[text(limits.RULE_ID_BYTES_MAX)] * limits.RULES_MAX,
        obligations=[text(limits.OBLIGATION_BYTES_MAX)] * limits.OBLIGATIONS_MAX,
        status=503,
        commit=longest(words.RECORD_COMMITS),
        fail_open=False,
    ),
    facts=FACTS,
    absent=[],
    cut=CUTS,
    digest=record.DecisionDigest(request=KEYED, forwarded=KEYED, input=KEYED),
    parent=record.Parent(
        id=UUID,
        instance=INSTANCE,
        seq=INTEGER,
        record_hash=HASH,
        request_sha256=HASH,
        time=TIME,
        hops=limits.PARENT_HOPS_MAX,
    ),
    trace=text(limits.TRACE_BYTES_MAX),
    ext={
        f"{index}" + text(limits.EXT_NAME_BYTES_MAX - 1): text(limits.EXT_BYTES_MAX)
        for index in range(limits.EXT_MAX)
    },
)

COMPLETION = record.Completion(
    v=1,
    kind="completion",
    id=UUID,
    tenant=NAME,
    region=NAME,
    chain=CHAIN,
    of=UUID,
    outcome=longest(words.COMPLETION_OUTCOMES),
    time=record.Ended(ended=TIME),
    upstream=NAME,
    attempts=[
        record.Attempt(
            upstream=NAME, region=NAME, status=503, code=longest(tuple(CODES)), latency_us=INTEGER
        )
    ]
    * limits.ATTEMPTS_MAX,
    served=text(limits.MODEL_BYTES_MAX),
    usage=record.Usage(INTEGER, INTEGER, INTEGER, INTEGER, INTEGER),
    finish_reasons=[text(limits.FINISH_REASON_BYTES_MAX)] * limits.FINISH_REASONS_MAX,
    upstream_request_id=text(limits.REQUEST_ID_BYTES_MAX),
    status=503,
    latency_us=record.Latency(INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER),
    bytes=record.Bytes(in_=INTEGER, out=INTEGER),
    digest=record.CompletionDigest(request=KEYED, response=KEYED),
    cut=CUTS,
)

HEARTBEAT = record.Heartbeat(
    v=1,
    kind="heartbeat",
    id=UUID,
    tenant=NAME,
    region=NAME,
    chain=CHAIN,
    durable_seq=INTEGER,
    record_hash=HASH,
    acked_seq=INTEGER,
    counters=COUNTERS,
    log_seen=LOG_SEEN,
    certificate=CERTIFICATE,
)

RECOVERED = record.Recovered(
    v=1,
    kind="recovered",
    id=UUID,
    tenant=NAME,
    region=NAME,
    chain=CHAIN,
    instance=INSTANCE,
    last_seq=INTEGER,
    last_hash=HASH,
    cut_bytes=INTEGER,
    ambiguous=False,
    damaged=[record.DamagedRange(first_seq=INTEGER, last_seq=INTEGER)] * limits.DAMAGED_RANGES_MAX,
    quarantined=[
        record.Quarantined(
            file=text(limits.QUARANTINED_FILE_BYTES_MAX), length=INTEGER, digest=HASH
        )
    ]
    * limits.QUARANTINED_MAX,
)

ADMIN = record.Admin(
    v=1,
    kind="admin",
    id=UUID,
    tenant=NAME,
    region=NAME,
    chain=CHAIN,
    who=text(limits.ADMIN_TEXT_BYTES_MAX),
    what=text(limits.ADMIN_TEXT_BYTES_MAX),
    why=text(limits.ADMIN_TEXT_BYTES_MAX),
    parameters={
        f"{index:02}" + text(limits.NAME_BYTES_MAX - 2): text(limits.ADMIN_PARAMETER_BYTES_MAX)
        for index in range(limits.ADMIN_PARAMETERS_MAX)
    },
    range=text(limits.ADMIN_TEXT_BYTES_MAX),
)

LARGEST: dict[str, record.Record] = {
    "start": START,
    "decision": DECISION,
    "completion": COMPLETION,
    "heartbeat": HEARTBEAT,
    "rotate": record.Rotate(
        v=1,
        kind="rotate",
        id=UUID,
        tenant=NAME,
        region=NAME,
        chain=CHAIN,
        next_kid=KID,
        next_certificate=CERTIFICATE,
    ),
    "recovered": RECOVERED,
    "seal": record.Seal(
        v=1, kind="seal", id=UUID, tenant=NAME, region=NAME, chain=CHAIN, counters=COUNTERS
    ),
    "admin": ADMIN,
}

FIELDS = ("person", "agent", "authz", "data", "policy", "model", "time")
"""The eight fields whose nulls are explained; ``decision.status`` is null for every allow."""


def _nullable(struct: type[msgspec.Struct], path: str) -> list[str]:
    found = []
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        here = f"{path}.{field.encode_name}"
        kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        if any(isinstance(kind, inspect.NoneType) for kind in kinds):
            found.append(here)
        for kind in kinds:
            if isinstance(kind, inspect.StructType):
                found += _nullable(kind.cls, here)
    return found


NULLABLE = [path for field in FIELDS for path in _nullable(type(getattr(DECISION, field)), field)]


def _largest_decision() -> bytes:
    """``DECISION`` with null and its explanation wherever that takes more bytes."""
    members = msgspec.json.decode(msgspec.json.encode(DECISION))
    for path in NULLABLE:
        *parents, name = path.split(".")
        holder = members
        for parent in parents:
            holder = holder[parent]
        entry = {"path": path, "reason": longest(words.ABSENCE_REASONS)}
        explained = len(b"null") + len(msgspec.json.encode(entry)) + len(b",")
        if explained > len(msgspec.json.encode(holder[name])):
            holder[name] = None
            members["absent"].append(entry)
    return msgspec.json.encode(members)


def _payload(kind: str) -> bytes:
    return _largest_decision() if kind == "decision" else record.encode(LARGEST[kind])


def test_every_kind_has_its_largest_record() -> None:
    assert set(LARGEST) == set(record.KINDS)


@pytest.mark.parametrize("kind", sorted(LARGEST))
def test_the_largest_record_fits_what_is_reserved(kind: str) -> None:
    payload = _payload(kind)
    assert record.decode(payload).kind == kind
    assert len(payload) <= limits.RECORD_BYTES_MAX, f"{kind}: {len(payload)} bytes"


def test_every_null_of_the_eight_fields_can_be_explained() -> None:
    assert len(NULLABLE) <= limits.ABSENT_MAX
    assert max(map(len, NULLABLE)) <= limits.PATH_BYTES_MAX


def test_facts_stand_at_their_cap() -> None:
    assert len(msgspec.json.encode(FACTS)) == limits.FACTS_BYTES_MAX


def test_words_of_the_vocabulary_need_no_escapes() -> None:
    for known in (words.Operation, words.AbsenceReason, words.ClockSource):
        assert all(json_bytes(word) == len(word) for word in get_args(known))


def test_records_kept_for_a_full_spool_fit_what_is_kept() -> None:
    kept = ("heartbeat", "rotate", "recovered", "seal")
    assert sum(len(_payload(kind)) for kind in kept) <= limits.SPOOL_KEPT_BYTES
