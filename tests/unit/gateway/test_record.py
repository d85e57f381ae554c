"""Record v1: its exact bytes, its member order, and what a reader refuses."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import documents, record
from tests.formations import structs
from tests.goldens import hold, names
from tests.specimens import ADMIN, COMPLETION, DECISION, RECORDS, SIGNER, START

KINDS = sorted(record.KINDS)
FIRST = ["v", "kind", "id", "tenant", "region", "chain"]
MEMBERS = {
    "start": "topology time pub certificate config_digest build continues continues_reason",
    "decision": "topology time person agent authz data policy model decision facts absent cut"
    " digest parent trace ext",
    "completion": "of outcome time upstream attempts served usage finish_reasons"
    " upstream_request_id status latency_us bytes digest cut",
    "heartbeat": "durable_seq record_hash acked_seq counters log_seen certificate",
    "rotate": "next_kid next_certificate",
    "recovered": "instance last_seq last_hash cut_bytes ambiguous damaged quarantined",
    "seal": "counters",
    "admin": "who what why parameters range",
}
PARTS = {
    record.Chain: "instance seq prev kid",
    record.Person: "id iss token_id assurance",
    record.Agent: "id attested_by name version session",
    record.Authz: "roles scopes delegation",
    record.Data: "level categories completeness classifier",
    record.Policy: "scope version digest state age_ms engine shadow",
    record.UpstreamRef: "name region credential_id",
    record.Model: "provider requested operation route upstreams tool tool_server tool_call_id"
    " hosted_tools references",
    record.Ruling: "outcome stage reason rules unknown_rules obligations status commit fail_open",
    record.Clock: "source err_ms mono_us boot_id",
    record.Facts: "inputs results",
    record.Absent: "path reason",
    record.Cut: "path length digest",
    record.DecisionDigest: "request forwarded input",
    record.Parent: "id instance seq record_hash request_sha256 time hops",
    record.Usage: "input output cache_read cache_creation reasoning",
    record.Attempt: "upstream region status code latency_us",
    record.Latency: "policy classify commit upstream first_byte total",
    record.Bytes: "in out",
    record.CompletionDigest: "request response",
    record.Continues: "instance seq record_hash",
    record.DamagedRange: "first_seq last_seq",
    record.Quarantined: "file length digest",
    documents.Counters: "decisions completions turned_away",
    documents.LogSeen: "origin size root",
}


def test_there_is_a_specimen_of_every_kind() -> None:
    assert set(RECORDS) == set(record.KINDS) == set(MEMBERS)


@pytest.mark.parametrize("kind", KINDS)
def test_payload_bytes_are_golden(kind: str) -> None:
    hold(f"record/{kind}.json", record.encode(RECORDS[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_signed_envelopes_are_golden(kind: str) -> None:
    sealed = SIGNER.envelope(documents.RECORD, record.encode(RECORDS[kind]))
    hold(f"record/{kind}.dsse.json", documents.encode(sealed))


def test_every_golden_record_is_still_checked() -> None:
    assert names("record") == {f"{k}{end}" for k in KINDS for end in (".json", ".dsse.json")}


@pytest.mark.parametrize("kind", KINDS)
def test_members_stand_in_the_order_of_the_format(kind: str) -> None:
    members = list(msgspec.json.decode(record.encode(RECORDS[kind])))
    assert members == FIRST + MEMBERS[kind].split()


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_parts_keep_their_members_in_order(part: type[msgspec.Struct]) -> None:
    assert " ".join(part.__struct_encode_fields__) == PARTS[part]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_omitted_and_no_member_has_a_default(kind: str) -> None:
    for field in msgspec.structs.fields(record.KINDS[kind]):
        assert field.required, field.name


@pytest.mark.parametrize("kind", KINDS)
def test_decode_is_the_inverse_of_encode(kind: str) -> None:
    assert record.decode(record.encode(RECORDS[kind])) == RECORDS[kind]


@settings(max_examples=10)
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_record_comes_back_as_it_was_in_the_same_bytes(kind: str, data: st.DataObject) -> None:
    drawn = data.draw(structs(record.KINDS[kind], {"v": 1, "kind": kind}))
    payload = record.encode(drawn)
    assert record.decode(payload) == drawn
    assert record.encode(record.decode(payload)) == payload
    leading = record.decode_leading(payload)
    assert (leading.kind, leading.id, leading.chain) == (kind, drawn.id, drawn.chain)


ADMIN_BYTES = record.encode(ADMIN)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        ADMIN_BYTES[:-1],
        ADMIN_BYTES + b" ",
        ADMIN_BYTES + b"\n",
        b" " + ADMIN_BYTES,
        b"\xef\xbb\xbf" + ADMIN_BYTES,
        ADMIN_BYTES + ADMIN_BYTES,
        ADMIN_BYTES.replace(b",", b", ", 1),
        ADMIN_BYTES.replace(b'"v":1,', b"", 1),
        ADMIN_BYTES.replace(b'"v":1', b'"v":1.0', 1),
        ADMIN_BYTES.replace(b'"v":1', b'"v":2', 1),
        ADMIN_BYTES.replace(b'"v":1', b'"v":true', 1),
        ADMIN_BYTES.replace(b'"admin"', b'"edict"', 1),
        ADMIN_BYTES.replace(b'"seq":7', b'"seq":9007199254740992', 1),
        ADMIN_BYTES.replace(b'"seq":7', b'"seq":-9007199254740992', 1),
        ADMIN_BYTES.replace(b'"seq":7', b'"seq":7e0', 1),
        ADMIN_BYTES.replace(b'"who":', b'"who":"mallory","who":', 1),
        ADMIN_BYTES.replace(b'"v":1', b'"v":1,"v":1', 1),
        ADMIN_BYTES.replace(b"export", rb"\u0065xport", 1),
        ADMIN_BYTES.replace(b"acme", b"ac\\/me", 1),
        ADMIN_BYTES.replace(b"export", b"ex\xffport", 1),
        ADMIN_BYTES.replace(b"export", rb"\ud800", 1),
        ADMIN_BYTES.replace(b'"range":"0-1233"}', b'"range":"0-1233","more":1}', 1),
        ADMIN_BYTES.replace(b',"range":"0-1233"}', b"}", 1),
        ADMIN_BYTES.replace(b'"what":"export","why":', b'"why":"export","what":', 1).replace(
            b'"what":', b'"what": ', 1
        ),
        ADMIN_BYTES[:-1] + b',"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=range(29),
)
def test_bytes_that_are_not_the_exact_form_are_refused(payload: bytes) -> None:
    assert payload != ADMIN_BYTES
    with pytest.raises(msgspec.DecodeError):
        record.decode(payload)


def test_every_prefix_of_a_record_is_refused() -> None:
    for end in range(len(ADMIN_BYTES)):
        with pytest.raises(msgspec.DecodeError):
            record.decode(ADMIN_BYTES[:end])


def test_a_store_reads_the_first_members_of_versions_it_does_not_know() -> None:
    payload = ADMIN_BYTES.replace(b'"v":1', b'"v":9', 1).replace(b'"admin"', b'"edict"', 1)
    leading = record.decode_leading(payload[:-1] + b',"later":{"x":1.5}}')
    assert (leading.v, leading.kind, leading.tenant) == (9, "edict", "acme")


@pytest.mark.parametrize(
    ("path", "draft"),
    [
        ("topology", msgspec.structs.replace(DECISION, topology="edge")),
        (
            "decision.outcome",
            msgspec.structs.replace(
                DECISION, decision=msgspec.structs.replace(DECISION.decision, outcome="redact")
            ),
        ),
        (
            "decision.reason",
            msgspec.structs.replace(
                DECISION, decision=msgspec.structs.replace(DECISION.decision, reason="whim")
            ),
        ),
        (
            "person.assurance",
            msgspec.structs.replace(
                DECISION, person=msgspec.structs.replace(DECISION.person, assurance="sure")
            ),
        ),
        (
            "data.level",
            msgspec.structs.replace(
                DECISION, data=msgspec.structs.replace(DECISION.data, level="secret")
            ),
        ),
        (
            "absent[trace]",
            msgspec.structs.replace(DECISION, absent=[record.Absent("trace", "no idea")]),
        ),
        ("outcome", msgspec.structs.replace(COMPLETION, outcome="fine")),
        ("continues_reason", msgspec.structs.replace(START, continues_reason="because")),
    ],
)
def test_a_writer_refuses_words_outside_the_vocabulary(path: str, draft: record.Record) -> None:
    with pytest.raises(ValueError, match="vocabulary") as caught:
        record.check_words(draft)
    assert path in str(caught.value)
    # A reader keeps what it does not know: a store may be older than a writer.
    assert record.decode(record.encode(draft)) == draft


@pytest.mark.parametrize("kind", KINDS)
def test_specimens_use_the_vocabulary(kind: str) -> None:
    record.check_words(RECORDS[kind])


def test_times_hashes_and_digests_have_one_text_form() -> None:
    text = record.encode(DECISION).decode()
    assert '"decided":"2026-11-23T18:00:01.250000Z"' in text
    assert '"prev":"sha256:' in text
    assert '"request":"hmac-sha256:' in text
