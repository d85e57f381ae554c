"""Records: every finding in its member, every null explained, nothing cut silently or too long."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import limits, record
from gateway.call import Absence, CallView, Label, Principal, Upstream
from gateway.cutting import MANY, json_bytes
from gateway.decide import Ruled
from gateway.recording import BodyDigest, Finding, Scribe, Subject
from gateway.seal import Sealer, keyed_digest
from gateway.vocabulary import ABSENCE_REASONS
from tests.unit.gateway import policy_factory as make
from tests.unit.gateway.test_record_caps import FACTS, HASH, INTEGER, NULLABLE
from tests.unit.gateway.world_builder import DIGEST_KEY, INSTANCE, KEY, Chance

TEXT = st.text(st.characters(codec="utf-8"), max_size=400) | st.sampled_from(
    ["x" * 5_000, "\x00" * 300, '"' * 300, "𝄞" * 200, ""]
)
TEXTS = st.lists(TEXT, max_size=30).map(tuple)
MAYBE = st.none() | TEXT
WALL_US = 1_800_000_000_123_456


class StillClock(msgspec.Struct, frozen=True):
    """A clock that says what it is told."""

    err: int | None = 3
    boot: str | None = "boot-1"

    def wall_us(self) -> int:
        return WALL_US

    def source(self) -> str:
        return "simulated"

    def error_ms(self) -> int | None:
        return self.err

    def mono_us(self) -> int:
        return INTEGER

    def boot_id(self) -> str | None:
        return self.boot


def scribe(clock: StillClock = StillClock()) -> Scribe:  # noqa: B008  # frozen
    return Scribe(
        tenant="t" * 63,
        region="r" * 63,
        topology="sidecar",
        digest_key=DIGEST_KEY,
        clock=clock,
        entropy=Chance(),
    )


RULED = Ruled(
    outcome="deny",
    stage="request",
    reason="no_grant",
    rules=(),
    unknown_rules=(),
    obligations=(),
    commit="before_forward",
    fail_open=False,
    facts=record.Facts(inputs={}, results=""),
    policy=record.Policy("acme/prod", 7, HASH, "fresh", 12, "table/1", None),
)
PARENT = record.Parent("i" * 36, "x" * 26, 1, HASH, HASH, "2026-11-23T18:00:00.000000Z", 4)
CREDENTIALED = msgspec.structs.replace(make.upstream(), credential_id="company")


def subject(**changes: object) -> Subject:
    full = Subject(
        id="0" * 36,
        wall_us=WALL_US,
        route=msgspec.structs.replace(make.route(), server="s", provider="p"),
        principal=make.principal(agent_name="n", agent_version="v", agent_session="s"),
        call=make.tool_call(model="m", tool_call_id="1"),
        label=make.label(),
        request=keyed_digest(DIGEST_KEY, b"body"),
        trace=None,
        parent=None,
    )
    return msgspec.structs.replace(full, **changes)


def decision(
    given_subject: Subject,
    ruled: Ruled = RULED,
    upstreams: tuple[Upstream, ...] = (CREDENTIALED,),
    clock: StillClock = StillClock(),  # noqa: B008  # frozen
) -> record.Decision:
    draft, _ = scribe(clock).decision(given_subject, ruled, upstreams=upstreams, status=403)
    return draft


def payload(draft: record.Record) -> bytes:
    """The bytes of ``draft`` with its place in a chain, checked by decoding them."""
    made = Sealer(KEY, INSTANCE).seal(draft).payload
    record.decode(made)
    return made


# -- sizes -----------------------------------------------------------------------------------

PRINCIPALS = st.builds(
    Principal,
    person_id=MAYBE,
    person_iss=MAYBE,
    token_id=MAYBE,
    assurance=st.sampled_from(["delegated", "none"]),
    agent_id=MAYBE,
    attested_by=st.sampled_from([None, "local_token"]),
    agent_name=MAYBE,
    agent_version=MAYBE,
    agent_session=MAYBE,
    roles=TEXTS,
    scopes=TEXTS,
    delegation=TEXTS,
    absent=st.just((Absence("person.id", "no_delegation_token"),)),
)
CALLS = st.builds(
    CallView,
    protocol=st.just("mcp"),
    operation=st.just("tool_notification"),
    provider=st.none(),
    model=MAYBE,
    stream=st.booleans(),
    tool=MAYBE,
    tool_server=MAYBE,
    tool_call_id=MAYBE,
    input=st.none() | st.binary(max_size=20),
    hosted_tools=TEXTS,
    unknown_tools=TEXTS,
    references=TEXTS,
)
LABELS = st.builds(
    Label,
    level=st.just("confidential"),
    categories=TEXTS,
    completeness=st.just("partial"),
    classifier=TEXT,
)
RULINGS = st.builds(
    Ruled,
    outcome=st.just("approval_required"),
    stage=st.just("response"),
    reason=st.just("identity_keys_unavailable"),
    rules=TEXTS,
    unknown_rules=TEXTS,
    obligations=TEXTS,
    commit=st.just("before_response"),
    fail_open=st.booleans(),
    facts=st.just(FACTS),
    policy=st.builds(
        record.Policy,
        scope=MAYBE,
        version=st.just(INTEGER),
        digest=st.just(HASH),
        state=st.just("expired"),
        age_ms=st.just(INTEGER),
        engine=MAYBE,
        shadow=MAYBE,
    ),
)
SUBJECTS = st.builds(
    subject,
    principal=PRINCIPALS,
    call=st.none() | CALLS,
    label=st.none() | LABELS,
    trace=st.none() | st.just("t" * limits.TRACE_BYTES_MAX),
    parent=st.sampled_from([None, "claimed:" + "p" * 40, PARENT]),
)


@settings(max_examples=15)
@given(SUBJECTS, RULINGS)
def test_a_decision_never_exceeds_what_is_reserved_for_it(given: Subject, ruled: Ruled) -> None:
    draft = decision(given, ruled, (CREDENTIALED,) * 9, StillClock(err=None, boot=None))
    assert len(payload(draft)) <= limits.RECORD_BYTES_MAX


NAMES = st.sampled_from(["n" * 63, "first"])
COUNTS = st.none() | st.integers(-limits.JSON_INTEGER_MAX, limits.JSON_INTEGER_MAX)
FINDINGS = st.builds(
    Finding,
    outcome=st.just("response_blocked"),
    upstream=st.none() | NAMES,
    status=st.none() | st.integers(100, 599),
    served=MAYBE,
    usage=st.builds(record.Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    finish_reasons=TEXTS,
    upstream_request_id=MAYBE,
    attempts=st.lists(
        st.builds(
            record.Attempt,
            NAMES,
            NAMES,
            st.just(599),
            st.just("upstream_unreachable"),
            st.just(INTEGER),
        ),
        max_size=9,
    ),
    total_us=st.just(INTEGER),
    bytes_in=st.just(INTEGER),
    request=st.none() | st.just(keyed_digest(DIGEST_KEY, b"")),
)


@settings(max_examples=15)
@given(FINDINGS)
def test_a_completion_never_exceeds_what_is_reserved_for_it(found: Finding) -> None:
    draft = scribe().completion("0" * 36, WALL_US, found)
    assert len(payload(draft)) <= limits.RECORD_BYTES_MAX


# -- nulls -----------------------------------------------------------------------------------


def explained(draft: record.Decision) -> None:
    """Every null of the eight fields is in ``absent`` once, with a word of the closed list."""
    members = msgspec.to_builtins(draft)
    nulls = {path for path in NULLABLE if _at(members, path) is None}
    if any(one["credential_id"] is None for one in members["model"]["upstreams"]):
        nulls.add("model.upstreams.credential_id")
    paths = [one.path for one in draft.absent]
    assert sorted(paths) == sorted(nulls)
    assert {one.reason for one in draft.absent} <= ABSENCE_REASONS


def _at(members: Mapping[str, object], path: str) -> object:
    value: object = members
    for name in path.split("."):
        assert isinstance(value, Mapping)
        value = value[name]
    return value


@settings(max_examples=15)
@given(SUBJECTS, RULINGS)
def test_every_null_has_its_reason(given: Subject, ruled: Ruled) -> None:
    whole = msgspec.structs.replace(ruled.policy, scope="s", engine="e", shadow=ruled.policy.shadow)
    ruled = msgspec.structs.replace(ruled, policy=whole)
    explained(decision(given, ruled))


@pytest.mark.parametrize("nameless", [None, RULED.policy], ids=["no policy", "a policy"])
def test_the_emptiest_decision_explains_all_of_it(nameless: record.Policy | None) -> None:
    nobody = make.principal(
        person_id=None,
        person_iss=None,
        token_id=None,
        agent_id=None,
        attested_by=None,
        absent=(Absence("person.id", "token_rejected"), Absence("agent.id", "not_bound")),
    )
    route = msgspec.structs.replace(make.route(), provider=None, server=None)
    policy = nameless or record.Policy(None, None, None, "empty", None, None, None)
    draft = decision(
        subject(principal=nobody, call=None, label=None, route=route),
        msgspec.structs.replace(RULED, policy=policy),
        (make.upstream(),),
        StillClock(err=None, boot=None),
    )
    explained(draft)
    reasons = {one.path: one.reason for one in draft.absent}
    assert reasons["person.id"] == "token_rejected"
    assert reasons["agent.id"] == "not_bound"
    assert reasons["agent.name"] == "not_stated"
    assert reasons["model.requested"] == reasons["data.level"] == "not_read"
    assert reasons["time.clock.boot_id"] == "clock_unknown"
    assert len(draft.absent) == (20 if nameless else 25)


def test_a_full_decision_leaves_nothing_to_explain() -> None:
    policy = msgspec.structs.replace(RULED.policy, shadow="allow")
    assert decision(subject(), msgspec.structs.replace(RULED, policy=policy)).absent == []


def test_what_was_read_and_not_classified_says_so() -> None:
    draft = decision(subject(label=None))
    assert {one.reason for one in draft.absent if one.path.startswith("data.")} == {
        "not_classified"
    }


# -- cuts ------------------------------------------------------------------------------------

WHOLE = {
    "person.id": (limits.PERSON_ID_BYTES_MAX, "person_id"),
    "person.iss": (limits.PERSON_ISS_BYTES_MAX, "person_iss"),
    "agent.id": (limits.AGENT_ID_BYTES_MAX, "agent_id"),
    "model.requested": (limits.MODEL_BYTES_MAX, "model"),
    "model.tool": (limits.TOOL_BYTES_MAX, "tool"),
}


@pytest.mark.parametrize("path", sorted(WHOLE))
def test_who_and_what_must_not_be_cut(path: str) -> None:
    bytes_max, member = WHOLE[path]
    for length, refused in ((bytes_max, None), (bytes_max + 1, path)):
        value = {member: "x" * length}
        if path.startswith("model."):
            given_subject = subject(call=make.tool_call(**value))
        else:
            given_subject = subject(principal=make.principal(**value))
        _, too_long = scribe().decision(given_subject, RULED, upstreams=(), status=None)
        assert too_long == refused


CAPPED: dict[str, tuple[int, Subject | Ruled]] = {
    "data.classifier": (
        limits.CLASSIFIER_BYTES_MAX,
        subject(label=make.label(classifier="x" * 999)),
    ),
    "data.categories[0]": (
        limits.CATEGORY_BYTES_MAX,
        subject(label=make.label(categories=("x" * 999,))),
    ),
    "model.tool_server": (
        limits.NAME_BYTES_MAX,
        subject(call=make.tool_call(tool_server="x" * 999)),
    ),
    "policy.scope": (
        limits.NAME_BYTES_MAX,
        msgspec.structs.replace(
            RULED, policy=msgspec.structs.replace(RULED.policy, scope="x" * 999)
        ),
    ),
    "policy.engine": (
        limits.ENGINE_BYTES_MAX,
        msgspec.structs.replace(
            RULED, policy=msgspec.structs.replace(RULED.policy, engine="x" * 999)
        ),
    ),
    "policy.shadow": (
        limits.SHADOW_BYTES_MAX,
        msgspec.structs.replace(
            RULED, policy=msgspec.structs.replace(RULED.policy, shadow="x" * 999)
        ),
    ),
}


@pytest.mark.parametrize("path", sorted(CAPPED))
def test_what_exceeds_its_cap_is_cut_and_named(path: str) -> None:
    bytes_max, given = CAPPED[path]
    draft = decision(given) if isinstance(given, Subject) else decision(subject(), given)
    (cut,) = draft.cut
    assert (cut.path, cut.length) == (path, 999)
    assert cut.digest == keyed_digest(DIGEST_KEY, b"x" * 999)
    name, _, index = path.partition("[")
    value = _at(msgspec.to_builtins(draft), name)
    assert (value[0] if index and isinstance(value, list) else value) == "x" * bytes_max


@settings(max_examples=15)
@given(SUBJECTS)
def test_nothing_is_cut_silently(given: Subject) -> None:
    draft = decision(given)
    named = {cut.path for cut in draft.cut}
    for path, value in (
        ("authz.roles", given.principal.roles),
        ("authz.scopes", given.principal.scopes),
    ):
        kept = _at(msgspec.to_builtins(draft), path)
        if kept != list(value):
            assert MANY in named or any(one.startswith(path) for one in named)
    for role in draft.authz.roles:
        assert json_bytes(role) <= limits.ROLE_BYTES_MAX


# -- digests ---------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_a_digest_of_chunks_is_that_of_the_whole(chunks: list[bytes]) -> None:
    passing = BodyDigest(DIGEST_KEY)
    for chunk in chunks:
        passing.feed(chunk)
    assert passing.text() == scribe().digest(b"".join(chunks))
    assert passing.text() == keyed_digest(DIGEST_KEY, b"".join(chunks))


def test_a_call_without_input_has_no_digest_of_it() -> None:
    assert decision(subject(call=make.chat(input=None))).digest.input is None
    assert decision(subject(call=None)).digest.input is None
    empty = decision(subject(call=make.chat(input=b"")))
    assert empty.digest.input == keyed_digest(DIGEST_KEY, b"")


# -- the rest --------------------------------------------------------------------------------


def test_findings_stand_in_their_members() -> None:
    attempt = record.Attempt("first", "eu", 200, None, 5)
    found = Finding(
        outcome="ok",
        upstream="first",
        status=200,
        served="m",
        usage=record.Usage(1, 2, 3, 4, 5),
        finish_reasons=("stop",),
        upstream_request_id="q",
        attempts=[attempt],
        policy_us=1,
        classify_us=2,
        commit_us=3,
        upstream_us=4,
        first_byte_us=5,
        total_us=6,
        bytes_in=7,
        bytes_out=8,
        request="a",
        response="b",
    )
    made = scribe().completion("of", WALL_US, found)
    assert (made.of, made.outcome, made.upstream, made.status) == ("of", "ok", "first", 200)
    assert (made.attempts, made.usage) == ([attempt], record.Usage(1, 2, 3, 4, 5))
    assert made.latency_us == record.Latency(1, 2, 3, 4, 5, 6)
    assert (made.bytes.in_, made.bytes.out) == (7, 8)
    assert made.digest == record.CompletionDigest("a", "b")
    assert made.time.ended == "2027-01-15T08:00:00.123456Z"


def test_a_completion_lists_no_more_attempts_than_a_permit_has_upstreams() -> None:
    attempts = [record.Attempt(f"up-{index}", "eu", None, None, 1) for index in range(9)]
    made = scribe().completion("of", WALL_US, Finding(attempts=attempts))
    assert made.attempts == attempts[: limits.ATTEMPTS_MAX]
    assert limits.ATTEMPTS_MAX == limits.UPSTREAMS_MAX


def test_a_finding_starts_without_a_claim_of_its_own() -> None:
    assert inspect.signature(Finding).parameters["upstream"].default is None
    one, other = Finding(), Finding()
    one.attempts.append(record.Attempt("a", "b", None, None, 1))
    assert other.attempts == []


def test_hosted_and_unknown_tools_stand_together() -> None:
    call = make.chat(hosted_tools=("web_search",), unknown_tools=("teleport",))
    assert decision(subject(call=call)).model.hosted_tools == ["web_search", "teleport"]


def test_every_record_has_an_id_of_its_own() -> None:
    drawing = scribe()
    assert len({drawing.draw_id(WALL_US) for _ in range(100)}) == 100
