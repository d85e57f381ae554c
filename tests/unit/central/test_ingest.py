"""Taking in batches over HTTP: what arrives is kept once, and every attack leaves evidence."""

from __future__ import annotations

import gzip
import sqlite3
import time
from typing import cast

import msgspec
import pytest

from gateway import documents, limits, record, seal
from gateway.documents import RequestOf
from gateway.shipping import ShipAnswer
from tests import specimens
from tests.unit.central.deployment import HOUR_US, Daemon, Deployment


def codes(answer: ShipAnswer) -> list[tuple[int, str]]:
    return [(one.seq, one.code) for one in answer.exceptions]


def error_code(answer: object) -> str:
    body = cast("dict[str, dict[str, str]]", answer.json())  # type: ignore[attr-defined]  # httpx.Response
    assert body["error"]["type"] == "gatepost"
    return body["error"]["code"]


def rows(deployment: Deployment, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"{deployment.directory}/data/records.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_records_arrive_and_are_found(deployment: Deployment, daemon: Daemon) -> None:
    start, call = daemon.start(), daemon.decision()
    answer = daemon.ship(start, call, daemon.completion(call), daemon.end())
    assert answer.through_seq == 3
    assert codes(answer) == []
    assert answer.head is not None
    assert answer.head.seq == 3
    found = deployment.get("/v1/records", person="alice@acme.example")
    assert [item["id"] for item in found["items"]] == [call.id]


def test_the_same_batch_again_changes_nothing(deployment: Deployment, daemon: Daemon) -> None:
    batch = [daemon.start(), daemon.decision()]
    first = daemon.ship(*batch)
    again = daemon.ship(*batch)
    assert codes(first) == []
    assert codes(again) == [(0, "duplicate"), (1, "duplicate")]
    assert (again.through_seq, again.head) == (first.through_seq, first.head)
    assert rows(deployment, "SELECT count(*) FROM record") == [(2,)]


def test_leaf_indexes_are_contiguous_from_the_first_leaf(
    deployment: Deployment, daemon: Daemon
) -> None:
    other = Daemon(deployment, 2).ready()
    daemon.ship(daemon.start(), daemon.decision())
    other.ship(other.start())
    daemon.ship(daemon.decision())
    leaves = rows(deployment, "SELECT leaf_index, type FROM leaf ORDER BY leaf_index")
    assert leaves == [(0, 2), (1, 2), (2, 1), (3, 1), (4, 1), (5, 1)]
    assert rows(deployment, "SELECT size FROM log") == [(6,)]


def test_a_hole_never_refuses_what_follows_and_can_be_filled(
    deployment: Deployment, daemon: Daemon
) -> None:
    chain = [daemon.start(), daemon.decision(), daemon.decision(), daemon.decision()]
    assert codes(daemon.ship(chain[0], chain[3])) == []
    (instance,) = deployment.instances()
    assert (instance["missing"], instance["gaps"]) == (2, [{"first_seq": 1, "last_seq": 2}])
    assert codes(daemon.ship(chain[1], chain[2])) == []
    (instance,) = deployment.instances()
    assert (instance["missing"], instance["gaps"], instance["records"]) == (0, [], 4)


def test_a_second_record_at_a_place_is_a_fork_and_its_bytes_are_kept(
    deployment: Deployment, daemon: Daemon
) -> None:
    twin = Daemon(deployment, 1)
    daemon.ship(daemon.start(), daemon.decision())
    twin.start()
    other = twin.decision(trace=None)
    answer = daemon.ship(other)
    assert codes(answer) == [(1, "fork")]
    assert answer.through_seq == 1
    assert codes(daemon.ship(other)) == [(1, "fork")]
    kept = rows(deployment, "SELECT code, line, leaf_index FROM evidence")
    assert kept == [("fork", other.envelope_line(), 3)], "kept once, with a leaf"
    (instance,) = deployment.instances()
    assert (instance["state"], instance["forks"]) == ("forked", 1)


def test_a_record_that_names_another_one_before_it_is_a_fork(
    deployment: Deployment, daemon: Daemon
) -> None:
    twin = Daemon(deployment, 1)
    twin.start()
    twin.decision(trace=None)
    spliced = twin.decision()
    assert codes(daemon.ship(daemon.start(), daemon.decision(), spliced)) == [(2, "fork")]


def test_filling_a_hole_with_another_record_is_a_fork(
    deployment: Deployment, daemon: Daemon
) -> None:
    twin = Daemon(deployment, 1)
    chain = [daemon.start(), daemon.decision(), daemon.decision()]
    daemon.ship(chain[0], chain[2])
    twin.start()
    assert codes(daemon.ship(twin.decision(trace=None))) == [(1, "fork")]


def test_nothing_is_accepted_after_a_seal(daemon: Daemon) -> None:
    daemon.ship(daemon.start(), daemon.end())
    assert codes(daemon.ship(daemon.decision())) == [(2, "sealed")]


def test_a_rotated_key_signs_nothing_more(deployment: Deployment, daemon: Daemon) -> None:
    following = Daemon(deployment, 9)
    following.instance = daemon.instance
    following.enrol()
    assert following.certificate is not None
    turn = daemon.write(
        specimens.ROTATE, next_kid=following.signer.kid, next_certificate=following.certificate
    )
    # Nobody posted the next certificate: it counts from the record that brings it.
    assert codes(daemon.ship(daemon.start(), turn)) == [], "seq 0 is the rotate, 1 the start"


def test_a_rotation_hands_the_chain_to_the_next_key(deployment: Deployment, daemon: Daemon) -> None:
    following = Daemon(deployment, 9)
    following.instance = daemon.instance
    following.enrol()
    assert following.certificate is not None
    start = daemon.start()
    turn = daemon.write(
        specimens.ROTATE, next_kid=following.signer.kid, next_certificate=following.certificate
    )
    stale = Daemon(deployment, 1)
    stale.start()
    stale.write(
        specimens.ROTATE, next_kid=following.signer.kid, next_certificate=following.certificate
    )
    late = stale.decision()
    daemon.sealer.rotate(following.signer)
    fresh = daemon.decision()
    assert codes(daemon.ship(start, turn, fresh)) == []
    assert codes(daemon.ship(late)) == [(2, "fork")], "the place is taken"
    stale.decision()
    stale.decision()
    assert codes(daemon.ship(stale.decision())) == [(5, "sealed")], "its key was retired"


def forged(sealed: seal.Sealed, signer: seal.Signer) -> seal.Sealed:
    return msgspec.structs.replace(sealed, signature=signer.sign(seal.record_pae(sealed.payload)))


def test_a_forged_signature_is_rejected_and_kept(deployment: Deployment, daemon: Daemon) -> None:
    start, call, after = daemon.start(), daemon.decision(), daemon.decision()
    bad = forged(call, seal.Signer(b"x" * 32))
    answer = daemon.ship(start, bad, after)
    assert codes(answer) == [(1, "rejected")]
    assert answer.through_seq == 2
    ((cause,),) = rows(deployment, "SELECT cause FROM evidence")
    assert cause == "the signature is not valid"


@pytest.mark.parametrize("changes", [{"tenant": "globex"}, {"region": "us-east-1"}])
def test_a_record_of_another_tenant_is_rejected(daemon: Daemon, changes: dict[str, str]) -> None:
    daemon.ship(daemon.start())
    assert codes(daemon.ship(daemon.decision(**changes))) == [(1, "rejected")]


def test_a_record_of_an_instance_that_the_request_does_not_name_is_rejected(
    deployment: Deployment, daemon: Daemon
) -> None:
    other = Daemon(deployment, 2).ready()
    assert codes(daemon.ship(other.start())) == [(0, "rejected")]


def test_a_replayed_start_of_a_live_instance_finds_its_place_taken(
    deployment: Deployment, daemon: Daemon
) -> None:
    start = daemon.start()
    daemon.ship(start, daemon.decision())
    again = Daemon(deployment, 1)
    other = again.write(specimens.START, build="another build", certificate=None, pub="")
    assert codes(daemon.ship(start)) == [(0, "duplicate")]
    assert codes(daemon.ship(other)) == [(0, "fork")]


def test_a_dead_uncertified_instance_is_shipped_by_its_successor_and_is_not_proof(
    deployment: Deployment, daemon: Daemon
) -> None:
    dead = Daemon(deployment, 7)
    left = [dead.start(), dead.decision()]
    of = RequestOf(instance=dead.instance, first_seq=0, last_seq=1)
    assert codes(daemon.ship(*left, of=of)) == []
    page = deployment.get("/v1/records", instance=dead.instance)
    assert [item["certified"] for item in page["items"]] == [False, False]
    states = {one["instance"]: one["state"] for one in deployment.instances()}
    assert states[dead.instance] == "uncertified"
    dead.ready()
    page = deployment.get("/v1/records", instance=dead.instance)
    assert [item["certified"] for item in page["items"]] == [True, True], "certified afterwards"


@pytest.mark.parametrize("place", [{"tenant": "globex"}, {"region": "us-east-1"}])
def test_a_dead_instance_of_another_tenant_is_not_shipped(
    deployment: Deployment, daemon: Daemon, place: dict[str, str]
) -> None:
    dead = Daemon(deployment, 7, **place)
    of = RequestOf(instance=dead.instance, first_seq=0, last_seq=0)
    assert codes(daemon.ship(dead.start(), of=of)) == [(0, "rejected")]


def test_only_the_instance_that_the_request_names_is_shipped(
    deployment: Deployment, daemon: Daemon
) -> None:
    dead, other = Daemon(deployment, 7), Daemon(deployment, 8)
    of = RequestOf(instance=dead.instance, first_seq=0, last_seq=0)
    assert codes(daemon.ship(other.start(), of=of)) == [(0, "rejected")]
    assert deployment.get("/v1/records", instance=other.instance)["items"] == []


def test_nobody_can_put_a_chain_in_the_place_of_a_certified_instance(
    deployment: Deployment, daemon: Daemon
) -> None:
    victim = Daemon(deployment, 2).ready()
    impostor = Daemon(deployment, 8)
    impostor.sealer = seal.Sealer(impostor.signer, victim.instance)
    of = RequestOf(instance=victim.instance, first_seq=0, last_seq=0)
    assert codes(daemon.ship(impostor.start(), of=of)) == [(0, "rejected")]
    assert codes(victim.ship(victim.start())) == []


def test_what_a_daemon_is_not_certified_to_write_is_set_aside(daemon: Daemon) -> None:
    """A person's act stands in a service's own chain, and a call names the daemon's topology."""
    daemon.ship(daemon.start())
    assert codes(daemon.ship(daemon.write(specimens.ADMIN))) == [(1, "rejected")]
    assert codes(daemon.ship(daemon.decision(topology="regional"))) == [(2, "rejected")]


def test_a_small_order_key_declares_nothing(deployment: Deployment, daemon: Daemon) -> None:
    identity = (1).to_bytes(32, "little")
    kid = seal.key_id(identity)
    draft = msgspec.structs.replace(
        specimens.START,
        pub="AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        certificate=None,
        chain=record.Chain(daemon.instance, 0, "sha256:" + kid[8:], kid),
    )
    payload = record.encode(draft)
    signature = identity + bytes(32)
    line = documents.encode(seal.envelope(documents.RECORD, payload, [(kid, signature)]))
    answer = msgspec.json.decode(daemon.ship_lines([line]).content, type=ShipAnswer)
    assert codes(answer) == [(0, "rejected")]


def test_an_inexact_payload_is_rejected_though_it_is_signed(daemon: Daemon) -> None:
    start, call = daemon.start(), daemon.decision()
    payload = call.payload.replace(b'"v":1,', b'"v":1,"v":1,', 1)
    twice = msgspec.structs.replace(call, payload=payload)
    assert codes(daemon.ship(start, forged(twice, daemon.signer))) == [(1, "rejected")]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"v":1,"kind":"\xf0","id":"x","tenant":"acme","region":"eu-west-1","chain":{}}',
        b"[" * 100_000,
        b"",
        b"null",
    ],
)
def test_signed_bytes_that_are_no_record_are_rejected(daemon: Daemon, payload: bytes) -> None:
    signature = daemon.signer.sign(seal.record_pae(payload))
    line = documents.encode(
        seal.envelope(documents.RECORD, payload, [(daemon.signer.kid, signature)])
    )
    answer = msgspec.json.decode(daemon.ship_lines([line]).content, type=ShipAnswer)
    assert codes(answer) == [(0, "rejected")]


@pytest.mark.parametrize("line", [b"{}", b"\xff", b"", b'{"payloadType":"x"}', b"[" * 5_000])
def test_a_line_that_cannot_be_read_does_not_hide_its_neighbours(
    deployment: Deployment, daemon: Daemon, line: bytes
) -> None:
    start, call, after = daemon.start(), daemon.decision(), daemon.decision()
    lines = [start.envelope_line(), line, after.envelope_line()]
    answer = msgspec.json.decode(daemon.ship_lines(lines).content, type=ShipAnswer)
    assert codes(answer) == [(1, "rejected")]
    assert answer.through_seq == 2
    assert rows(deployment, "SELECT line FROM evidence") == [(line,)]
    assert codes(daemon.ship(call)) == [], "the real one still finds its place"


@pytest.mark.parametrize(("old", "new"), [(b'"v":1', b'"v":2'), (b'"decision"', b'"tomorrow"')])
def test_an_unknown_version_or_kind_is_kept_unindexed(
    deployment: Deployment, daemon: Daemon, old: bytes, new: bytes
) -> None:
    start, call = daemon.start(), daemon.decision()
    unknown = msgspec.structs.replace(call, payload=call.payload.replace(old, new, 1))
    assert codes(daemon.ship(start, forged(unknown, daemon.signer))) == []
    (item,) = deployment.get("/v1/records", instance=daemon.instance, order="newest", limit=1)[
        "items"
    ]
    assert (item["seq"], item["person"]) == (1, None)


@pytest.mark.parametrize("number", [2**53, 2**63, 2**64 - 1])
def test_numbers_that_no_column_holds_do_not_break_the_store(daemon: Daemon, number: int) -> None:
    huge = msgspec.structs.replace(specimens.DECISION.policy, version=number)
    start, call, after = daemon.start(), daemon.decision(policy=huge), daemon.decision()
    assert codes(daemon.ship(start, call, after)) == [(1, "rejected")]
    payload = after.payload.replace(b'"v":1', b'"v":%d' % number, 1)
    later = forged(msgspec.structs.replace(after, payload=payload), daemon.signer)
    assert codes(daemon.ship(later, daemon.decision())) == [(2, "rejected")]


def test_one_log_does_not_know_another(deployment: Deployment, daemon: Daemon) -> None:
    daemon.ship(daemon.start())
    assert rows(deployment, "SELECT tenant, region, origin FROM log") == [
        ("acme", "eu-west-1", "localhost/log/acme/eu-west-1/1")
    ]


# -- the request itself -----------------------------------------------------------------------


def test_an_unknown_sender_is_asked_for_its_certificate(deployment: Deployment) -> None:
    unknown = Daemon(deployment, 3)
    unknown.enrol()
    answer = unknown.ship_lines([unknown.start().envelope_line()])
    assert (answer.status_code, error_code(answer)) == (412, "certificate_unknown")
    assert unknown.post_certificate() == 201
    assert unknown.ship_lines([b"{}"]).status_code == 200


def test_a_call_without_the_header_is_refused(deployment: Deployment) -> None:
    answer = deployment.http.post("/v1/records", content=b"{}")
    assert (answer.status_code, error_code(answer)) == (401, "request_unsigned")


def test_the_header_is_bound_to_the_call(deployment: Deployment, daemon: Daemon) -> None:
    body = daemon.start().envelope_line()
    others = {
        "method": daemon.signed("PUT", "/v1/records", body),
        "path": daemon.signed("POST", "/v1/chain-heads", body),
        "query": daemon.signed("POST", "/v1/records?x=1", body),
        "content": daemon.signed("POST", "/v1/records", b"other"),
        "audience": daemon.signed("POST", "/v1/records", body, audience="another service"),
        "time": daemon.signed("POST", "/v1/records", body, skew_us=-25 * HOUR_US),
        "unreadable": {"Gatepost-Signed": "%%%"},
        "too long": {"Gatepost-Signed": "A" * 10_000},
    }
    for part, headers in others.items():
        answer = deployment.http.post("/v1/records", content=body, headers=headers)
        assert (answer.status_code, error_code(answer)) == (401, "request_signature"), part


def test_a_stolen_kid_is_no_credential(deployment: Deployment, daemon: Daemon) -> None:
    body = daemon.start().envelope_line()
    thief = Daemon(deployment, 6)
    thief.signer.kid = daemon.signer.kid
    headers = thief.signed("POST", "/v1/records", body)
    answer = deployment.http.post("/v1/records", content=body, headers=headers)
    assert (answer.status_code, error_code(answer)) == (401, "request_signature")


def test_a_daemon_with_a_bad_clock_still_delivers(deployment: Deployment, daemon: Daemon) -> None:
    body = daemon.start().envelope_line()
    headers = daemon.signed("POST", "/v1/records", body, skew_us=-23 * HOUR_US)
    assert deployment.http.post("/v1/records", content=body, headers=headers).status_code == 200


def test_a_certificate_that_ran_out_ships_nothing(deployment: Deployment, daemon: Daemon) -> None:
    deployment.clock.now_us += 25 * HOUR_US
    answer = daemon.ship_lines([daemon.start().envelope_line()])
    assert (answer.status_code, error_code(answer)) == (403, "certificate_expired")


def test_an_instance_of_another_key_may_not_be_claimed(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.instance = Daemon(deployment, 2).instance
    answer = daemon.ship_lines([b"{}"])
    assert (answer.status_code, error_code(answer)) == (403, "not_entitled")


def post_gzip(daemon: Daemon, body: bytes) -> object:
    headers = {**daemon.signed("POST", "/v1/records", body), "Content-Encoding": "gzip"}
    return daemon.deployment.http.post("/v1/records", content=body, headers=headers)


def test_a_gzip_bomb_is_refused_before_it_unfolds(daemon: Daemon) -> None:
    bomb = gzip.compress(b"\n" * (64 * 1024 * 1024), compresslevel=9)
    began = time.process_time()
    answer = post_gzip(daemon, bomb)
    assert error_code(answer) == "body_too_large"
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("tail", [b"", b"junk", gzip.compress(b"{}")])
def test_a_gzip_stream_must_be_whole_and_alone(daemon: Daemon, tail: bytes) -> None:
    packed = gzip.compress(b"{}\n")
    body = packed + tail if tail else packed[:-4]
    assert error_code(post_gzip(daemon, body)) == "malformed_request"


def test_too_many_records_are_refused(daemon: Daemon) -> None:
    answer = daemon.ship_lines([b"{}"] * (limits.SHIP_RECORDS_MAX + 1))
    assert (answer.status_code, error_code(answer)) == (413, "body_too_large")


def test_another_encoding_is_refused(daemon: Daemon) -> None:
    headers = {**daemon.signed("POST", "/v1/records", b"x"), "Content-Encoding": "br"}
    answer = daemon.deployment.http.post("/v1/records", content=b"x", headers=headers)
    assert (answer.status_code, error_code(answer)) == (415, "content_encoding_unsupported")


# -- certificates and chain heads ---------------------------------------------------------------


def test_a_certificate_is_kept_once(deployment: Deployment, daemon: Daemon) -> None:
    assert daemon.post_certificate() == 201
    assert rows(deployment, "SELECT count(*) FROM certificate") == [(1,)]


def test_a_certificate_by_another_issuer_is_refused(deployment: Deployment, daemon: Daemon) -> None:
    forger = seal.Signer(b"f" * 32)
    certificate = msgspec.structs.replace(
        specimens.KEY_CERT, issuer_kid=forger.kid, pub=specimens.PUB
    )
    body = documents.encode(forger.sign_document(documents.KEY_CERT, certificate))
    answer = deployment.http.post("/v1/certificates", content=body)
    assert (answer.status_code, error_code(answer)) == (422, "document_invalid")


def chain_head(daemon: Daemon, **changes: object) -> bytes:
    head = msgspec.structs.replace(
        documents.ChainHead(
            instance=daemon.instance,
            durable_seq=41,
            record_hash=specimens.HASH,
            acked_seq=40,
            counters=specimens.COUNTERS,
            log_seen=None,
        ),
        **changes,
    )
    return documents.encode(daemon.signer.sign_document(documents.CHAIN_HEAD, head))


def post_head(daemon: Daemon, body: bytes) -> int:
    headers = daemon.signed("POST", "/v1/chain-heads", body)
    return daemon.deployment.http.post("/v1/chain-heads", content=body, headers=headers).status_code


def test_the_newest_chain_head_is_kept(deployment: Deployment, daemon: Daemon) -> None:
    daemon.ship(daemon.start())
    assert post_head(daemon, chain_head(daemon)) == 200
    assert post_head(daemon, chain_head(daemon, durable_seq=7)) == 200
    (instance,) = deployment.instances()
    assert (instance["durable_seq"], instance["acked_seq"]) == (41, 40)


def test_a_chain_head_of_another_instance_is_refused(daemon: Daemon) -> None:
    assert post_head(daemon, chain_head(daemon, instance="a" * 26)) == 403


def test_silence_is_not_an_end(deployment: Deployment, daemon: Daemon) -> None:
    daemon.ship(daemon.start())
    assert deployment.instances()[0]["state"] == "open"
    deployment.clock.now_us += HOUR_US
    assert deployment.instances()[0]["state"] == "silent"
    deployment.clock.now_us -= HOUR_US
    daemon.ship(daemon.end())
    assert deployment.instances()[0]["state"] == "sealed"
