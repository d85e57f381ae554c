"""Signatures of several people: counted once, in any order, and over the bytes that are there."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import documents, quorum, root_draft, seal
from gateway.documents import Envelope, Role, Root
from gateway.errors import DocumentInvalid
from gateway.quorum import Need
from gateway.roots import RoleKeys
from gateway.seal import Signer
from tests import exports, signed_specimens

HOLDERS = [Signer(bytes([number]) * 32) for number in range(1, 6)]
STRANGER = Signer(b"?" * 32)
REVOCATION = seal.envelope(documents.REVOCATION, documents.encode(signed_specimens.REVOCATION), [])
numbers = st.integers(0, len(HOLDERS) - 1)


def needs(threshold: int) -> list[Need]:
    return [Need("revocation", 1, RoleKeys({one.kid: one.public for one in HOLDERS}, threshold))]


def signed_by(signers: list[Signer], wanted: list[Need]) -> Envelope:
    envelope = REVOCATION
    for signer in signers:
        envelope = quorum.add_signature(envelope, signer, wanted)
    return envelope


@given(order=st.lists(numbers, max_size=12), threshold=st.integers(1, len(HOLDERS)))
def test_a_threshold_is_met_by_so_many_holders_in_any_order_and_however_often(
    order: list[int], threshold: int
) -> None:
    wanted = needs(threshold)
    envelope = signed_by([HOLDERS[number] for number in order], wanted)
    (standing,) = quorum.standings(envelope, wanted)
    assert standing.signed == [one.kid for one in HOLDERS if HOLDERS.index(one) in order]
    assert standing.met == (len(set(order)) >= threshold)
    assert envelope.payload == REVOCATION.payload
    held = wanted[0].keys
    if standing.met:
        payload = seal.open_envelope(envelope, documents.REVOCATION, held.keys, threshold)
        assert payload == documents.encode(signed_specimens.REVOCATION)
    else:
        with pytest.raises(DocumentInvalid):
            seal.open_envelope(envelope, documents.REVOCATION, held.keys, threshold)


@given(order=st.lists(numbers, min_size=1, max_size=5, unique=True), data=st.data())
def test_a_changed_payload_has_no_signatures(order: list[int], data: st.DataObject) -> None:
    wanted = needs(1)
    envelope = signed_by([HOLDERS[number] for number in order], wanted)
    payload = bytearray(quorum.payload_of(envelope))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= 1 << data.draw(st.integers(0, 7))
    changed = msgspec.structs.replace(envelope, payload=base64.b64encode(payload).decode())
    with pytest.raises(DocumentInvalid) as refused:
        quorum.standings(changed, wanted)
    assert refused.value.reason == "signature"
    with pytest.raises(DocumentInvalid):
        quorum.add_signature(changed, HOLDERS[0], wanted)


def test_a_signature_for_one_kind_of_document_is_none_for_another() -> None:
    envelope = signed_by([HOLDERS[0]], needs(1))
    moved = msgspec.structs.replace(envelope, payload_type=documents.LOG_STATEMENT)
    with pytest.raises(DocumentInvalid, match="not valid"):
        quorum.standings(moved, needs(1))


def test_nobody_signs_whom_no_role_names() -> None:
    with pytest.raises(DocumentInvalid) as refused:
        quorum.add_signature(REVOCATION, STRANGER, needs(1))
    assert refused.value.reason == "entitled"


def test_a_strangers_signature_is_no_ones_and_spoils_all_but_a_bundle() -> None:
    framed = seal.pae(documents.REVOCATION, quorum.payload_of(REVOCATION))
    spoilt = seal.envelope(
        documents.REVOCATION,
        quorum.payload_of(REVOCATION),
        [(STRANGER.kid, STRANGER.sign(framed))],
    )
    with pytest.raises(DocumentInvalid, match="no role here"):
        quorum.standings(spoilt, needs(1))
    bundle = msgspec.structs.replace(spoilt, payload_type=documents.BUNDLE)
    (standing,) = quorum.standings(bundle, needs(1))
    assert (standing.signed, standing.met) == ([], False)
    assert quorum.strangers(bundle, needs(1)) == [STRANGER.kid]


def test_a_signature_under_anothers_key_id_is_not_counted_for_them() -> None:
    envelope = signed_by([HOLDERS[0]], needs(2))
    (mine,) = envelope.signatures
    borrowed = msgspec.structs.replace(mine, keyid=HOLDERS[1].kid)
    with pytest.raises(DocumentInvalid, match="not valid"):
        quorum.standings(msgspec.structs.replace(envelope, signatures=[mine, borrowed]), needs(2))


def test_a_key_that_stands_there_twice_is_refused() -> None:
    envelope = signed_by([HOLDERS[0]], needs(2))
    with pytest.raises(DocumentInvalid, match="twice"):
        quorum.standings(
            msgspec.structs.replace(envelope, signatures=envelope.signatures * 2), needs(2)
        )


def test_a_payload_in_another_form_of_base64_is_not_signed() -> None:
    assert base64.b64decode("MQ==") == base64.b64decode("MR==")
    assert quorum.payload_of(msgspec.structs.replace(REVOCATION, payload="MQ==")) == b"1"
    with pytest.raises(DocumentInvalid, match="one form"):
        quorum.payload_of(msgspec.structs.replace(REVOCATION, payload="MR=="))


FIRST = documents.decode_exact(
    quorum.payload_of(seal.parse_envelope(exports.root().envelope)), Root
)


def test_the_next_root_needs_the_signatures_of_both() -> None:
    role = Role(keyids=sorted(one.kid for one in HOLDERS[:2]), threshold=2)
    texts = {one.kid: base64.b64encode(one.public).decode() for one in HOLDERS[:2]}
    following = msgspec.structs.replace(
        FIRST,
        version=2,
        keys={**FIRST.keys, **texts},
        roles=msgspec.structs.replace(FIRST.roles, root=role),
    )
    envelope = seal.envelope(documents.ROOT, documents.encode(following), [])
    wanted = quorum.needs_of(envelope, FIRST)
    assert [(one.root_version, one.keys.threshold) for one in wanted] == [(1, 1), (2, 2)]
    for signer in (*HOLDERS[:2], exports.ROOT_KEY):
        assert not all(one.met for one in quorum.standings(envelope, wanted))
        envelope = quorum.add_signature(envelope, signer, wanted)
    assert all(one.met for one in quorum.standings(envelope, wanted))


@pytest.mark.parametrize(
    ("version", "before", "reason"), [(1, FIRST, "root"), (2, None, "root"), (3, FIRST, "version")]
)
def test_a_root_is_held_against_the_one_before_it(
    version: int, before: Root | None, reason: str
) -> None:
    document = msgspec.structs.replace(FIRST, version=version)
    envelope = seal.envelope(documents.ROOT, documents.encode(document), [])
    with pytest.raises(DocumentInvalid) as refused:
        quorum.needs_of(envelope, before)
    assert refused.value.reason == reason


@pytest.mark.parametrize("kind", [documents.KEY_CERT, documents.POLICY_HEAD, documents.RECORD])
def test_what_a_service_signs_is_signed_by_no_person(kind: str) -> None:
    envelope = msgspec.structs.replace(REVOCATION, payload_type=kind)
    with pytest.raises(DocumentInvalid) as refused:
        quorum.add_signature(envelope, HOLDERS[0], needs(1))
    assert refused.value.reason == "type"


def test_a_log_statement_needs_two_roles() -> None:
    envelope = msgspec.structs.replace(REVOCATION, payload_type=documents.LOG_STATEMENT)
    assert [one.role for one in quorum.needs_of(envelope, FIRST)] == ["log", "revocation"]


def _public(signer: Signer) -> str:
    return base64.b64encode(signer.public).decode()


def test_a_key_is_replaced_in_every_role_that_it_had() -> None:
    changes = root_draft.Changes(replaced={exports.BUNDLE_KEY.kid: _public(HOLDERS[0])})
    after = root_draft.following(FIRST, changes, 365, exports.NOW_US)
    assert after.roles.bundle.keyids == after.roles.policy_head.keyids == [HOLDERS[0].kid]
    assert exports.BUNDLE_KEY.kid not in after.keys
    assert len(root_draft.differences(FIRST, after)) == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (root_draft.Changes(thresholds={"root": 2}), "role"),
        (
            root_draft.Changes(thresholds={"issuer": 2}, added=[("issuer", _public(STRANGER))]),
            "role",
        ),
        (root_draft.Changes(added=[("root", _public(exports.ROOT_KEY))]), "role"),
        (root_draft.Changes(removed=[("root", exports.ROOT_KEY.kid)]), "role"),
        (root_draft.Changes(removed=[("root", STRANGER.kid)]), "change"),
        (root_draft.Changes(replaced={STRANGER.kid: _public(HOLDERS[0])}), "change"),
        (root_draft.Changes(added=[("root", base64.b64encode(bytes(32)).decode())]), "key"),
        (root_draft.Changes(scopes=[]), "plan"),
    ],
)
def test_a_root_that_could_not_be_used_is_not_drafted(
    changes: root_draft.Changes, reason: str
) -> None:
    with pytest.raises(DocumentInvalid) as refused:
        root_draft.following(FIRST, changes, 365, exports.NOW_US)
    assert refused.value.reason == reason
