"""``Gatepost-Signed``, written and read back without HTTP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import signed_request
from gateway.documents import RequestOf
from gateway.errors import DocumentInvalid
from gateway.timestamp import time_micros
from tests import specimens

NOW_US = time_micros(specimens.T1)
PATH = "/v1/records?x=%2F"


def header(body: bytes = b"body", of: RequestOf | None = None) -> str:
    return signed_request.sign_request(
        specimens.SIGNER,
        specimens.INSTANCE,
        audience="store",
        method="POST",
        path=PATH,
        body=body,
        now_us=NOW_US,
        of=of,
    )


def check(
    value: str,
    *,
    body: bytes = b"body",
    now_us: int = NOW_US,
    audience: str = "store",
    method: str = "POST",
    path: str = PATH,
) -> None:
    claimed, sealed = signed_request.read_header(value)
    signed_request.check_request(
        claimed,
        sealed,
        specimens.SIGNER.public,
        audience=audience,
        method=method,
        path=path,
        body=body,
        now_us=now_us,
    )


@given(st.binary(max_size=50))
def test_a_call_passes_with_its_own_header(body: bytes) -> None:
    value = header(body)
    assert "=" not in value
    check(value, body=body)


def test_another_call_does_not_pass() -> None:
    with pytest.raises(DocumentInvalid, match="audience"):
        check(header(), audience="other")
    with pytest.raises(DocumentInvalid, match="method"):
        check(header(), method="GET")
    with pytest.raises(DocumentInvalid, match="path"):
        check(header(), path="/v1/records?x=/")


def test_another_body_or_day_does_not_pass() -> None:
    with pytest.raises(DocumentInvalid, match="content"):
        check(header(), body=b"other")
    check(header(), now_us=NOW_US + 24 * 3_600_000_000)
    with pytest.raises(DocumentInvalid, match="time"):
        check(header(), now_us=NOW_US + 24 * 3_600_000_000 + 1)


def test_who_is_meant_is_read_before_anything_is_verified() -> None:
    of = RequestOf(instance=specimens.BEFORE, first_seq=3, last_seq=9)
    claimed, _ = signed_request.read_header(header(of=of))
    assert (claimed.sender.kid, claimed.of) == (specimens.SIGNER.kid, of)


@given(st.integers(0, 2_000), st.sampled_from("Aa0-_=+/ "))
def test_no_changed_character_passes(place: int, character: str) -> None:
    value = header()
    place %= len(value)
    if value[place] == character:
        return
    changed = value[:place] + character + value[place + 1 :]
    try:
        check(changed)
    except DocumentInvalid:
        return
    # The unused bits of the last base64 character are outside the signature and mean nothing.
    assert place == len(value) - 1


@given(st.text(max_size=60))
def test_junk_is_refused(junk: str) -> None:
    with pytest.raises(DocumentInvalid):
        signed_request.read_header(junk)
