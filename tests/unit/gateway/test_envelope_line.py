"""One line, one meaning: every other way to write an envelope is refused."""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import documents, envelope_line, seal
from gateway.errors import DocumentInvalid
from tests import signed_specimens, specimens

SIGNER = specimens.SIGNER


def record_line(payload: bytes) -> bytes:
    signature = SIGNER.sign(seal.record_pae(payload))
    return envelope_line.write_record(payload, SIGNER.kid, signature)


@given(st.binary(max_size=200))
def test_a_record_line_reads_back(payload: bytes) -> None:
    line = record_line(payload)
    assert envelope_line.is_record(line)
    read = envelope_line.read_record(line)
    assert (read.payload, read.kid) == (payload, SIGNER.kid)
    assert seal.verify(seal.record_pae(payload), read.signature, SIGNER.public)


@pytest.mark.parametrize("name", sorted(signed_specimens.DOCUMENTS))
def test_every_document_reads_back(name: str) -> None:
    sealed = SIGNER.sign_document(name, signed_specimens.DOCUMENTS[name])
    envelope, payload = envelope_line.read_envelope(documents.encode(sealed) + b"\n")
    assert envelope == sealed
    assert payload == documents.encode(signed_specimens.DOCUMENTS[name])


def variants(line: bytes, payload: bytes) -> list[bytes]:
    """The same envelope to a lenient reader, in other bytes."""
    text = base64.b64encode(payload)
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    loose = text[:-2] + bytes([alphabet[alphabet.index(text[-2]) + 1]]) + b"="
    assert base64.b64decode(loose) == payload
    members = b'"payloadType":"%b",' % (b"application/vnd.gatepost.record.v1+json")
    return [
        line.replace(text, loose),
        line.replace(text, text[:4] + b" " + text[4:]),
        line.replace(text, text[:4] + b"\\n" + text[4:]),
        line.replace(text, text.rstrip(b"=")),
        line.replace(text, text + b"="),
        line.replace(b'":"', b'": "', 1),
        line.replace(b"\n", b" \n"),
        line.replace(b"\n", b"\r\n"),
        line.replace(b"\n", b""),
        line + b"\n",
        b" " + line,
        line.replace(b"{" + members, b"{" + members + members),
        line.replace(members, b"").replace(b"]}", b"]," + members[:-1] + b"}"),
        line.replace(b'"payload"', b'"p\\u0061yload"'),
        line.replace(b"]}\n", b'],"more":1}\n'),
    ]


def test_the_same_envelope_in_other_bytes_is_refused() -> None:
    payload = b"{}..."  # five bytes: the last base64 character has unused bits
    line = record_line(payload)
    for variant in variants(line, payload):
        assert variant != line
        for read in (envelope_line.read_record, envelope_line.read_envelope):
            with pytest.raises(DocumentInvalid):
                read(variant)


BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
ODD = [*(bytes([one]) for one in b'=-_ \\"\n\t'), b"\\u0041", b"\xc3\xa9", b"\x00"]
CHARS = st.sampled_from([*(bytes([one]) for one in BASE64), *ODD])


def one_form(text: bytes) -> bool:
    """Whether ``text`` is base64 as RFC 4648 has its encoder write it."""
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)) == text
    except binascii.Error:
        return False


@given(st.data())
def test_a_payload_is_taken_in_its_one_base64_form_only(data: st.DataObject) -> None:
    text = base64.b64encode(data.draw(st.binary(max_size=60)))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        until = min(at + data.draw(st.integers(0, 2)), len(text))
        text = text[:at] + b"".join(data.draw(st.lists(CHARS, max_size=3))) + text[until:]
    line = record_line(b"").replace(b'"payload":""', b'"payload":"%b"' % text)
    if one_form(text):
        assert envelope_line.read_record(line).payload == base64.b64decode(text)
    else:
        with pytest.raises(DocumentInvalid):
            envelope_line.read_record(line)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_payload_with_an_escape_is_refused(payload: bytes, data: st.DataObject) -> None:
    text = base64.b64encode(payload)
    at = data.draw(st.integers(0, len(text) - 1))
    escaped = text[:at] + b"\\u%04x" % text[at] + text[at + 1 :]
    line = record_line(payload)
    assert envelope_line.read_record(line).payload == payload
    with pytest.raises(DocumentInvalid):
        envelope_line.read_record(line.replace(text, escaped, 1))


@given(st.data())
def test_a_cut_line_is_refused(data: st.DataObject) -> None:
    line = record_line(b"{}")
    cut = line[: data.draw(st.integers(0, len(line) - 1))]
    with pytest.raises(DocumentInvalid):
        envelope_line.read_record(cut)
    with pytest.raises(DocumentInvalid):
        envelope_line.read_envelope(cut)


@given(st.binary(max_size=300))
def test_junk_is_refused(junk: bytes) -> None:
    for read in (envelope_line.read_record, envelope_line.read_envelope):
        with pytest.raises(DocumentInvalid):
            read(junk)
