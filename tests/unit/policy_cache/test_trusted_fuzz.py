"""Valid documents, mutated with an eye to their structure, at the verifier.

Two laws. Of a document whose signatures were not made anew, whatever is accepted says exactly what
was signed. Of one that was signed anew, whatever is accepted keeps every rule, worked out here
without the verifier's code. And nothing but ``DocumentInvalid`` is ever raised.

``make fuzz`` runs it for long; an ordinary run takes a few hundred examples of each.
"""

from __future__ import annotations

import base64
import functools
import os
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import issuing, roots, seal
from gateway.documents import BUNDLE, POLICY_HEAD, ROOT
from gateway.errors import DocumentInvalid
from gateway.issuing import Issued
from gateway.timestamp import time_micros, time_text
from policy_cache import trusted
from policy_cache.trusted import Content, Floors, Head
from tests.unit.policy_cache.policy_world import (
    BUNDLE_A,
    HEAD,
    OTHER,
    OWN_VERSION,
    ROOT_A,
    ROOT_B,
    SCOPE,
    SECOND,
    T0,
    Publisher,
    candidate,
)

EXAMPLES = int(os.environ.get("GATEPOST_FUZZ_EXAMPLES") or 300)
FLOORS = Floors(epoch=1, head_version=3, head_digest="sha256:aa", bundle_version=3)
JUMP = 1_000_000

PUBLISHER = Publisher()
ROOT_1 = PUBLISHER.open_root()
GOOD_BUNDLE = PUBLISHER.bundle(5)
GOOD_HEAD = PUBLISHER.head(GOOD_BUNDLE, 7, bundle_version=5)
GOOD_ROOT = Publisher().add_root()
NEXT = PUBLISHER.bundle(9)
CANARY_HEAD = PUBLISHER.head(GOOD_BUNDLE, 7, bundle_version=5, candidate=candidate(NEXT, 9, 50))
DOCUMENTS = (GOOD_HEAD, GOOD_BUNDLE, GOOD_ROOT)

Json = Any
"""What stands at one place of a document."""

odd_values: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 12),
    st.sampled_from([2**53 - 1, 2**53, 2**63, 2**64, 3 + JUMP, 4 + JUMP, 1.0, 1e400]),
    st.sampled_from(["", "*", SCOPE, "acme/prod/us", BUNDLE, POLICY_HEAD, ROOT, OTHER.kid]),
    st.sampled_from([time_text(T0 + seconds * SECOND) for seconds in (-2, -1, 0, 60, 61)]),
    st.sampled_from(["2027-01-15T08:00:00Z", "9999-12-31"]),
    st.text(max_size=4),
    st.just([]),
    st.just({}),
)


def places(value: Json, path: tuple[Json, ...] = ()) -> list[tuple[Json, ...]]:
    """Every place in a JSON value, the root first."""
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


def mutated(data: st.DataObject, value: Json, others: list[Json]) -> Json:
    """``value`` with one to three places changed: replaced, dropped, doubled, or another's."""
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(value)))
        if not path:
            continue
        above = functools.reduce(lambda inner, step: inner[step], path[:-1], value)
        how = data.draw(st.sampled_from(["odd", "near", "drop", "double", "other"]))
        last = path[-1]
        if how == "odd":
            above[last] = data.draw(odd_values)
        elif how == "near":
            above[last] = near(data, above[last])
        elif how == "drop":
            del above[last]
        elif how == "double" and isinstance(above, list):
            above.append(above[last])
        elif how == "double":
            above[f"{last}2"] = above[last]
        else:
            other = data.draw(st.sampled_from(others))
            where = data.draw(st.sampled_from(places(other)))
            piece = functools.reduce(lambda inner, step: inner[step], where, other)
            # A copy: a piece of this very document would hold itself.
            above[last] = msgspec.json.decode(msgspec.json.encode(piece))
        value = msgspec.json.decode(msgspec.json.encode(value))
    return value


def near(data: st.DataObject, value: Json) -> Json:
    """Something that is almost ``value``."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value
    if isinstance(value, int):
        return value + data.draw(st.integers(-3, 3))
    at = data.draw(st.integers(0, len(value)))
    return value[:at] + data.draw(st.sampled_from(["", " ", "0", "=", "é", "A"])) + value[at + 1 :]


def decoded(issued: Issued) -> Json:
    return msgspec.json.decode(issued.envelope)


def open_head(data: bytes) -> Head:
    return trusted.open_head(data, ROOT_1, SCOPE, FLOORS, T0, OWN_VERSION, placement="eu-3")


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_what_was_not_signed_anew_says_what_was_signed_or_is_refused(data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(DOCUMENTS))
    envelope = mutated(data, decoded(good), [decoded(one) for one in DOCUMENTS])
    served = msgspec.json.encode(envelope)
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(served)))
        served = served[:at] + data.draw(st.binary(max_size=2)) + served[at:]
    opened_head = open_head(GOOD_HEAD.envelope)
    for act, genuine in (
        (lambda: open_head(served), lambda: open_head(GOOD_HEAD.envelope)),
        (
            lambda: trusted.open_bundle(served, ROOT_1, opened_head, T0).document,
            lambda: trusted.open_bundle(GOOD_BUNDLE.envelope, ROOT_1, opened_head, T0).document,
        ),
        (
            lambda: roots.open_next(seal.parse_envelope(served), ROOT_1),
            lambda: roots.open_next(seal.parse_envelope(GOOD_ROOT.envelope), ROOT_1),
        ),
    ):
        try:
            accepted: object = act()
        except DocumentInvalid:
            continue
        assert accepted == genuine()


def keeps_the_rules(payload: Json, head: Head) -> None:
    """The rules of a head, worked out from the bytes that were signed."""
    assert payload["scope"] == SCOPE
    assert payload["spec"] == 1
    assert payload["epoch"] == ROOT_1.epoch == 1
    assert 3 < payload["version"] <= 3 + JUMP
    assert payload["root_version"] <= 1
    pin = payload["bundle"]
    assert 3 < pin["version"] <= 3 + JUMP
    assert 0 < pin["length"] <= 8 * 1024 * 1024
    offered = payload["next"]
    if offered is not None:
        assert pin["version"] < offered["version"] <= pin["version"] + 1 + JUMP
        assert 0 < offered["length"] <= 8 * 1024 * 1024
        assert 0 <= offered["percent"] <= 100
    taken = offered is not None and offered["percent"] > 38
    meant = offered if taken else pin
    assert (head.pin.version, head.pin.digest) == (meant["version"], meant["digest"])
    issued_us, expires_us = time_micros(payload["issued"]), time_micros(payload["expires"])
    assert issued_us < expires_us
    assert issued_us <= T0 + 60 * SECOND
    assert expires_us > T0
    refresh = payload["refresh"]
    assert refresh is None or 1 <= refresh["min_seconds"] <= refresh["max_seconds"]
    assert (head.issued_us, head.expires_us) == (issued_us, expires_us)


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_a_head_that_its_key_signed_is_accepted_only_by_the_rules(data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([GOOD_HEAD, CANARY_HEAD]))
    before = msgspec.json.decode(good.payload)
    payload = mutated(data, before, [msgspec.json.decode(GOOD_BUNDLE.payload), before])
    signed = issuing.sign(POLICY_HEAD, msgspec.json.encode(payload), [HEAD])
    try:
        head = open_head(signed.envelope)
    except DocumentInvalid:
        return
    keeps_the_rules(payload, head)


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_a_bundle_that_its_keys_signed_is_accepted_only_as_its_head_says(
    data: st.DataObject,
) -> None:
    before = msgspec.json.decode(GOOD_BUNDLE.payload)
    payload = mutated(data, before, [msgspec.json.decode(GOOD_HEAD.payload), before])
    signed = issuing.sign(BUNDLE, msgspec.json.encode(payload), [BUNDLE_A])
    head = open_head(PUBLISHER.head(signed, 8, bundle_version=5).envelope)
    try:
        content: Content = trusted.open_bundle(signed.envelope, ROOT_1, head, T0)
    except DocumentInvalid:
        return
    stated = (payload["scope"], payload["epoch"], payload["version"], payload["engine"])
    assert stated == (SCOPE, 1, 5, "table/1")
    assert time_micros(payload["not_before"]) <= T0 < time_micros(payload["expires"])
    assert content.digest == seal.sha256_text(signed.payload)


@given(st.data())
@settings(max_examples=EXAMPLES)
def test_a_root_that_its_keys_signed_follows_the_one_before(data: st.DataObject) -> None:
    before = msgspec.json.decode(GOOD_ROOT.payload)
    payload = mutated(data, before, [before])
    signed = issuing.sign(ROOT, msgspec.json.encode(payload), [ROOT_A, ROOT_B])
    try:
        root = roots.open_next(seal.parse_envelope(signed.envelope), ROOT_1)
    except DocumentInvalid:
        return
    assert (root.version, root.spec) == (2, 1)
    assert root.epoch >= 1
    for role in payload["roles"].values():
        assert 1 <= role["threshold"] <= len(set(role["keyids"])) == len(role["keyids"])
        for keyid in role["keyids"]:
            assert seal.key_id(base64.b64decode(payload["keys"][keyid])) == keyid
