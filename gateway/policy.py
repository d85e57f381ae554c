"""The policy document and the signed bundle that carries it: types and exact bytes.

A bundle is one JSON document: who it is for (scope, epoch, version), when it holds, which engine
reads it, where it came from, and the policy itself: *grants* (one must be true), *restrictions*
(every one that is true or unknown applies) and what belongs to them.

Owns: the Structs, reading them from bytes, and the exact bytes that are signed. Refuses: meaning
(``table.py`` compiles), signatures and validity in time (``policy_cache.trusted``).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, TypeVar

import msgspec

from gateway.errors import UNREADABLE, DocumentInvalid
from gateway.limits import UNCERTIFIED_SECONDS_MAX
from gateway.vocabulary import Level, Outcome, RecordCommit

ENGINE: Final = "table/1"
SPEC: Final = 1

Status = Literal["active", "shadow"]
Effect = Literal["deny", "require_approval", "oblige"]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Members with defaults may be left out by authors; the signed bytes hold them all."""


class Redact(_Part, frozen=True):
    """Categories to take out of the texts before they are forwarded; ``*`` patterns too."""

    categories: list[str]


class Obligation(_Part, frozen=True):
    """What must be done for a call to be allowed; exactly one member is set.

    ``regions`` and ``upstreams`` narrow where the call may go. The others change its body, and a
    call whose body cannot be changed so is refused (``obligation_unsupported``).
    """

    regions: list[str] | None = None
    upstreams: list[str] | None = None
    max_output_tokens: int | None = None
    redact: Redact | None = None
    pseudonymise_user: bool | None = None


class Grant(_Part, frozen=True):
    """Allows a call if its targets match and ``when`` is true.

    ``actions``: operations (``vocabulary.OPERATIONS``), ``*`` patterns over them, ``@group``.
    ``models``: patterns over the requested model. ``tools``: patterns over ``<server>/<tool>``
    where they hold a slash, else over the tool's bare name. ``routes`` and ``agents``: patterns.
    None matches all. ``when``: a condition document, None for always.
    """

    id: str
    actions: list[str]
    models: list[str] | None = None
    tools: list[str] | None = None
    routes: list[str] | None = None
    agents: list[str] | None = None
    when: dict[str, object] | None = None
    status: Status = "active"
    description: str | None = None


class Restriction(_Part, frozen=True):
    """Limits a call if its targets match and ``when`` is true *or unknown*.

    ``obligations`` belong to the effect ``oblige`` and to it alone.
    """

    id: str
    effect: Effect
    actions: list[str]
    models: list[str] | None = None
    tools: list[str] | None = None
    routes: list[str] | None = None
    agents: list[str] | None = None
    when: dict[str, object] | None = None
    obligations: list[Obligation] = []
    status: Status = "active"
    description: str | None = None


class Defaults(_Part, frozen=True):
    """``outcome``: default deny is not a choice. ``on_stale``: what a copy past twice the refresh
    interval, but not expired, still serves."""

    outcome: Literal["deny"] = "deny"
    on_stale: Literal["serve", "deny"] = "serve"


class OpenOnExpired(_Part, frozen=True):
    """The signed choice to keep allowing for a while after the policy head has expired.

    ``seconds_max`` counts from the head's expiry; only on ``routes`` and for data whose level is
    in ``levels`` (never ``restricted``), scanned in full. Every rule still applies.
    """

    seconds_max: int
    routes: list[str]
    levels: list[Level]


class Transition(_Part, frozen=True):
    """From ``start`` on the zone is ``offset_seconds`` east of UTC."""

    start: str
    offset_seconds: int


class TimeZone(_Part, frozen=True):
    """Transitions in order, and the instant ``until`` which the table is complete."""

    transitions: list[Transition]
    until: str


class SamplePerson(_Part, frozen=True):
    id: str | None = None
    iss: str | None = None
    assurance: str | None = None


class SampleAgent(_Part, frozen=True):
    id: str | None = None
    attested_by: str | None = None
    name: str | None = None
    version: str | None = None
    session: str | None = None


class SampleAuthz(_Part, frozen=True):
    roles: list[str] | None = None
    scopes: list[str] | None = None
    delegation: list[str] | None = None


class SampleData(_Part, frozen=True):
    level: str | None = None
    categories: list[str] | None = None
    completeness: str | None = None


class SampleModel(_Part, frozen=True):
    operation: str
    provider: str | None = None
    requested: str | None = None
    route: str | None = None
    regions: list[str] | None = None
    tool: str | None = None
    tool_server: str | None = None
    hosted_tools: list[str] = []
    references: list[str] = []


class SampleInput(_Part, frozen=True):
    """The inputs of a self-test; what is left out is unknown."""

    model: SampleModel
    person: SamplePerson = SamplePerson()
    agent: SampleAgent = SampleAgent()
    authz: SampleAuthz = SampleAuthz()
    data: SampleData = SampleData()
    args: dict[str, object] | None = None
    time: str | None = None


class Expectation(_Part, frozen=True):
    """``rules``: the deciding rule ids, None for any; ``reason`` likewise."""

    outcome: Outcome
    rules: list[str] | None = None
    reason: str | None = None


class SelfTest(_Part, frozen=True):
    """Run by the publisher and again by every daemon before the bundle is used."""

    name: str
    input: SampleInput
    expect: Expectation


class Policy(_Part, frozen=True):
    """The rules of one scope.

    ``levels``: the author's level names → the fixed ones. ``groups``: name → patterns, used as
    ``@name``. ``record_commit``: route (or ``*``) → when the record must be durable.
    ``recordable``: paths whose short values may stand in records as they are.
    ``hosted_tools`` and ``references``: patterns of what the provider may run or read for the
    caller; all else is denied. ``show_rule_ids``: whether a refusal names its rules.
    """

    grants: list[Grant]
    mode: Literal["enforce", "shadow"] = "enforce"
    defaults: Defaults = Defaults()
    levels: dict[str, Level] = {}
    groups: dict[str, list[str]] = {}
    restrictions: list[Restriction] = []
    record_commit: dict[str, RecordCommit] = {}
    recordable: list[str] = []
    hosted_tools: list[str] = []
    references: list[str] = []
    time_zones: dict[str, TimeZone] = {}
    open_on_expired: OpenOnExpired | None = None
    uncertified_seconds_max: int = UNCERTIFIED_SECONDS_MAX
    show_rule_ids: bool = False
    tests: list[SelfTest] = []


class Source(_Part, frozen=True):
    """Where the policy was written and who approved it."""

    git: str | None = None
    commit: str | None = None
    approvals: list[str] = []


class Bundle(_Part, frozen=True):
    """The payload of DSSE type ``bundle``. Times as ``timestamp.time_text``."""

    spec: int
    scope: str
    epoch: int
    version: int
    issued: str
    not_before: str
    expires: str
    engine: str
    source: Source | None
    policy: Policy


DocumentT = TypeVar("DocumentT", bound=msgspec.Struct)

# Decimals keep the digits that were signed: a float would round an author's bound.
_bundles: Final = msgspec.json.Decoder(Bundle, float_hook=Decimal)
_policies: Final = msgspec.json.Decoder(Policy, float_hook=Decimal)


def _plain_number(value: object) -> Decimal:
    # Request bodies hold a float subclass that remembers its text; its repr is that text.
    if isinstance(value, float):
        return Decimal(repr(value))
    raise NotImplementedError(f"{type(value).__name__} has no JSON text")


_encoder: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain_number)


def encode(document: msgspec.Struct) -> bytes:
    """The exact payload bytes of a bundle (or a policy): what is signed and hashed."""
    return _encoder.encode(document)


def json_text(value: object) -> bytes:
    """The compact JSON text of an input value; decimals as numbers."""
    return _encoder.encode(value)


def decode_bundle(payload: bytes) -> Bundle:
    """The bundle in ``payload``, whose bytes must be its exact encoding.

    Raises DocumentInvalid: ``unreadable`` for bad JSON, unknown members or wrong types;
    ``inexact`` for duplicate keys, spacing, left-out defaults or another member order.
    """
    bundle = _decode(_bundles, payload)
    if _encoder.encode(bundle) != payload:
        raise DocumentInvalid("inexact", "the bundle's bytes are not its exact form")
    return bundle


def decode_policy(text: bytes) -> Policy:
    """The policy in an author's JSON ``text``; members with defaults may be left out.

    Raises DocumentInvalid (``unreadable``) with the place of the error.
    """
    return _decode(_policies, text)


def _decode(decoder: msgspec.json.Decoder[DocumentT], text: bytes) -> DocumentT:
    try:
        return decoder.decode(text)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"policy: {error}") from error
