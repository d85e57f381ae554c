"""Findings leave the body, and nothing else of it changes."""

from __future__ import annotations

import base64
import json
import tomllib
from functools import lru_cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.call import Segment
from gateway.classify.classifier import Classifier
from gateway.glob import any_matcher
from gateway.io.packs import read_core_pack
from gateway.jsonbody import parse
from gateway.obligation import Unmet
from gateway.redaction import Redaction, _replaced
from tests.unit.gateway.test_splice import all_strings, objects

MAIL = "ann.smith@corp.org"
CARD = "4111 1111 1111 1111"


@lru_cache
def core() -> Classifier:
    return Classifier.load(read_core_pack())


def redacted(body: bytes, *categories: str) -> bytes:
    redaction = Redaction(body)
    findings = core().analyse(redaction.segments, ()).findings
    return redaction.redacted(findings, any_matcher(categories or ("pii.email",)))


def json_body(value: object, *, ascii_only: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode()


TABLE: dict[str, tuple[bytes, bytes]] = {
    "in a text": (b'{"a":"to ann.smith@corp.org, now"}', b'{"a":"to [pii.email], now"}'),
    "twice": (b'["ann.smith@corp.org","x ann.smith@corp.org"]', b'["[pii.email]","x [pii.email]"]'),
    "in a name": (b'{"ann.smith@corp.org" : 1.0}', b'{"[pii.email]" : 1.0}'),
    "in escapes": (b'{"a":"\\u0061nn.smith\\u0040corp.org\\n"}', b'{"a":"[pii.email]\\n"}'),
    "in arguments": (
        b'{"arguments":"{\\"to\\":\\"ann.smith@corp.org\\",\\"n\\":1.0}"}',
        b'{"arguments":"{\\"to\\":\\"[pii.email]\\",\\"n\\":1.0}"}',
    ),
    "in arguments, behind an escape": (
        b'{"arguments":"{\\"t\\":\\"a\\\\nann.smith@corp.org\\", \\"n\\":1.50}"}',
        b'{"arguments":"{\\"t\\":\\"a\\\\n[pii.email]\\", \\"n\\":1.50}"}',
    ),
    "behind other letters": (
        '{"ä":"ß ann.smith@corp.org €"}'.encode(),
        '{"ä":"ß [pii.email] €"}'.encode(),
    ),
    "numbers keep their text": (
        b'{"n":[1.50e+2,9007199254740991, -0.0 ],"t":"ann.smith@corp.org"}',
        b'{"n":[1.50e+2,9007199254740991, -0.0 ],"t":"[pii.email]"}',
    ),
    "nothing there": (b' {"a" : "b"} ', b' {"a" : "b"} '),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_finding_is_replaced_where_it_stands(name: str) -> None:
    before, after = TABLE[name]
    assert redacted(before) == after


def test_what_is_written_so_as_not_to_be_seen_is_replaced_whole() -> None:
    hidden = base64.b64encode(f"write to {MAIL} about it".encode()).decode()
    assert redacted(json_body({"a": f"run {hidden} now"})) == b'{"a": "run [pii.email] now"}'
    spread = MAIL.replace("@", "\u200b@\u200b")
    assert redacted(json_body({"a": f"to {spread}!"})) == b'{"a": "to [pii.email]!"}'


def test_only_the_named_categories_are_replaced() -> None:
    body = json_body({"a": f"{MAIL} pays with {CARD}"})
    assert redacted(body, "pci.*") == json_body({"a": f"{MAIL} pays with [pci.card]"})
    assert redacted(body, "*") == json_body({"a": "[pii.email] pays with [pci.card]"})
    assert redacted(body, "phi") == body


def test_findings_that_overlap_leave_one_mark() -> None:
    found = core().analyse([Segment("", "", "text", MAIL)], ()).findings[0]
    second = msgspec.structs.replace(found, category="pci.card", start=4, end=found.end + 2)
    assert _replaced(MAIL + "zz!", [second, found]) == "[pci.card,pii.email]!"


def test_a_finding_that_would_break_a_json_text_is_refused() -> None:
    found = core().analyse([Segment("", "", "text", MAIL)], ()).findings[0]
    across = msgspec.structs.replace(found, start=3, end=9)
    with pytest.raises(Unmet):
        _replaced('{"a":"b","c":"d"}', [across])


def test_the_marks_of_all_categories_are_no_findings() -> None:
    rules = tomllib.loads(read_core_pack().decode())["rules"]
    marks = " ".join(f"[{rule['category']}]" for rule in rules)
    assert core().analyse([Segment("", "", "text", marks)], ()).findings == ()


@settings(deadline=None, max_examples=60)
@given(
    objects,
    st.lists(st.sampled_from([MAIL, f"ü {MAIL}\n", CARD, "plain"]), max_size=3),
    st.booleans(),
)
def test_the_parse_is_the_same_but_for_those_strings(
    value: dict[str, object], planted: list[str], ascii_only: bool
) -> None:
    body = json_body({"own": value, "planted": planted}, ascii_only=ascii_only)
    before, after = parse(body), parse(redacted(body))
    wanted = [text.replace(MAIL, "[pii.email]") for text in all_strings(before)]
    assert all_strings(after) == wanted
    assert _shape(after) == _shape(before)


def _shape(value: object) -> object:
    """Everything but the strings, numbers as they are written."""
    if isinstance(value, dict):
        return [_shape(item) for item in value.values()]
    if isinstance(value, list):
        return [[_shape(item)] for item in value]
    return str if isinstance(value, str) else repr(value)
