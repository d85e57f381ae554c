"""Record v1: what is written about a call, one Struct per kind, and the exact bytes of each.

The bytes are what is signed, so their form is law (``docs/records.md``): UTF-8 JSON, members in
Struct order, no whitespace, no floats, nothing omitted (what is missing is null). The first
members ``v, kind, id, tenant, region, chain`` stand in that order for ever: a store relies on
them for any version and any kind.

Owns: the Structs, ``encode``, ``decode``, and the check that a writer's words are in the closed
lists. Refuses: making up values (``recording.py`` assembles), signing (``seal.py``), and reading
clocks or chance. Field types are ``str`` where the vocabulary is closed, because a store keeps
words that it does not know.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway import vocabulary as words
from gateway.documents import Counters, Envelope, Integer, LogSeen

VERSION: Final = 1


# No collector looks after records: made of JSON, or once and for all, they are in no cycle.
class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A member object of a record: no defaults, because nothing is ever omitted."""


class Chain(_Part, frozen=True):
    """Place in the chain of one process instance.

    ``instance``: 26 base32 characters; ``seq``: from 0; ``prev``: record_hash of seq-1, or at
    seq 0 the SHA-256 of the public key; ``kid``: ``ed25519:`` + hex SHA-256 of the public key.
    """

    instance: str
    seq: Integer
    prev: str
    kid: str


class Person(_Part, frozen=True):
    id: str | None
    iss: str | None
    token_id: str | None
    assurance: str


class Agent(_Part, frozen=True):
    id: str | None
    attested_by: str | None
    name: str | None
    version: str | None
    session: str | None


class Authz(_Part, frozen=True):
    roles: list[str]
    scopes: list[str]
    delegation: list[str]


class Data(_Part, frozen=True):
    level: str | None
    categories: list[str]
    completeness: str | None
    classifier: str | None


class Policy(_Part, frozen=True):
    scope: str | None
    version: Integer | None
    digest: str | None
    state: str
    age_ms: Integer | None
    engine: str | None
    shadow: str | None


class UpstreamRef(_Part, frozen=True):
    name: str
    region: str
    credential_id: str | None


class Model(_Part, frozen=True):
    provider: str | None
    requested: str | None
    operation: str
    route: str
    upstreams: list[UpstreamRef]
    tool: str | None
    tool_server: str | None
    tool_call_id: str | None
    hosted_tools: list[str]
    references: list[str]


class Ruling(_Part, frozen=True):
    """Field 7, ``decision``: ``status`` is the HTTP status given, null for an allow."""

    outcome: str
    stage: str
    reason: str
    rules: list[str]
    unknown_rules: list[str]
    obligations: list[str]
    status: Integer | None
    commit: str
    fail_open: bool


class Clock(_Part, frozen=True):
    source: str
    err_ms: Integer | None
    mono_us: Integer
    boot_id: str | None


class Decided(_Part, frozen=True):
    decided: str
    clock: Clock


class Started(_Part, frozen=True):
    started: str
    clock: Clock


class Ended(_Part, frozen=True):
    ended: str


class Number(_Part, frozen=True):
    """A number that is not an integer within ±2^53−1, as its JSON text; compared as a decimal."""

    num: str


FactValue = str | Integer | bool | Number | None | list[str]


class Facts(_Part, frozen=True):
    """``inputs``: policy path → value that evaluated rules read and the record does not hold.
    ``results``: three-valued results of the candidate rules' conditions, 2 bits each in compile
    order, base64url without padding."""

    inputs: dict[str, FactValue]
    results: str


class Absent(_Part, frozen=True):
    path: str
    reason: str


class Cut(_Part, frozen=True):
    path: str
    length: Integer
    digest: str


class DecisionDigest(_Part, frozen=True):
    request: str | None
    forwarded: str | None
    input: str | None


class Parent(_Part, frozen=True):
    id: str
    instance: str
    seq: Integer
    record_hash: str
    request_sha256: str
    time: str
    hops: Integer


class Usage(_Part, frozen=True):
    input: Integer | None
    output: Integer | None
    cache_read: Integer | None
    cache_creation: Integer | None
    reasoning: Integer | None


class Attempt(_Part, frozen=True):
    """One try at one upstream. ``status``: its HTTP status; ``code``: our refusal code if any."""

    upstream: str
    region: str
    status: Integer | None
    code: str | None
    latency_us: Integer


class Latency(_Part, frozen=True):
    policy: Integer
    classify: Integer
    commit: Integer
    upstream: Integer | None
    first_byte: Integer | None
    total: Integer


class Bytes(_Part, frozen=True):
    in_: Integer = msgspec.field(name="in")
    out: Integer


class CompletionDigest(_Part, frozen=True):
    request: str | None
    response: str | None


class Continues(_Part, frozen=True):
    instance: str
    seq: Integer
    record_hash: str


class DamagedRange(_Part, frozen=True):
    first_seq: Integer
    last_seq: Integer


class Quarantined(_Part, frozen=True):
    file: str
    length: Integer
    digest: str


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """The first members of every record, in this order and for ever."""

    v: Integer
    kind: str
    id: str
    tenant: str
    region: str
    chain: Chain


class Start(_Record, frozen=True, kw_only=True):
    topology: str
    time: Started
    pub: str
    certificate: Envelope | None
    config_digest: str
    build: str
    continues: Continues | None
    continues_reason: str | None


class Decision(_Record, frozen=True, kw_only=True):
    topology: str
    time: Decided
    person: Person
    agent: Agent
    authz: Authz
    data: Data
    policy: Policy
    model: Model
    decision: Ruling
    facts: Facts
    absent: list[Absent]
    cut: list[Cut]
    digest: DecisionDigest
    parent: Parent | str | None
    trace: str | None
    ext: dict[str, str | Integer] | None


class Completion(_Record, frozen=True, kw_only=True):
    of: str
    outcome: str
    time: Ended
    upstream: str | None
    attempts: list[Attempt]
    served: str | None
    usage: Usage
    finish_reasons: list[str]
    upstream_request_id: str | None
    status: Integer | None
    latency_us: Latency
    bytes: Bytes
    digest: CompletionDigest
    cut: list[Cut]


class Heartbeat(_Record, frozen=True, kw_only=True):
    durable_seq: Integer
    record_hash: str
    acked_seq: Integer
    counters: Counters
    log_seen: LogSeen | None
    certificate: Envelope | None


class Rotate(_Record, frozen=True, kw_only=True):
    next_kid: str
    next_certificate: Envelope


class Recovered(_Record, frozen=True, kw_only=True):
    instance: str
    last_seq: Integer | None
    last_hash: str | None
    cut_bytes: Integer
    ambiguous: bool
    damaged: list[DamagedRange]
    quarantined: list[Quarantined]


class Seal(_Record, frozen=True, kw_only=True):
    counters: Counters


class Admin(_Record, frozen=True, kw_only=True):
    who: str
    what: str
    why: str | None
    parameters: dict[str, str]
    range: str | None


Record = Start | Decision | Completion | Heartbeat | Rotate | Recovered | Seal | Admin

KINDS: Final[dict[str, type[Record]]] = {
    "start": Start,
    "decision": Decision,
    "completion": Completion,
    "heartbeat": Heartbeat,
    "rotate": Rotate,
    "recovered": Recovered,
    "seal": Seal,
    "admin": Admin,
}

UNCHAINED: Final = Chain(instance="", seq=-1, prev="", kid="")
"""Stands in ``chain`` of a draft until ``seal.Sealer`` gives it its place."""


class Leading(msgspec.Struct, frozen=True):
    """The first members of any record of any version: all that a store may rely on."""

    v: Integer
    kind: str
    id: str
    tenant: str
    region: str
    chain: Chain


_encoder: Final = msgspec.json.Encoder()
_leading: Final = msgspec.json.Decoder(Leading)
_FIRST: Final = b'{"v":%d,"kind":"' % VERSION
_decoders: Final[dict[str, msgspec.json.Decoder[Record]]] = {
    kind: msgspec.json.Decoder(struct) for kind, struct in KINDS.items()
}


def encode(record: Record) -> bytes:
    """The exact payload bytes of ``record``: what is signed, stored and shipped."""
    return _encoder.encode(record)


def decode_leading(payload: bytes) -> Leading:
    """The first members of ``payload``.

    Raises ``msgspec.DecodeError``: bad JSON, a member missing or of the wrong type, or (of
    versions that this one does not know) nesting too deep to skip.
    """
    try:
        return _leading.decode(payload)
    except (RecursionError, UnicodeDecodeError) as error:
        raise msgspec.DecodeError(f"the record is not readable JSON: {error}") from error


def decode(payload: bytes) -> Record:
    """The record in ``payload``, a known version and kind.

    Raises ``msgspec.DecodeError`` when it is not one, and when ``payload`` is not its exact
    encoding: duplicate keys, other spacing or another order would give one record two byte
    forms, of which a reader may see either.
    """
    decoder = _decoder_of(payload)
    try:
        record: Record = decoder.decode(payload)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"the record is not UTF-8: {error}") from error
    if _encoder.encode(record) != payload:
        raise msgspec.ValidationError(f"record {record.id} is not in its exact byte form")
    return record


def _decoder_of(payload: bytes) -> msgspec.json.Decoder[Record]:
    """The decoder of the kind that ``payload`` says it is. Raises ``msgspec.DecodeError``."""
    # The exact form begins with version and kind. Whoever lies here is found by encoding back.
    known = _decoders.get(payload[len(_FIRST) : payload.find(b'"', len(_FIRST))].decode("latin-1"))
    if known is not None and payload.startswith(_FIRST):
        return known
    leading = decode_leading(payload)
    if leading.v != VERSION or leading.kind not in _decoders:
        raise msgspec.ValidationError(f"unknown record version {leading.v} kind {leading.kind!r}")
    return _decoders[leading.kind]


def check_words(record: Record) -> None:
    """Refuse words outside the closed lists. Raises ValueError naming member and word.

    For writers only, before signing: a reader keeps what it does not know.
    """
    if isinstance(record, Decision):
        _check("topology", record.topology, words.TOPOLOGIES)
        _check("person.assurance", record.person.assurance, words.ASSURANCES)
        _check("policy.state", record.policy.state, words.POLICY_STATES)
        _check("model.operation", record.model.operation, words.OPERATIONS)
        _check("decision.outcome", record.decision.outcome, words.OUTCOMES)
        _check("decision.stage", record.decision.stage, words.STAGES)
        _check("decision.reason", record.decision.reason, words.DECISION_REASONS)
        _check("decision.commit", record.decision.commit, words.RECORD_COMMITS)
        _check("time.clock.source", record.time.clock.source, words.CLOCK_SOURCES)
        _check_optional("agent.attested_by", record.agent.attested_by, words.ATTESTATIONS)
        _check_optional("data.level", record.data.level, words.LEVEL_RANK)
        _check_optional("data.completeness", record.data.completeness, words.COMPLETENESSES)
        for absence in record.absent:
            _check(f"absent[{absence.path}]", absence.reason, words.ABSENCE_REASONS)
    elif isinstance(record, Completion):
        _check("outcome", record.outcome, words.COMPLETION_OUTCOMES)
    elif isinstance(record, Start):
        _check("topology", record.topology, words.TOPOLOGIES)
        _check("time.clock.source", record.time.clock.source, words.CLOCK_SOURCES)
        _check_optional("continues_reason", record.continues_reason, words.START_REASONS)


def _check(path: str, word: str, known: frozenset[str] | dict[str, int]) -> None:
    if word not in known:
        raise ValueError(f"record member {path}: {word!r} is not in the vocabulary")


def _check_optional(path: str, word: str | None, known: frozenset[str] | dict[str, int]) -> None:
    if word is not None:
        _check(path, word, known)
