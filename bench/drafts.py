"""Decision records as a call writes them: for a 4 KB prompt, with a person and one rule.

Owns: the made-up call. Refuses: the record's form; ``gateway.recording`` assembles each draft, as
in the daemon.
"""

from __future__ import annotations

from gateway import limits, record
from gateway.call import Absence, CallView, Label, Principal, Route, Upstream
from gateway.decide import Ruled
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy
from gateway.recording import Scribe, Subject
from gateway.seal import sha256_text
from spool.dead import Place

PROMPT = (b"the order of the customer is on its way and should arrive tomorrow " * 64)[:4096]
PLACE = Place("acme", "eu-west-1")
_UPSTREAM = Upstream(
    name="openai-eu",
    host="api.example",
    port=443,
    tls=True,
    base_path="/v1",
    region="eu-west-1",
    credential_id="openai-key",
)
_ROUTE = Route(
    name="openai",
    prefix="/openai",
    protocol="openai",
    provider="openai",
    server=None,
    upstreams=(_UPSTREAM,),
    request_headers=frozenset(),
    response_headers=frozenset(),
    body_bytes_max=limits.BODY_BYTES_MAX,
    idempotent=False,
    opaque_upload=False,
    first_byte_seconds_max=limits.UPSTREAM_FIRST_BYTE_SECONDS_MAX,
    stream_idle_seconds_max=limits.STREAM_IDLE_SECONDS_MAX,
    call_seconds_max=limits.CALL_SECONDS_MAX,
)
_WHO = Principal(
    person_id="alice@acme.example",
    person_iss="https://id.acme.example",
    token_id="jti-42",
    assurance="delegated",
    agent_id="claims-bot",
    attested_by="uds_uid",
    agent_name=None,
    agent_version=None,
    agent_session=None,
    roles=("adjuster",),
    scopes=("claims.read", "claims.write"),
    delegation=("claims-bot",),
    absent=(
        Absence("agent.name", "not_stated"),
        Absence("agent.version", "not_stated"),
        Absence("agent.session", "not_stated"),
    ),
)
_CALL = CallView(
    protocol="openai",
    operation="chat",
    provider="openai",
    model="gpt-4.1",
    stream=False,
    input=PROMPT,
)
_LABEL = Label(
    level="confidential", categories=("pii.email",), completeness="full", classifier="builtin@1"
)
_RULED = Ruled(
    outcome="allow",
    stage="request",
    reason="granted",
    rules=("allow-chat",),
    unknown_rules=(),
    obligations=(),
    commit="before_forward",
    fail_open=False,
    facts=record.Facts(inputs={}, results="pgI"),
    policy=record.Policy(
        scope="acme",
        version=7,
        digest=sha256_text(b"the bundle"),
        state="fresh",
        age_ms=1250,
        engine="table/1",
        shadow=None,
    ),
)


class Drafts:
    """Makes decision drafts with ``scribe``, whose clock is ``clock``."""

    def __init__(self, scribe: Scribe, clock: SystemClock) -> None:
        self._scribe = scribe
        self._clock = clock

    @classmethod
    def of_a_daemon(cls) -> Drafts:
        """Drafts of a daemon that nobody knows: good for everything but shipping."""
        clock, entropy = SystemClock(), SystemEntropy()
        scribe = Scribe(
            tenant=PLACE.tenant,
            region=PLACE.region,
            topology="sidecar",
            digest_key=entropy.bytes(32),
            clock=clock,
            entropy=entropy,
        )
        return cls(scribe, clock)

    def decision(self) -> record.Decision:
        """The draft of one more ruling."""
        now_us = self._clock.wall_us()
        subject = Subject(
            id=self._scribe.draw_id(now_us),
            wall_us=now_us,
            route=_ROUTE,
            principal=_WHO,
            call=_CALL,
            label=_LABEL,
            request=self._scribe.digest(PROMPT),
            trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            parent=None,
        )
        draft, _ = self._scribe.decision(subject, _RULED, upstreams=(_UPSTREAM,), status=None)
        return draft
