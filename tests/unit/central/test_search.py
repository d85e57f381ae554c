"""A prompt or an exact body finds the records with its digest, and leaves no trace of itself."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from central import app as central_app
from central.errors import Refused
from central.record_store import search
from central.record_store.filters import Content, read_query
from central.record_store.logs import find_log
from central.record_store.search import SearchRequest
from central.record_store.walk import page_statement, walk_of
from gateway import documents, limits, record, seal
from gateway.attestation import EnrolAnswer
from gateway.documents import EnrolAttestation
from gateway.timestamp import time_text
from tests import specimens
from tests.unit.central.deployment import HOUR_US, NOW_US, REGION, TENANT, Daemon, Deployment
from tests.unit.central.test_acts import served_issuer

PROMPT = "how much does Jürgen earn?"
BODY = b'{"model": "m"}\r\n\x00\xff'
PLACE = {"tenant": TENANT, "region": REGION}


class Speaker(Daemon):
    """A daemon with a digest key of its own."""

    def __init__(self, deployment: Deployment, number: int) -> None:
        super().__init__(deployment, number)
        self.key = bytes([number]) * 32
        proof = EnrolAttestation(type="host_key", token="", worker=number)
        digest_key = base64.b64encode(self.key).decode()
        request = self.enrolment(self.nonce(), digest_key=digest_key, attestation=proof)
        body = documents.encode(self.signer.sign_document(documents.ENROL, request))
        answer = deployment.http.post("/v1/enrol", content=body)
        assert answer.status_code == 201, answer.text
        self.certificate = msgspec.json.decode(answer.content, type=EnrolAnswer).certificate
        assert self.post_certificate() == 201

    def said(self, text: str, body: bytes | None = None, at_us: int = NOW_US) -> seal.Sealed:
        """A decision on ``text``, which came in ``body`` where that was read whole."""
        return self.decision(
            time=msgspec.structs.replace(specimens.DECISION.time, decided=time_text(at_us)),
            digest=record.DecisionDigest(
                request=None if body is None else seal.keyed_digest(self.key, body),
                forwarded=None,
                input=seal.keyed_digest(self.key, text.encode()),
            ),
        )

    def passed(self, of: seal.Sealed, body: bytes) -> seal.Sealed:
        """The completion of a call whose body was not read whole before."""
        digest = record.CompletionDigest(request=seal.keyed_digest(self.key, body), response=None)
        return self.write(specimens.COMPLETION, of=of.id, digest=digest)


class Heard(Deployment):
    """Three daemons; the prompt was said to two of them."""

    def fill(self) -> None:
        one, two, three = (Speaker(self, number) for number in (1, 2, 3))
        early, late = one.said(PROMPT, BODY), one.said(PROMPT, at_us=NOW_US + HOUR_US)
        other, streamed = two.said(PROMPT), two.said("something else")
        self.completion = two.passed(streamed, BODY)
        one.ship(one.start(), early, one.said("something else"), late)
        two.ship(two.start(), other, streamed, self.completion)
        three.ship(three.start(), three.said("something else"))
        self.prompted, self.whole = {early.id, late.id, other.id}, early
        self.late = late
        self.daemons = [one.instance, two.instance, three.instance]


def ask(made: Deployment, name: str | None = "audrey", /, **members: object) -> tuple[int, Any]:
    """(status, answer or code) of a search by a person."""
    headers = {} if name is None else made.as_person(name)
    answer = made.http.post("/v1/search", json=members, headers={**headers, "Gatepost-Why": "7"})
    found = answer.json()
    return answer.status_code, found if answer.status_code == 200 else found["error"]["code"]


def ids(answer: tuple[int, Any]) -> set[str]:
    assert answer[0] == 200, answer
    return {one["id"] for one in answer[1]["items"]}


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    made = Heard(tmp_path, ["issuer", "records"])
    with made.http:
        made.fill()
        yield made


def test_a_prompt_is_found_wherever_it_was_said(heard: Heard) -> None:
    answer = ask(heard, text=PROMPT)
    assert ids(answer) == heard.prompted
    assert (answer[1]["searched"], answer[1]["without"]) == (3, [])
    assert ids(ask(heard, text=PROMPT + " ")) == set()


def test_a_body_is_found_by_the_decision_or_by_the_completion(heard: Heard) -> None:
    coded = base64.b64encode(BODY).decode()
    assert ids(ask(heard, body_base64=coded)) == {heard.whole.id, heard.completion.id}
    assert ids(ask(heard, text=BODY.decode("latin-1"))) == set(), "another kind of digest"


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"kind": "decision"}, 3),
        ({"kind": "completion"}, 0),
        ({"decided_from": time_text(NOW_US + 1)}, 1),
        ({"decided_to": time_text(NOW_US + 1)}, 2),
        ({"category": "pii.email"}, 3),
        ({"category": "none"}, 0),
        ({"tenant": TENANT, "region": REGION, "order": "oldest"}, 3),
    ],
)
def test_filters_narrow_a_search(heard: Heard, filters: dict[str, str], count: int) -> None:
    assert len(ids(ask(heard, text=PROMPT, filters=filters))) == count


def test_only_instances_that_may_have_it_are_asked_for(heard: Heard) -> None:
    for filters in (
        {"instance": heard.daemons[0]},
        {"decided_from": time_text(NOW_US + HOUR_US)},
    ):
        status, answer = ask(heard, text=PROMPT, filters=filters)
        assert (status, answer["searched"]) == (200, 1)
        assert {one["instance"] for one in answer["items"]} == {heard.daemons[0]}
    status, answer = ask(heard, text=PROMPT, filters={"decided_from": time_text(NOW_US * 2)})
    assert (status, answer["searched"], answer["items"]) == (200, 0, [])


def test_pages_of_a_search_go_on_and_belong_to_it(heard: Heard) -> None:
    first = ask(heard, text=PROMPT, filters={"limit": "2"})[1]
    cursor = first["next_cursor"]
    second = ask(heard, text=PROMPT, filters={"limit": "2", "cursor": cursor})[1]
    looks = heard.get("/v1/records", operation="records.search")["items"]
    for look in looks:
        payload = base64.b64decode(heard.get(f"/v1/records/{look['id']}")["payload"])
        assert "cursor" not in msgspec.json.decode(payload)["parameters"], "it is bound to the text"
    found = [one["id"] for page in (first, second) for one in page["items"]]
    assert (len(found), set(found)) == (3, heard.prompted)
    assert second["next_cursor"] is None
    other = ask(heard, text="another", filters={"limit": "2", "cursor": cursor})
    assert other == (400, "bad_cursor")
    assert (
        heard.http.get(
            "/v1/records", params={"cursor": cursor}, headers=heard.as_person("audrey")
        ).json()["error"]["code"]
        == "bad_cursor"
    )


def test_a_cursor_of_a_search_says_nothing_of_what_is_searched_for() -> None:
    """It is handed around more freely than a prompt; a plain digest could be tried out."""
    request = SearchRequest(text=PROMPT)
    content = search.content_of(request)
    one, same, other = (
        search.query_of(request, content, key).fingerprint for key in (b"k" * 32, b"k" * 32, b"o")
    )
    assert one == same != other


def test_the_work_of_one_search_is_bounded_however_many_calls_it_makes(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.limits.DIGEST_SEARCH_BYTES_MAX", 3 * len(PROMPT.encode()))
    assert ids(ask(heard, text=PROMPT)) == heard.prompted
    assert ask(heard, text=PROMPT + "!") == (400, "bad_filter")
    narrowed = ask(heard, text=PROMPT + "!", filters={"instance": heard.daemons[0]})
    assert narrowed[0] == 200
    looks = heard.get("/v1/records", operation="records.search")["items"]
    assert len(looks) == 2, "what is refused is no act"


def test_what_has_no_key_any_more_is_named(heard: Heard) -> None:
    gone = heard.daemons[0]
    destroyed = heard.http.post(
        "/v1/digest-keys/destroy",
        json={**PLACE, "instances": [gone]},
        headers=heard.as_person("root"),
    )
    assert destroyed.json() == {"destroyed": 1}
    answer = ask(heard, text=PROMPT)[1]
    assert answer["without"] == [{"instance": gone, "reason": "destroyed"}]
    assert (answer["searched"], len(answer["items"])) == (2, 1)


def test_a_search_is_recorded_and_what_was_searched_for_is_not(heard: Heard) -> None:
    assert ask(heard, text=PROMPT, filters={"kind": "decision"})[0] == 200
    (look,) = heard.get("/v1/records", operation="records.search")["items"]
    payload = base64.b64decode(heard.get(f"/v1/records/{look['id']}")["payload"])
    act = msgspec.json.decode(payload)
    assert (act["who"], act["why"]) == ("audrey", "7")
    assert act["parameters"] == {"kind": "decision", "by": "text", "instances": "3"}
    for name in ("records.db", "records.db-wal", "issuer.db", "issuer.db-wal"):
        kept = (heard.directory / "data" / name).read_bytes()
        assert PROMPT.encode() not in kept
    assert heard.get("/v1/records", operation="digests")["items"] == [], "one act, not two"


@pytest.mark.parametrize(
    ("name", "members", "wanted"),
    [
        (None, {"text": "x"}, (401, "token_missing")),
        ("olaf", {"text": "x"}, (403, "role_insufficient")),
        ("greta", {"text": "x", "filters": PLACE}, (404, "not_found")),
        ("root", {"text": "x"}, (400, "bad_filter")),
        ("root", {"text": "x", "filters": {**PLACE, "region": "mars"}}, (404, "not_found")),
        ("audrey", {}, (400, "malformed_request")),
        ("audrey", {"text": "x", "body_base64": ""}, (400, "malformed_request")),
        ("audrey", {"body_base64": "%"}, (400, "malformed_request")),
        ("audrey", {"text": "x", "colour": 1}, (400, "malformed_request")),
        ("audrey", {"text": "x", "filters": {"colour": "1"}}, (400, "bad_filter")),
        ("audrey", {"text": "x", "filters": {"cursor": "!"}}, (400, "bad_cursor")),
    ],
)
def test_what_may_not_be_searched_is_refused_and_no_act(
    heard: Heard, name: str | None, members: dict[str, object], wanted: tuple[int, str]
) -> None:
    assert ask(heard, name, **members) == wanted
    assert heard.get("/v1/records", operation="records.search")["items"] == []


def test_another_tenants_records_are_not_found(heard: Heard) -> None:
    place = {"tenant": "globex", "region": REGION}
    status, answer = ask(heard, "greta", text=PROMPT, filters=place)
    assert (status, answer["items"], answer["searched"]) == (200, [], 0)


def test_an_issuer_elsewhere_is_asked_with_the_persons_token(tmp_path: Path) -> None:
    together = Heard(tmp_path, ["issuer", "records"])
    with together.http:
        together.fill()
    with served_issuer(tmp_path) as url:
        apart = Deployment(tmp_path, ["records"], issuer_url=url)
        with apart.http:
            assert ids(ask(apart, text=PROMPT)) == together.prompted
    with sqlite3.connect(tmp_path / "data" / "issuer.db") as kept:
        ((document,),) = kept.execute("SELECT document FROM act").fetchall()
    kept.close()
    act = msgspec.json.decode(document)
    assert (act["who"], act["what"], act["why"]) == ("audrey", "digests", "7")


def test_a_search_without_an_issuer_says_what_is_missing(tmp_path: Path) -> None:
    together = Heard(tmp_path, ["issuer", "records"])
    with together.http:
        together.fill()
    alone = Deployment(tmp_path, ["records"])
    with alone.http:
        assert ask(alone, text=PROMPT) == (501, "digests_not_configured")
    with central_app.listen("127.0.0.1", 0) as taken:
        nobody = central_app.base_url(taken)
    away = Deployment(tmp_path, ["records"], issuer_url=nobody)
    with away.http:
        assert ask(away, text=PROMPT) == (503, "digests_unavailable")


def test_the_issuer_is_asked_within_its_own_bounds() -> None:
    instances = [f"i{number}" for number in range(2_500)]
    for size, most in ((5, limits.DIGEST_INSTANCES_MAX), (limits.BODY_BYTES_MAX, 64)):
        request = SearchRequest(text="x" * size)
        content = search.content_of(request)
        asked = list(search.digest_requests(request, content, TENANT, REGION, instances))
        assert [name for one in asked for name in one.instances] == instances
        assert max(len(one.instances) for one in asked) <= most
        assert all(
            len(one.instances) * len(content) <= limits.DIGEST_WORK_BYTES_MAX for one in asked
        )


def test_too_many_instances_are_refused_before_the_issuer_is_asked(heard: Heard) -> None:
    with sqlite3.connect(heard.directory / "data" / "records.db") as connection:
        log = find_log(connection, TENANT, REGION)
        rows = [(f"i{number}",) for number in range(10 * limits.DIGEST_INSTANCES_MAX)]
        connection.executemany(
            "INSERT INTO instance (log, instance, head_seq, head_hash, records, forks,"
            " first_seen_us, last_seen_us) VALUES (1, ?, 0, x'', 1, 0, 0, 0)",
            rows,
        )
        connection.executemany(
            "INSERT INTO record (log, instance, leaf_index, received_us, seq, kid, id, v, kind,"
            " record_hash, time_us, payload, signature) VALUES"
            " (1, ?1, 1000 + substr(?1, 2), 0, 0, '', '', 1, 'decision', x'', 1, x'', x'')",
            rows,
        )
        with pytest.raises(Refused, match="narrow"):
            search.candidates(connection, log, read_query([]))
        connection.rollback()
    connection.close()


@pytest.mark.parametrize("category", [None, "pii.email"])
@pytest.mark.parametrize(
    ("column", "index"), [("input_digest", "record_input"), ("request_digest", "record_request")]
)
def test_a_digest_is_looked_up_in_its_index(
    heard: Heard, column: Any, index: str, category: str | None
) -> None:
    connection = sqlite3.connect(heard.directory / "data" / "records.db")
    log = find_log(connection, TENANT, REGION)
    assert log is not None
    wanted = read_query([] if category is None else [("category", category)])
    content = Content(column, (bytes(32), bytes(32)))
    wanted = msgspec.structs.replace(wanted, content=content)
    walk = walk_of(connection, log, wanted)
    sql, values = page_statement("r.id", log, wanted, log.size, walk, None)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert f"INDEX {index} (log=? AND {column}=?)" in plan[0], plan
    connection.close()
