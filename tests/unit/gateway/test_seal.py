"""Signing and verifying: published vectors, known attacks, and the chain."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

import msgspec
import pytest

from gateway import documents, record, seal
from gateway.errors import DocumentInvalid
from gateway.seal import Sealer, Signer, open_envelope, pae, verify
from tests.specimens import (
    ADMIN,
    CERTIFICATE,
    DECISION,
    INSTANCE,
    ISSUER,
    KEY_CERT,
    NEXT_SIGNER,
    RECORDS,
    SIGNER,
)

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
"""L of RFC 8032 section 5.1: the order of the base point."""


@pytest.mark.parametrize(
    ("payload_type", "payload", "framed"),
    [
        # The example of the DSSE protocol page.
        (
            "http://example.com/HelloWorld",
            b"hello world",
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world",
        ),
        ("", b"", b"DSSEv1 0  0 "),
        ("t", b"a b", b"DSSEv1 1 t 3 a b"),
        ("é", "é€".encode(), "DSSEv1 2 é 5 é€".encode()),
        ("t", b"\x00\n", b"DSSEv1 1 t 2 \x00\n"),
    ],
)
def test_pae_counts_bytes(payload_type: str, payload: bytes, framed: bytes) -> None:
    assert pae(payload_type, payload) == framed


def test_pae_cannot_be_read_in_two_ways() -> None:
    assert pae("a", b"b 1 c") != pae("a b", b"1 c")
    assert pae("a", b"") != pae("", b"a")


def test_the_prepared_framing_of_records_is_the_general_one() -> None:
    for payload in (b"", b"x", b"x" * 10_000):
        assert seal.record_pae(payload) == pae(documents.RECORD, payload)


@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [
        # RFC 8032 section 7.1: TEST 1, TEST 2, TEST 3, TEST SHA(abc).
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            b"",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            b"\x72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            b"\xaf\x82",
            (
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
            ),
        ),
        (
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            hashlib.sha512(b"abc").digest(),
            (
                "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
                "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
            ),
        ),
    ],
    ids=["1", "2", "3", "sha-abc"],
)
def test_rfc_8032_vectors(seed: str, public: str, message: bytes, signature: str) -> None:
    signer = Signer(bytes.fromhex(seed))
    assert signer.public.hex() == public
    assert signer.sign(message).hex() == signature
    assert verify(message, bytes.fromhex(signature), signer.public)
    assert not verify(message + b"x", bytes.fromhex(signature), signer.public)


SMALL_ORDER = [
    # The points of order 1, 2, 4 and 8, each with both signs where it has two, and then the
    # encodings of the same points that are not reduced or carry a sign that means nothing.
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_small_order_keys_are_refused(encoded: str) -> None:
    point = bytes.fromhex(encoded)
    with pytest.raises(DocumentInvalid) as caught:
        seal.public_key(base64.b64encode(point).decode())
    assert caught.value.reason == "key"
    # With R the neutral point and S = 0 such a key "signs" everything where nobody checks.
    trivial = bytes.fromhex(SMALL_ORDER[0]) + bytes(32)
    assert not verify(b"any message at all", trivial, point)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not base64!",
        "AAAA",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(SIGNER.public + b"\x00").decode(),
        base64.b64encode(b"\x02" + bytes(31)).decode(),
        base64.b64encode(SIGNER.public).decode().rstrip("="),
        "é" * 44,
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        seal.public_key(text)
    assert caught.value.reason == "key"


def test_a_real_key_is_taken() -> None:
    assert seal.public_key(base64.b64encode(SIGNER.public).decode()) == SIGNER.public


def test_a_malleated_signature_is_refused() -> None:
    framed = pae("t", b"payload")
    good = SIGNER.sign(framed)
    scalar = int.from_bytes(good[32:], "little")
    for multiple in (1, 2, 7):
        twin = scalar + multiple * GROUP_ORDER
        if twin < 2**256:
            assert not verify(framed, good[:32] + twin.to_bytes(32, "little"), SIGNER.public)
    assert verify(framed, good, SIGNER.public)


def test_wrong_lengths_are_false_and_not_an_error() -> None:
    framed = pae("t", b"payload")
    good = SIGNER.sign(framed)
    for length in (0, 1, 63, 65, 128):
        assert not verify(framed, (good * 2)[:length], SIGNER.public)
    for length in (0, 31, 33):
        assert not verify(framed, good, (SIGNER.public * 2)[:length])


def test_a_seed_has_32_bytes_and_a_repr_shows_no_secret() -> None:
    for length in (0, 31, 33, 64):
        with pytest.raises(ValueError, match="32"):
            Signer(bytes(length))
    assert bytes(range(32)).hex() not in repr(SIGNER)
    assert repr(SIGNER).startswith("Signer(ed25519:")


def test_a_key_id_is_the_hash_of_the_key() -> None:
    assert SIGNER.kid == "ed25519:" + hashlib.sha256(SIGNER.public).hexdigest()


# -- envelopes ------------------------------------------------------------------------------

PAYLOAD = b'{"hello":"world"}'
KEYS = {SIGNER.kid: SIGNER.public, ISSUER.kid: ISSUER.public}


def _signed(*signers: Signer, payload_type: str = "t", payload: bytes = PAYLOAD) -> bytes:
    framed = pae(payload_type, payload)
    signatures = [(signer.kid, signer.sign(framed)) for signer in signers]
    return documents.encode(seal.envelope(payload_type, payload, signatures))


def _reason(data: bytes, keys: dict[str, bytes], threshold: int = 1) -> str:
    with pytest.raises(DocumentInvalid) as caught:
        open_envelope(data, "t", keys, threshold)
    return caught.value.reason


def test_an_envelope_opens_to_the_bytes_that_were_signed() -> None:
    assert open_envelope(_signed(SIGNER), "t", KEYS) == PAYLOAD
    assert open_envelope(_signed(SIGNER, ISSUER), "t", KEYS, threshold=2) == PAYLOAD
    assert open_envelope(_signed(NEXT_SIGNER, SIGNER), "t", KEYS) == PAYLOAD


def test_a_payload_of_another_type_is_refused() -> None:
    assert _reason(_signed(SIGNER, payload_type="u"), KEYS) == "type"
    # The type is under the signature: writing another one over it does not help.
    forged = msgspec.json.decode(_signed(SIGNER, payload_type="u"))
    forged["payloadType"] = "t"
    assert _reason(msgspec.json.encode(forged), KEYS) == "signature"


def test_unknown_keys_do_not_count() -> None:
    assert _reason(_signed(NEXT_SIGNER), KEYS) == "signature"
    assert _reason(_signed(), KEYS) == "signature"
    assert _reason(_signed(SIGNER, NEXT_SIGNER), KEYS, threshold=2) == "threshold"


def test_a_key_id_that_signs_twice_counts_once() -> None:
    assert _reason(_signed(SIGNER, SIGNER), KEYS, threshold=2) == "threshold"


def test_a_key_under_two_ids_counts_once() -> None:
    framed = pae("t", PAYLOAD)
    signature = SIGNER.sign(framed)
    data = documents.encode(seal.envelope("t", PAYLOAD, [("a", signature), ("b", signature)]))
    assert _reason(data, {"a": SIGNER.public, "b": SIGNER.public}, threshold=2) == "threshold"


def test_a_threshold_below_one_is_never_met() -> None:
    assert _reason(_signed(SIGNER), KEYS, threshold=0) == "threshold"
    assert _reason(_signed(), {}, threshold=0) == "signature"


def test_a_bad_signature_beside_a_good_one_of_the_same_key_does_no_harm() -> None:
    framed = pae("t", PAYLOAD)
    signatures = [(SIGNER.kid, bytes(64)), (SIGNER.kid, SIGNER.sign(framed))]
    data = documents.encode(seal.envelope("t", PAYLOAD, signatures))
    assert open_envelope(data, "t", KEYS) == PAYLOAD


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"payloadType":"t","payload":"e30=","signatures":[],"more":1}',
        b'{"payloadType":"t","payload":"e30","signatures":[]}',
        b'{"payloadType":"t","payload":"e-_=","signatures":[]}',
        b'{"payloadType":"t","payload":" e30=","signatures":[]}',
        '{"payloadType":"t","payload":"é","signatures":[]}'.encode(),
    ],
)
def test_what_is_no_envelope_is_unreadable(data: bytes) -> None:
    assert _reason(data, KEYS) == "unreadable"


# -- the chain ------------------------------------------------------------------------------


@cache
def _chain() -> tuple[seal.Sealed, ...]:
    sealer = Sealer(SIGNER, INSTANCE)
    return tuple(sealer.seal(draft) for draft in RECORDS.values())


def test_the_first_record_points_at_its_key() -> None:
    first = record.decode(_chain()[0].payload)
    assert first.chain.seq == 0
    assert first.chain.prev == "sha256:" + hashlib.sha256(SIGNER.public).hexdigest()


def test_each_record_points_at_the_hash_of_the_one_before() -> None:
    for before, after in zip(_chain(), _chain()[1:], strict=False):
        chain = record.decode(after.payload).chain
        assert chain.prev == before.hash
        assert chain.seq == before.seq + 1
        assert (chain.instance, chain.kid) == (INSTANCE, SIGNER.kid)


def test_a_record_hash_covers_framed_bytes_and_signature_and_nothing_else() -> None:
    for sealed in _chain():
        framed = pae(documents.RECORD, sealed.payload)
        expected = "sha256:" + hashlib.sha256(framed + sealed.signature).hexdigest()
        assert sealed.hash == expected
        assert seal.verify_record(sealed.payload, sealed.signature, SIGNER.public) == expected


def test_sealing_changes_only_the_place_in_the_chain() -> None:
    for draft, sealed in zip(RECORDS.values(), _chain(), strict=True):
        place = record.decode(sealed.payload).chain
        assert record.decode(sealed.payload) == msgspec.structs.replace(draft, chain=place)
        assert (sealed.id, sealed.instance, sealed.kid) == (draft.id, INSTANCE, SIGNER.kid)


def test_the_shipped_line_opens_to_the_stored_bytes() -> None:
    for sealed in _chain():
        line = sealed.envelope_line()
        assert b"\n" not in line
        assert open_envelope(line, documents.RECORD, KEYS) == sealed.payload


def test_a_refused_draft_leaves_no_hole_in_the_chain() -> None:
    sealer = Sealer(SIGNER, INSTANCE)
    first = sealer.seal(ADMIN)
    with pytest.raises(ValueError, match="vocabulary"):
        sealer.seal(msgspec.structs.replace(DECISION, topology="edge"))
    assert (sealer.next_seq, sealer.head_hash) == (1, first.hash)
    assert sealer.seal(ADMIN).seq == 1


def test_after_a_rotation_the_next_key_signs_and_the_chain_goes_on() -> None:
    sealer = Sealer(SIGNER, INSTANCE)
    last = sealer.seal(ADMIN)
    sealer.rotate(NEXT_SIGNER)
    after = sealer.seal(ADMIN)
    chain = record.decode(after.payload).chain
    assert (chain.seq, chain.prev, chain.kid) == (1, last.hash, NEXT_SIGNER.kid)
    assert seal.verify_record(after.payload, after.signature, NEXT_SIGNER.public) == after.hash
    with pytest.raises(DocumentInvalid):
        seal.verify_record(after.payload, after.signature, SIGNER.public)


def test_any_changed_byte_of_a_signed_record_is_refused() -> None:
    sealed = _chain()[-1]
    payload, signature = bytearray(sealed.payload), bytearray(sealed.signature)
    for place in range(len(payload)):
        payload[place] ^= 1
        assert not verify(seal.record_pae(bytes(payload)), sealed.signature, SIGNER.public), place
        payload[place] ^= 1
    for place in range(len(signature)):
        signature[place] ^= 0x80
        assert not verify(seal.record_pae(sealed.payload), bytes(signature), SIGNER.public), place
        signature[place] ^= 0x80
    assert seal.verify_record(bytes(payload), bytes(signature), SIGNER.public) == sealed.hash


def test_any_changed_byte_of_a_shipped_line_is_refused_or_harmless() -> None:
    sealed = _chain()[-1]
    line = bytearray(sealed.envelope_line())
    for place in range(0, len(line), 7):
        line[place] ^= 1
        try:
            payload = open_envelope(bytes(line), documents.RECORD, KEYS)
        except DocumentInvalid:
            pass
        else:
            # Bits that base64 does not use: the signed bytes are the same, and so is the hash.
            assert payload == sealed.payload
        line[place] ^= 1


# -- certificates ---------------------------------------------------------------------------

ISSUERS = {ISSUER.kid: ISSUER.public}


def _certificate(**changes: object) -> documents.Envelope:
    return ISSUER.sign_document(documents.KEY_CERT, msgspec.structs.replace(KEY_CERT, **changes))


def test_a_certificate_by_the_issuer_opens() -> None:
    assert seal.open_certificate(CERTIFICATE, ISSUERS) == KEY_CERT
    assert seal.open_certificate(documents.encode(CERTIFICATE), ISSUERS) == KEY_CERT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kid": NEXT_SIGNER.kid}, "kid"),
        ({"pub": base64.b64encode(NEXT_SIGNER.public).decode()}, "kid"),
        ({"pub": base64.b64encode(bytes.fromhex(SMALL_ORDER[4])).decode()}, "key"),
        ({"pub": "short"}, "key"),
        ({"issuer_kid": SIGNER.kid}, "issuer"),
        ({"not_after": KEY_CERT.not_before}, "window"),
        ({"not_before": "yesterday"}, "unreadable"),
        ({"issued": "2026-11-23T18:00:00Z"}, "unreadable"),
    ],
)
def test_a_certificate_that_contradicts_itself_is_refused(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        seal.open_certificate(_certificate(**changes), ISSUERS)
    assert caught.value.reason == reason


def test_a_certificate_by_anybody_else_is_refused() -> None:
    own = SIGNER.sign_document(documents.KEY_CERT, KEY_CERT)
    with pytest.raises(DocumentInvalid) as caught:
        seal.open_certificate(own, ISSUERS)
    assert caught.value.reason == "signature"


@pytest.mark.parametrize("member", ["kid", "instance", "tenant", "region"])
def test_a_certificate_entitles_to_one_key_instance_tenant_and_region(member: str) -> None:
    leading = record.decode_leading(_chain()[0].payload)
    assert seal.entitled(KEY_CERT, leading)
    assert not seal.entitled(msgspec.structs.replace(KEY_CERT, **{member: "other"}), leading)
