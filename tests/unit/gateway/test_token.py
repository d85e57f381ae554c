from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.errors import ConfigInvalid, IdentityRejected
from gateway.token import Keys, looks_like_token, read_keys, read_token
from tests.unit.gateway import token_factory as make

ALGORITHMS = ("ES256", "ES384", "RS256", "PS256", "Ed25519", "EdDSA")
CLAIMS = {"iss": "i", "sub": "s"}


def keys(*names: str) -> Keys:
    return read_keys(make.jwks(*names), ALGORITHMS, "keys.json")


def malformed(text: str, code: str = "token_malformed") -> None:
    with pytest.raises(IdentityRejected) as caught:
        read_token(text)
    assert caught.value.code == code


def verify(text: str, known: Keys) -> str | None:
    try:
        known.verify(read_token(text))
    except IdentityRejected as error:
        return error.code
    return None


@pytest.mark.parametrize(
    "member",
    [
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"jwk": make.jwk("ec-evil")},
        {"x5c": ["AAAA"]},
        {"x5t": "AAAA"},
        {"crit": ["x"], "x": 1},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"": 1},
    ],
)
def test_a_header_parameter_that_changes_how_a_token_is_read_is_refused(
    member: dict[str, object],
) -> None:
    malformed(make.token(CLAIMS, header=member))


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"ES256","alg":"none","kid":"ec-1"}',
        b'{"alg":"ES256","kid":"ec-1","k\\u0069d":"ec-2"}',
        b'{"alg":7,"kid":"ec-1"}',
        b'{"kid":"ec-1"}',
        b'{"alg":"ES256","kid":"ec-1","typ":["JWT"]}',
        b'"ES256"',
        b"",
        b"{",
    ],
)
def test_a_header_that_is_not_one_strict_object_is_refused(header: bytes) -> None:
    malformed(make.assemble(header, b"{}", "ec-1"))


@pytest.mark.parametrize(
    "kid", ["../../dev/null", "' OR 1=1 --", "https://evil.example/k", "EC-1", "ec-1 ", "x" * 256]
)
def test_a_kid_is_looked_up_and_never_followed(kid: str) -> None:
    assert verify(make.token(CLAIMS, header={"kid": kid}), keys("ec-1")) == "token_key_unknown"


@pytest.mark.parametrize("kid", [None, "", 7, ["ec-1"], "x" * 257, "x" * 4000])
def test_a_token_without_a_usable_kid_has_no_key(kid: object) -> None:
    malformed(make.token(CLAIMS, header={"kid": kid}), "token_key_unknown")


@pytest.mark.parametrize("form", ["pem", "der", "ssh", "jwk", "empty"])
@pytest.mark.parametrize("name", ["ec-1", "ed-1"])
def test_a_public_key_is_never_an_hmac_secret(form: str, name: str) -> None:
    secret = make.public_forms(name)[form]
    token = read_token(make.hmac_token(CLAIMS, secret, name, "HS256"))
    with pytest.raises(IdentityRejected) as caught:
        keys("ec-1", "ed-1").verify(token)
    assert caught.value.code == "token_alg_not_allowed"
    disguised = make.hmac_token(CLAIMS, secret, name, "ES256")
    assert verify(disguised, keys("ec-1", "ed-1")) in (
        "token_signature_invalid",
        "token_alg_not_allowed",
    )


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("p384-1", "ES256"),
        ("ec-1", "ES384"),
        ("ec-1", "RS256"),
        ("ec-1", "Ed25519"),
        ("ed-1", "ES256"),
        ("ed-1", "EdDSA "),
        ("ec-1", "none"),
        ("ec-1", "nOnE"),
        ("ec-1", ""),
        ("ec-1", "ES512"),
    ],
)
def test_key_type_and_algorithm_must_fit(name: str, algorithm: str) -> None:
    token = read_token(make.token(CLAIMS, name, algorithm))
    with pytest.raises(IdentityRejected) as caught:
        keys("ec-1", "p384-1", "ed-1").verify(token)
    assert caught.value.code == "token_alg_not_allowed"


def test_pss_and_pkcs1_signatures_are_not_exchanged() -> None:
    header = make.as_json({"alg": "RS256", "kid": "rsa-1"})
    assert verify(make.assemble(header, b"{}", "rsa-1", "PS256"), keys("rsa-1")) == (
        "token_signature_invalid"
    )


@pytest.mark.parametrize(
    "signature", [b"", b"\0" * 64, b"\xff" * 64, b"\0" * 63, b"\x01" * 65, b"\0" * 72]
)
def test_a_degenerate_signature_is_invalid(signature: bytes) -> None:
    head_and_payload = make.token(CLAIMS).rpartition(".")[0]
    forged = f"{head_and_payload}.{make.encode(signature)}"
    assert verify(forged, keys("ec-1")) == "token_signature_invalid"


def test_every_byte_of_a_token_is_covered() -> None:
    good, known = make.token(CLAIMS, "ed-1", "Ed25519"), keys("ed-1")
    assert verify(good, known) is None
    # The last character of a part may carry unused bits; all others change the bytes.
    for index in range(len(good) - 1):
        if good[index + 1] == "." or good[index] == ".":
            continue
        changed = good[:index] + ("A" if good[index] != "A" else "B") + good[index + 1 :]
        assert verify(changed, known) is not None, index


def test_no_prefix_of_a_token_and_no_trailing_junk_is_a_token() -> None:
    good, known = make.token(CLAIMS, "ed-1", "Ed25519"), keys("ed-1")
    for cut in range(len(good) - 1):
        assert verify(good[:cut], known) is not None, cut
    for junk in (".", " ", "\n", "=", "AA", ".A"):
        assert verify(good + junk, known) is not None, junk


def test_a_token_over_the_bound_is_not_parsed() -> None:
    malformed(make.token({"a": "x" * limits.TOKEN_BYTES_MAX}))


def test_the_standard_alphabet_and_padding_are_not_base64url() -> None:
    header = make.encode(make.as_json({"alg": "ES256", "kid": "ec-1"}))
    for payload in (base64.b64encode(b"{}??>>").decode(), "e30="):
        malformed(f"{header}.{payload}.AAAA")


@given(st.text(max_size=120))
def test_no_text_breaks_the_reader(text: str) -> None:
    looks_like_token(text)
    with pytest.raises(IdentityRejected):
        read_token(text)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kty": "oct", "kid": "a", "k": "c2VjcmV0"}, "secret"),
        (make.jwk("ec-1") | {"d": "AAAA"}, "secret"),
        (make.jwk("rsa-small"), "RSA key of under 2048 bits"),
        (make.jwk("ec-1", use="enc"), "not for verifying"),
        (make.jwk("ec-1", key_ops=["sign"]), "not for verifying"),
        (make.jwk("ec-1", alg="ES384"), "fits none"),
        (make.jwk("ec-1") | {"kid": ""}, "no usable kid"),
        (make.jwk("ec-1") | {"x": "AAAA"}, "unreadable"),
        ({"kty": "EC", "kid": "a"}, "unreadable"),
        ({"kid": "a"}, "unreadable"),
        (7, "must be an object"),
    ],
)
def test_a_key_that_must_not_verify_is_refused_with_the_reason(entry: object, message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message) as caught:
        read_keys(make.as_json({"keys": [entry]}), ALGORITHMS, "keys.json")
    assert "keys.json" in str(caught.value)


def test_one_kid_twice_is_refused() -> None:
    doubled = make.as_json({"keys": [make.jwk("ec-1", "a"), make.jwk("ec-2", "a")]})
    with pytest.raises(ConfigInvalid, match="twice"):
        read_keys(doubled, ALGORITHMS, "keys.json")


def test_keys_for_other_purposes_are_passed_over() -> None:
    mixed = make.as_json({"keys": [make.jwk("ec-2", use="enc"), make.jwk("ec-1"), {"kty": "X"}]})
    known = read_keys(mixed, ALGORITHMS, "keys.json")
    assert len(known) == 1
    assert verify(make.token(CLAIMS), known) is None


def test_a_key_set_is_bounded() -> None:
    many = make.as_json({"keys": [make.jwk("ec-1", f"k{index}") for index in range(65)]})
    with pytest.raises(ConfigInvalid, match="at most 64"):
        read_keys(many, ALGORITHMS, "keys.json")


@pytest.mark.parametrize("value", ["eyJhIjoxfQ.e30.", "IHsifQ.a.b", "eyJhIjoxfQ.e30.AAAA"])
def test_what_begins_like_a_token_is_judged_as_one(value: str) -> None:
    assert looks_like_token(value)
