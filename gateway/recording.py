"""Assembles decision and completion records from what the steps of a call found.

Owns: which finding goes into which member, the reason beside each null, and the caps. Refuses:
deciding, signing and writing; a value that is not handed in is never made up.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from gateway import limits, record, seal
from gateway.absence import absences
from gateway.call import CallView, Label, Principal, Route, Upstream
from gateway.cutting import Cutter
from gateway.decide import Ruled
from gateway.identifier import RECORD_RANDOM_BYTES, record_id
from gateway.ports import Entropy, WallClock
from gateway.timestamp import time_text


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call when it is ruled on; later members are null if it failed earlier.

    ``request``: digest of the exact body bytes received, None where no body was read whole.
    """

    id: str
    wall_us: int
    route: Route
    principal: Principal
    call: CallView | None
    label: Label | None
    request: str | None
    trace: str | None
    parent: record.Parent | str | None


class Finding(msgspec.Struct, kw_only=True):
    """What became of a forwarded call; filled while it runs, read once at its end."""

    outcome: str = "ok"
    upstream: str | None = None
    status: int | None = None
    served: str | None = None
    usage: record.Usage = record.Usage(None, None, None, None, None)
    finish_reasons: tuple[str, ...] = ()
    upstream_request_id: str | None = None
    attempts: list[record.Attempt] = msgspec.field(default_factory=list)
    policy_us: int = 0
    classify_us: int = 0
    commit_us: int = 0
    upstream_us: int | None = None
    first_byte_us: int | None = None
    total_us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    request: str | None = None
    response: str | None = None


class BodyDigest:
    """The keyed digest of a body that passes by in chunks."""

    def __init__(self, key: bytes) -> None:
        self._hmac = hmac.new(key, digestmod=hashlib.sha256)

    def feed(self, chunk: bytes) -> None:
        self._hmac.update(chunk)

    def text(self) -> str:
        return "hmac-sha256:" + self._hmac.hexdigest()


class Scribe:
    """Writes drafts for one (tenant, region, topology) under one instance's digest key."""

    def __init__(
        self,
        *,
        tenant: str,
        region: str,
        topology: str,
        digest_key: bytes,
        clock: WallClock,
        entropy: Entropy,
    ) -> None:
        self.tenant = tenant
        self.region = region
        self.topology = topology
        self.digest_key = digest_key
        self._clock = clock
        self._entropy = entropy

    def draw_id(self, wall_us: int) -> str:
        """A fresh record id of the moment ``wall_us``."""
        return record_id(wall_us, self._entropy.bytes(RECORD_RANDOM_BYTES))

    def digest(self, data: bytes) -> str:
        """The keyed digest of ``data``, as it stands in ``digest`` members."""
        return seal.keyed_digest(self.digest_key, data)

    def body_digest(self) -> BodyDigest:
        return BodyDigest(self.digest_key)

    def stamp(self) -> record.Clock:
        """How the wall clock stands, for the time members of decision and start."""
        clock = self._clock
        return record.Clock(
            source=clock.source(),
            err_ms=clock.error_ms(),
            mono_us=clock.mono_us(),
            boot_id=clock.boot_id(),
        )

    def decision(
        self,
        subject: Subject,
        ruled: Ruled,
        *,
        upstreams: tuple[Upstream, ...],
        status: int | None,
        forwarded: bytes | None = None,
    ) -> tuple[record.Decision, str | None]:
        """The decision record, and the path of a value that had to be cut though it must not.

        ``forwarded``: the body to send, where an obligation changed it.
        With such a path the caller rules ``value_too_long`` instead, and records that.
        """
        cutter = Cutter(self.digest_key)
        who, call = subject.principal, subject.call
        person, agent = _person(who, cutter), _agent(who, cutter)
        data, policy = _data(subject.label, cutter), _policy(ruled.policy, cutter)
        model = _model(subject, upstreams, cutter)
        stamp = self.stamp()
        draft = record.Decision(
            v=record.VERSION,
            kind="decision",
            id=subject.id,
            tenant=self.tenant,
            region=self.region,
            chain=record.UNCHAINED,
            topology=self.topology,
            time=record.Decided(decided=time_text(subject.wall_us), clock=stamp),
            person=person,
            agent=agent,
            authz=_authz(who, cutter),
            data=data,
            policy=policy,
            model=model,
            decision=_ruling(ruled, status, cutter),
            facts=ruled.facts,
            absent=absences(
                who.absent,
                person=person,
                agent=agent,
                data=data,
                policy=policy,
                model=model,
                clock=stamp,
                read=call is not None,
            ),
            cut=cutter.cuts,
            digest=record.DecisionDigest(
                request=subject.request,
                forwarded=None if forwarded is None else self.digest(forwarded),
                input=None if call is None or call.input is None else self.digest(call.input),
            ),
            parent=subject.parent,
            trace=subject.trace,
            ext=None,
        )
        return draft, cutter.too_long

    def completion(self, of: str, wall_us: int, found: Finding) -> record.Completion:
        """The completion record of decision ``of``, ended at ``wall_us``."""
        cutter = Cutter(self.digest_key)
        return record.Completion(
            v=record.VERSION,
            kind="completion",
            id=self.draw_id(wall_us),
            tenant=self.tenant,
            region=self.region,
            chain=record.UNCHAINED,
            of=of,
            outcome=found.outcome,
            time=record.Ended(ended=time_text(wall_us)),
            upstream=found.upstream,
            attempts=found.attempts[: limits.ATTEMPTS_MAX],
            served=cutter.text("served", found.served, limits.MODEL_BYTES_MAX),
            usage=found.usage,
            finish_reasons=cutter.texts(
                "finish_reasons",
                found.finish_reasons,
                limits.FINISH_REASONS_MAX,
                limits.FINISH_REASON_BYTES_MAX,
            ),
            upstream_request_id=cutter.text(
                "upstream_request_id", found.upstream_request_id, limits.REQUEST_ID_BYTES_MAX
            ),
            status=found.status,
            latency_us=record.Latency(
                policy=found.policy_us,
                classify=found.classify_us,
                commit=found.commit_us,
                upstream=found.upstream_us,
                first_byte=found.first_byte_us,
                total=found.total_us,
            ),
            bytes=record.Bytes(in_=found.bytes_in, out=found.bytes_out),
            digest=record.CompletionDigest(request=found.request, response=found.response),
            cut=cutter.cuts,
        )


def _person(who: Principal, cutter: Cutter) -> record.Person:
    return record.Person(
        id=cutter.whole("person.id", who.person_id, limits.PERSON_ID_BYTES_MAX),
        iss=cutter.whole("person.iss", who.person_iss, limits.PERSON_ISS_BYTES_MAX),
        token_id=cutter.text("person.token_id", who.token_id, limits.TOKEN_ID_BYTES_MAX),
        assurance=who.assurance,
    )


def _agent(who: Principal, cutter: Cutter) -> record.Agent:
    label_max = limits.AGENT_LABEL_BYTES_MAX
    return record.Agent(
        id=cutter.whole("agent.id", who.agent_id, limits.AGENT_ID_BYTES_MAX),
        attested_by=who.attested_by,
        name=cutter.text("agent.name", who.agent_name, label_max),
        version=cutter.text("agent.version", who.agent_version, label_max),
        session=cutter.text("agent.session", who.agent_session, label_max),
    )


def _authz(who: Principal, cutter: Cutter) -> record.Authz:
    role_max, delegation_max = limits.ROLE_BYTES_MAX, limits.DELEGATION_BYTES_MAX
    return record.Authz(
        roles=cutter.texts("authz.roles", who.roles, limits.ROLES_MAX, role_max),
        scopes=cutter.texts("authz.scopes", who.scopes, limits.SCOPES_MAX, role_max),
        delegation=cutter.texts(
            "authz.delegation", who.delegation, limits.DELEGATION_MAX, delegation_max
        ),
    )


def _data(label: Label | None, cutter: Cutter) -> record.Data:
    if label is None:
        return record.Data(level=None, categories=[], completeness=None, classifier=None)
    return record.Data(
        level=label.level,
        categories=cutter.texts(
            "data.categories", label.categories, limits.CATEGORIES_MAX, limits.CATEGORY_BYTES_MAX
        ),
        completeness=label.completeness,
        classifier=cutter.text("data.classifier", label.classifier, limits.CLASSIFIER_BYTES_MAX),
    )


def _policy(policy: record.Policy, cutter: Cutter) -> record.Policy:
    return record.Policy(
        scope=cutter.text("policy.scope", policy.scope, limits.NAME_BYTES_MAX),
        version=policy.version,
        digest=policy.digest,
        state=policy.state,
        age_ms=policy.age_ms,
        engine=cutter.text("policy.engine", policy.engine, limits.ENGINE_BYTES_MAX),
        shadow=cutter.text("policy.shadow", policy.shadow, limits.SHADOW_BYTES_MAX),
    )


def _model(subject: Subject, upstreams: tuple[Upstream, ...], cutter: Cutter) -> record.Model:
    call, route = subject.call, subject.route
    references = [
        record.UpstreamRef(
            name=upstream.name, region=upstream.region, credential_id=upstream.credential_id
        )
        for upstream in upstreams[: limits.UPSTREAMS_MAX]
    ]
    if call is None:
        return record.Model(
            provider=route.provider,
            requested=None,
            operation="unknown",
            route=route.name,
            upstreams=references,
            tool=None,
            tool_server=route.server,
            tool_call_id=None,
            hosted_tools=[],
            references=[],
        )
    return record.Model(
        provider=route.provider,
        requested=cutter.whole("model.requested", call.model, limits.MODEL_BYTES_MAX),
        operation=call.operation,
        route=route.name,
        upstreams=references,
        tool=cutter.whole("model.tool", call.tool, limits.TOOL_BYTES_MAX),
        tool_server=cutter.text("model.tool_server", call.tool_server, limits.NAME_BYTES_MAX),
        tool_call_id=cutter.text(
            "model.tool_call_id", call.tool_call_id, limits.TOOL_CALL_ID_BYTES_MAX
        ),
        hosted_tools=cutter.texts(
            "model.hosted_tools",
            call.hosted_tools + call.unknown_tools,
            limits.HOSTED_TOOLS_MAX,
            limits.HOSTED_TOOL_BYTES_MAX,
        ),
        references=cutter.texts(
            "model.references",
            call.references,
            limits.REFERENCES_MAX,
            limits.REFERENCE_BYTES_MAX,
        ),
    )


def _ruling(ruled: Ruled, status: int | None, cutter: Cutter) -> record.Ruling:
    return record.Ruling(
        outcome=ruled.outcome,
        stage=ruled.stage,
        reason=ruled.reason,
        rules=cutter.texts(
            "decision.rules", ruled.rules, limits.RULES_MAX, limits.RULE_ID_BYTES_MAX
        ),
        unknown_rules=cutter.texts(
            "decision.unknown_rules",
            ruled.unknown_rules,
            limits.RULES_MAX,
            limits.RULE_ID_BYTES_MAX,
        ),
        obligations=cutter.texts(
            "decision.obligations",
            ruled.obligations,
            limits.OBLIGATIONS_MAX,
            limits.OBLIGATION_BYTES_MAX,
        ),
        status=status,
        commit=ruled.commit,
        fail_open=ruled.fail_open,
    )
