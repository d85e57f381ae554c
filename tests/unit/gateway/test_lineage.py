"""Where a call came from: a signed link that verifies for this body, or a claim."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import documents, limits
from gateway.documents import Envelope, KeyCert, ParentLink
from gateway.errors import TurnAway
from gateway.lineage import PARENT_HEADER, Lineage, ParentHeader, parent_header, trace_of
from gateway.ports import Receipt
from gateway.record import Parent
from gateway.routes import RouteTable
from gateway.seal import Signer, record_hash, record_pae, sha256_text
from gateway.timestamp import time_micros
from spool import read
from tests import specimens
from tests.sim.files import SimFiles
from tests.unit.gateway.world_builder import (
    CHAT,
    Place,
    Served,
    chat,
    head_of,
    route,
    serve_one,
    upstream,
)

BODY = chat()
LINK = ParentLink(
    id="019a0c6e-9d00-7abc-8def-012345678900",
    instance=specimens.INSTANCE,
    seq=5,
    record_hash=specimens.HASH,
    request_sha256=sha256_text(BODY),
    time=specimens.T1,
    hops=1,
)
OTHER = Signer(bytes([77]) * 32)
LINEAGE = Lineage(lambda: {specimens.ISSUER.kid: specimens.ISSUER.public})


def header(
    link: ParentLink = LINK,
    signer: Signer = specimens.SIGNER,
    certificate: Envelope = specimens.CERTIFICATE,
    kind: str = documents.PARENT,
) -> str:
    envelope = signer.envelope(kind, documents.encode(link))
    data = msgspec.json.encode(ParentHeader(link=envelope, certificate=certificate))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def certificate(issuer: Signer = specimens.ISSUER, **changes: object) -> Envelope:
    cert: KeyCert = msgspec.structs.replace(specimens.KEY_CERT, **changes)
    return issuer.sign_document(documents.KEY_CERT, cert)


def parent(value: str, body: bytes = BODY) -> Parent | str | None:
    return LINEAGE.parent_of(head_of("/openai", x_gatepost_parent=value), body)


def linked(**changes: object) -> str:
    return header(msgspec.structs.replace(LINK, **changes))


def test_a_link_that_verifies_is_recorded_whole() -> None:
    found = parent(header())
    assert isinstance(found, Parent)
    assert msgspec.to_builtins(found) == msgspec.to_builtins(LINK)


def test_a_call_without_a_link_has_no_parent() -> None:
    assert LINEAGE.parent_of(CHAT, BODY) is None


BAD: dict[str, Callable[[], str]] = {
    "another body": lambda: linked(request_sha256=sha256_text(b"other")),
    "another signer": lambda: header(signer=OTHER),
    "a certificate of nobody we know": lambda: header(certificate=certificate(OTHER)),
    "another instance": lambda: linked(instance=specimens.BEFORE),
    "another document": lambda: header(kind=documents.REQUEST),
    "before its certificate": lambda: linked(time="2026-11-23T17:59:59.999999Z"),
    "after its certificate": lambda: linked(time=specimens.T2),
    "no time": lambda: linked(time="now"),
    "an id of no record": lambda: linked(id="x" * 5_000),
    "a hash of no record": lambda: linked(record_hash="sha256:" + "0" * 5_000),
    "before the first record": lambda: linked(seq=-1),
    "no hop at all": lambda: linked(hops=0),
    "not base64": lambda: "*" * 50,
    "not JSON": lambda: base64.urlsafe_b64encode(b"nonsense").decode(),
    "nested": lambda: base64.urlsafe_b64encode(b"[" * 10_000).decode(),
    "blank": lambda: " ",
}


@pytest.mark.parametrize("why", sorted(BAD))
def test_a_link_that_does_not_verify_is_only_claimed(why: str) -> None:
    found = parent(BAD[why]())
    assert isinstance(found, str)
    assert re.fullmatch(r"claimed:[A-Za-z0-9_-]{0,40}", found)


def test_a_link_is_good_for_one_body() -> None:
    replayed = header()
    assert isinstance(parent(replayed), Parent)
    assert str(parent(replayed, BODY + b" ")).startswith("claimed:")


def test_without_a_root_every_link_is_a_claim() -> None:
    found = Lineage(dict).parent_of(head_of("/openai", x_gatepost_parent=header()), BODY)
    assert str(found).startswith("claimed:")


@pytest.mark.parametrize("hops", [1, limits.PARENT_HOPS_MAX])
def test_hops_within_the_bound_pass(hops: int) -> None:
    assert isinstance(parent(linked(hops=hops)), Parent)


def test_a_loop_is_turned_away() -> None:
    with pytest.raises(TurnAway) as caught:
        parent(linked(hops=limits.PARENT_HOPS_MAX + 1))
    assert (caught.value.code, caught.value.spec.status) == ("malformed_request", 400)


@settings(max_examples=30)
@given(st.integers(0, 4_000), st.sampled_from("Aa0_-=*\xff"))
def test_a_changed_link_never_verifies_as_another(at: int, character: str) -> None:
    good = header()
    changed = good[: at % len(good)] + character + good[at % len(good) + 1 :]
    found = parent(changed)
    assert isinstance(found, str) or msgspec.to_builtins(found) == msgspec.to_builtins(LINK)


# -- through the call path -------------------------------------------------------------------


def test_the_record_holds_the_link_or_the_claim() -> None:
    head = head_of("/openai/v1/chat/completions", x_gatepost_parent=header())
    served = serve_one(head, BODY, prepare=lambda place: place.change(lineage=LINEAGE))
    assert served.decision.parent == Parent(**msgspec.to_builtins(LINK))
    served = serve_one(head, BODY)
    assert str(served.decision.parent).startswith("claimed:")
    assert served.application.status == 200


def test_a_callers_link_is_not_handed_on() -> None:
    head = head_of("/openai/v1/chat/completions", x_gatepost_parent=header())
    (call,) = serve_one(head, BODY).place.far.calls
    assert PARENT_HEADER not in dict(call.request.headers)


def test_too_many_hops_are_turned_away_and_not_forwarded() -> None:
    looped = linked(hops=9)
    head = head_of("/openai/v1/chat/completions", x_gatepost_parent=looped)
    served = serve_one(head, BODY, prepare=lambda place: place.change(lineage=LINEAGE))
    assert (served.application.status, served.code) == (400, "malformed_request")
    assert (served.place.far.calls, served.place.records()) == ([], [])


# -- a gateway behind us ---------------------------------------------------------------------


def link_to(receipt: Receipt, body: bytes, hops: int) -> str:
    return parent_header(
        receipt,
        body,
        hops,
        instance=specimens.INSTANCE,
        signer=specimens.SIGNER,
        certificate=specimens.CERTIFICATE,
        wall_us=time_micros(specimens.T1),
    )


def before_a_gateway(place: Place) -> None:
    behind = msgspec.structs.replace(upstream("gateway"), gateway=True)
    paths = [route("openai", "openai", behind), route("drop", "http", behind, opaque_upload=True)]
    place.change(routes=RouteTable(paths), lineage=LINEAGE, parent_header=link_to)


def told(served: Served) -> Parent | str | None:
    """What the gateway behind makes of the header that it got, or None without one."""
    (call,) = served.place.far.calls
    value = dict(call.request.headers).get(PARENT_HEADER)
    return None if value is None else parent(value, bytes(call.received))


def test_a_gateway_behind_is_told_of_our_decision_in_a_link_that_it_believes() -> None:
    served = serve_one(head_of("/openai/v1/chat/completions"), BODY, prepare=before_a_gateway)
    link = told(served)
    assert isinstance(link, Parent)
    assert (link.id, link.instance, link.hops) == (served.decision.id, specimens.INSTANCE, 1)
    (spooled,) = (
        one
        for one in read.records(SimFiles(served.place.disk), served.place.spool.directory)
        if one.leading.id == served.decision.id
    )
    framed = record_pae(spooled.payload)
    assert link.seq == spooled.seq
    assert link.record_hash == record_hash(framed, spooled.signature)


def test_a_link_counts_the_gateways_before_us() -> None:
    head = head_of("/openai/v1/chat/completions", x_gatepost_parent=linked(hops=2))
    link = told(serve_one(head, BODY, prepare=before_a_gateway))
    assert isinstance(link, Parent)
    assert link.hops == 3


def test_a_claim_counts_for_no_gateway() -> None:
    head = head_of("/openai/v1/chat/completions", x_gatepost_parent="anything")
    link = told(serve_one(head, BODY, prepare=before_a_gateway))
    assert isinstance(link, Parent)
    assert link.hops == 1


def test_who_is_no_gateway_is_told_nothing() -> None:
    def plainly(place: Place) -> None:
        before_a_gateway(place)
        place.change(routes=RouteTable([route("openai", "openai")]))

    served = serve_one(head_of("/openai/v1/chat/completions"), BODY, prepare=plainly)
    assert served.application.status == 200
    assert told(served) is None


def test_no_link_is_made_for_bytes_that_are_not_known_yet() -> None:
    served = serve_one(head_of("/drop/file"), b"abc", prepare=before_a_gateway)
    assert served.application.status == 200
    assert told(served) is None


def test_no_link_is_sent_while_the_key_is_not_certified() -> None:
    def uncertified(place: Place) -> None:
        before_a_gateway(place)
        place.change(parent_header=lambda receipt, body, hops: None)

    served = serve_one(head_of("/openai/v1/chat/completions"), BODY, prepare=uncertified)
    assert served.application.status == 200
    assert told(served) is None


# -- trace -----------------------------------------------------------------------------------

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (TRACE, True),
        (TRACE[:-2] + "00", True),
        (TRACE.upper(), False),
        ("01" + TRACE[2:], False),
        (TRACE + "-x", False),
        (TRACE[:-1], False),
        ("00-" + "0" * 32 + TRACE[35:], False),
        (TRACE[:36] + "0" * 16 + "-01", False),
        ("", False),
    ],
)
def test_only_a_well_formed_trace_is_recorded(value: str, kept: bool) -> None:
    head = head_of("/openai/v1/chat/completions", traceparent=value)
    assert trace_of(head) == (value if kept else None)
    assert serve_one(head, BODY).decision.trace == (value if kept else None)
