"""Signed documents: their exact bytes, their type names, and what a reader refuses."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import documents, record, seal
from gateway.errors import DocumentInvalid
from tests.formations import structs
from tests.goldens import hold, names
from tests.signed_specimens import DOCUMENTS, PARENT
from tests.specimens import SIGNER

TYPES = sorted(documents.DOCUMENTS)
NAMES = [
    "record",
    "key-cert",
    "root",
    "policy-head",
    "bundle",
    "chain-head",
    "revocation",
    "log-statement",
    "request",
    "enrol",
    "parent",
]


def _file(payload_type: str) -> str:
    return payload_type.removeprefix("application/vnd.gatepost.").removesuffix(".v1+json")


def test_payload_types_are_those_of_the_format() -> None:
    wanted = {f"application/vnd.gatepost.{name}.v1+json" for name in NAMES}
    assert wanted == documents.PAYLOAD_TYPES


def test_every_document_has_a_specimen() -> None:
    assert set(DOCUMENTS) == set(documents.DOCUMENTS)
    # Records and bundles have modules of their own.
    assert documents.PAYLOAD_TYPES - set(documents.DOCUMENTS) == {
        documents.RECORD,
        documents.BUNDLE,
    }


@pytest.mark.parametrize("payload_type", TYPES, ids=_file)
def test_payload_bytes_are_golden(payload_type: str) -> None:
    hold(f"document/{_file(payload_type)}.json", documents.encode(DOCUMENTS[payload_type]))


@pytest.mark.parametrize("payload_type", TYPES, ids=_file)
def test_signed_envelopes_are_golden(payload_type: str) -> None:
    sealed = SIGNER.sign_document(payload_type, DOCUMENTS[payload_type])
    hold(f"document/{_file(payload_type)}.dsse.json", documents.encode(sealed))


@pytest.mark.parametrize("payload_type", TYPES, ids=_file)
def test_golden_envelopes_open_to_their_document(payload_type: str) -> None:
    sealed = documents.encode(SIGNER.sign_document(payload_type, DOCUMENTS[payload_type]))
    payload = seal.open_envelope(sealed, payload_type, {SIGNER.kid: SIGNER.public})
    struct = documents.DOCUMENTS[payload_type]
    assert documents.decode_exact(payload, struct) == DOCUMENTS[payload_type]


def test_every_golden_document_is_still_checked() -> None:
    files = {_file(payload_type) for payload_type in TYPES}
    assert names("document") == {f"{f}{end}" for f in files for end in (".json", ".dsse.json")}


@settings(max_examples=10)
@pytest.mark.parametrize("payload_type", TYPES, ids=_file)
@given(data=st.data())
def test_any_document_comes_back_as_it_was_in_the_same_bytes(
    payload_type: str, data: st.DataObject
) -> None:
    struct = documents.DOCUMENTS[payload_type]
    drawn = data.draw(structs(struct))
    payload = documents.encode(drawn)
    assert documents.decode_exact(payload, struct) == drawn


@pytest.mark.parametrize("payload_type", TYPES, ids=_file)
def test_no_member_of_a_document_has_a_default(payload_type: str) -> None:
    for field in msgspec.structs.fields(documents.DOCUMENTS[payload_type]):
        assert field.required, field.name


PARENT_BYTES = documents.encode(PARENT)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "unreadable"),
        (b"{}", "unreadable"),
        (PARENT_BYTES[:-1], "unreadable"),
        (PARENT_BYTES + b"x", "unreadable"),
        (PARENT_BYTES[:-1] + b',"more":1}', "unreadable"),
        (PARENT_BYTES.replace(b',"hops":1', b""), "unreadable"),
        (PARENT_BYTES.replace(b'"hops":1', b'"hops":"1"'), "unreadable"),
        (PARENT_BYTES.replace(b'"hops":1', b'"hops":9007199254740992'), "unreadable"),
        (b"[" * 100_000, "unreadable"),
        (PARENT_BYTES.replace(b"019a", b"\xff19a"), "unreadable"),
        (PARENT_BYTES + b"\n", "inexact"),
        (PARENT_BYTES.replace(b":1}", b": 1}"), "inexact"),
        (PARENT_BYTES.replace(b'"hops":1', b'"hops":4,"hops":1'), "inexact"),
        (PARENT_BYTES.replace(b'"hops"', rb'"\u0068ops"'), "inexact"),
    ],
)
def test_bytes_that_are_not_the_exact_form_are_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        documents.decode_exact(payload, documents.ParentLink)
    assert caught.value.reason == reason


def test_the_parent_header_and_the_parent_member_have_the_same_members() -> None:
    assert documents.ParentLink.__struct_fields__ == record.Parent.__struct_fields__


def test_an_envelope_spells_its_members_as_dsse_does() -> None:
    sealed = msgspec.json.decode(documents.encode(SIGNER.envelope("t", b"p")))
    assert list(sealed) == ["payloadType", "payload", "signatures"]
    assert list(sealed["signatures"][0]) == ["keyid", "sig"]
