"""An auditor's questions to the record store, about calls that were really made."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.signing import VerifyKey

from gatepost.central_client import CentralClient
from gatepost.faults import InputOutputError
from gatepost.stack import AGENT
from gateway.timestamp import time_text
from tests.integration import raw, system
from tests.integration.records import Item, Records
from tests.integration.rules import CLAUDE, DENIED_MODEL, MODEL
from tests.integration.system import Central, Daemon
from tests.integration.tokens import PERSON

pytestmark = pytest.mark.integration

_MAIL = "Write to bob@example.com about it"


@pytest.fixture(scope="module")
def auditor(base: Path, central: Central) -> Iterator[Daemon]:
    """A daemon whose records nobody else adds to."""
    with system.site(base / "q", central) as place:
        yield place.start()


@pytest.fixture(scope="module")
def made(auditor: Daemon) -> dict[str, str]:
    """One call of each kind: a name → its decision id."""
    issuer = auditor.site.central.ends.issuer
    headers = {"X-Gatepost-Delegation": issuer.token()}
    message = raw.chat(CLAUDE, max_tokens=8)
    requests = {
        "plain": raw.chat_request(MODEL),
        "person": raw.chat_request(MODEL, headers=headers),
        "denied": raw.chat_request(DENIED_MODEL),
        "mail": raw.chat_request(MODEL, text=_MAIL),
        "claude": raw.request("POST", "/anthropic/v1/messages", message),
    }
    ids = {name: raw.ask(auditor.port, data).decision_id for name, data in requests.items()}
    auditor.records.wait(len(ids), instance=auditor.instance, kind="decision")
    return ids


def _ids(items: list[Item]) -> set[str]:
    return {item["id"] for item in items}


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"person": PERSON}, {"person"}),
        ({"agent": AGENT}, {"plain", "person", "denied", "mail", "claude"}),
        ({"model": MODEL}, {"plain", "person", "mail"}),
        ({"model": DENIED_MODEL}, {"denied"}),
        ({"outcome": "deny"}, {"denied"}),
        ({"outcome": "allow", "provider": "anthropic"}, {"claude"}),
        ({"category": "pii.email"}, {"mail"}),
        ({"policy_version": 1}, {"plain", "person", "denied", "mail", "claude"}),
        ({"policy_version": 2}, set()),
        ({"route": "anthropic"}, {"claude"}),
        ({"person": "nobody@acme.example"}, set()),
    ],
)
def test_records_are_found_by_what_they_say(
    auditor: Daemon, made: dict[str, str], filters: dict[str, str | int], names: set[str]
) -> None:
    found = auditor.records.all(instance=auditor.instance, kind="decision", **filters)
    assert _ids(found) == {made[name] for name in names}


def test_records_are_found_by_time(auditor: Daemon, made: dict[str, str]) -> None:
    records = auditor.records
    items = records.all(instance=auditor.instance, kind="decision")
    times = sorted(item["time"] for item in items)
    middle = times[2]
    asked = {"instance": auditor.instance, "kind": "decision"}
    late = records.all(**asked, decided_from=middle)
    early = records.all(**asked, decided_to=middle)
    assert len(_ids(late)) == 3
    assert _ids(late) | _ids(early) == set(made.values())
    assert not _ids(late) & _ids(early)
    assert records.all(**asked, decided_to=time_text(0)) == []


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_neither_repeat_nor_miss_while_records_arrive(
    auditor: Daemon, made: dict[str, str], order: str
) -> None:
    records, seen = auditor.records, []
    asked: dict[str, str | int] = {"instance": auditor.instance, "limit": 2, "order": order}
    total = len(records.all(instance=auditor.instance))
    page = records.page(**asked)
    size = page["at_size"]
    while True:
        seen += [item["leaf_index"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        assert raw.ask(auditor.port, raw.chat_request(MODEL)).status == 200
        page = records.page(**asked, cursor=page["next_cursor"])
        assert page["at_size"] == size
    assert seen == sorted(seen, reverse=order == "newest")
    assert len(seen) == len(set(seen)) == total


def _pae(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding, as docs/records.md writes it down."""
    name = f"application/vnd.gatepost.{kind}.v1+json"
    return f"DSSEv1 {len(name)} {name} {len(payload)} ".encode() + payload


def test_one_record_verifies_by_hand(auditor: Daemon, made: dict[str, str]) -> None:
    """With a JSON parser, SHA-256 and Ed25519, and nothing of ours."""
    found = auditor.records.detail(made["person"])
    issuer = auditor.site.central.home.signer("issuer").public
    sealed = found["certificate"]
    certificate = base64.b64decode(sealed["payload"])
    signature = base64.b64decode(sealed["signatures"][0]["sig"])
    VerifyKey(issuer).verify(_pae("key-cert", certificate), signature)
    certified = json.loads(certificate)
    key = base64.b64decode(certified["pub"])
    payload, signature = (base64.b64decode(found[name]) for name in ("payload", "signature"))
    framed = _pae("record", payload)
    VerifyKey(key).verify(framed, signature)
    record = json.loads(payload)
    assert record["id"] == made["person"]
    assert record["chain"]["kid"] == "ed25519:" + hashlib.sha256(key).hexdigest()
    assert record["chain"]["instance"] == certified["instance"] == auditor.instance
    assert (record["tenant"], record["region"]) == (certified["tenant"], certified["region"])
    leaf = "sha256:" + hashlib.sha256(framed + signature).hexdigest()
    assert found["record_hash"] == leaf
    assert auditor.records.detail(leaf)["leading"]["id"] == made["person"]


def test_every_decision_of_a_call_that_was_let_in_has_its_completion(
    auditor: Daemon, made: dict[str, str]
) -> None:
    records: Records = auditor.records
    for name in ("plain", "person", "mail", "claude"):
        completion = records.completion(made[name])
        assert completion["of"] == made[name]
        assert completion["outcome"] == "ok"
    assert records.all(kind="completion", of=made["denied"]) == []


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"persom": "x"}, "persom|no filter"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "junk"}, "cursor"),
        ({"decided_from": "yesterday"}, "decided_from"),
    ],
)
def test_a_question_that_cannot_be_understood_is_refused(
    central: Central, filters: dict[str, str | int], words: str
) -> None:
    with pytest.raises(InputOutputError, match=words):
        central.records.page(**filters)


def test_without_a_token_nobody_is_told_anything(central: Central) -> None:
    for token in ("", "guess"):
        stranger = CentralClient(central.url, token)
        for path in ("/v1/records", "/v1/exports", "/v1/instances"):
            with pytest.raises(InputOutputError, match="401"):
                stranger.get(path)
