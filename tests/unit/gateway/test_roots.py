"""The chain of roots: only what follows from the pin counts."""

from __future__ import annotations

import base64

import msgspec
import pytest

from gateway import documents, roots, seal
from gateway.documents import Envelope, Role, Root
from gateway.errors import DocumentInvalid
from tests import signed_specimens

KEYS = [seal.Signer(bytes([number]) * 32) for number in range(1, 7)]
BY_KID = {key.kid: base64.b64encode(key.public).decode() for key in KEYS}


def document(version: int, holders: list[seal.Signer], threshold: int, **changes: object) -> Root:
    role = Role(keyids=[key.kid for key in holders], threshold=threshold)
    roles = msgspec.structs.replace(
        signed_specimens.ROOT.roles,
        **{name: Role([KEYS[5].kid], 1) for name in documents.Roles.__struct_fields__},
    )
    roles = msgspec.structs.replace(roles, root=role)
    root = msgspec.structs.replace(signed_specimens.ROOT, version=version, keys=BY_KID, roles=roles)
    return msgspec.structs.replace(root, **changes)


def signed(root: Root, *signers: seal.Signer) -> Envelope:
    payload = documents.encode(root)
    framed = seal.pae(documents.ROOT, payload)
    return seal.envelope(documents.ROOT, payload, [(key.kid, key.sign(framed)) for key in signers])


def pin(root: Root) -> str:
    return roots.fingerprint(documents.encode(root))


FIRST = document(1, KEYS[:2], 2)
SECOND = document(2, KEYS[2:4], 1)


def walk(*chain: Envelope) -> list[Root]:
    return roots.walk(chain, pin(FIRST))


def test_each_root_is_signed_by_itself_and_the_one_before() -> None:
    chain = walk(signed(FIRST, *KEYS[:2]), signed(SECOND, *KEYS[:3]))
    assert [root.version for root in chain] == [1, 2]
    assert roots.role_keys(chain[-1], "root").threshold == 1


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ([], "pin"),
        ([signed(SECOND, *KEYS[:3])], "pin"),
        ([signed(FIRST, KEYS[0])], "threshold"),
        ([signed(FIRST, KEYS[4], KEYS[5])], "signature"),
        ([signed(FIRST, *KEYS[:2]), signed(SECOND, *KEYS[2:4])], "signature"),
        ([signed(FIRST, *KEYS[:2]), signed(SECOND, *KEYS[:2])], "signature"),
        ([signed(FIRST, *KEYS[:2]), signed(SECOND, KEYS[0], KEYS[2])], "threshold"),
        ([signed(FIRST, *KEYS[:2]), signed(document(3, KEYS[2:4], 1), *KEYS[:3])], "version"),
        ([signed(FIRST, *KEYS[:2]), signed(FIRST, *KEYS[:2])], "version"),
        ([signed(FIRST, *KEYS[:2]), signed(document(2, KEYS[2:4], 1, epoch=0), *KEYS[:3])],
         "rollback"),
    ],
)  # fmt: skip
def test_a_chain_with_a_weak_link_is_refused(chain: list[Envelope], reason: str) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        walk(*chain)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec": 2}, "incompatible"),
        ({"custody": "cloud"}, "unreadable"),
        ({"expires": "never"}, "unreadable"),
        ({"keys": {}}, "role"),
        ({"keys": {**BY_KID, KEYS[5].kid: BY_KID[KEYS[4].kid]}}, "key"),
        ({"keys": {**BY_KID, KEYS[5].kid: base64.b64encode(bytes(32)).decode()}}, "key"),
    ],
)
def test_a_root_that_cannot_be_trusted_with_roles_is_refused(
    changes: dict[str, object], reason: str
) -> None:
    root = document(1, KEYS[:1], 1, **changes)
    with pytest.raises(DocumentInvalid) as caught:
        roots.walk([signed(root, KEYS[0])], pin(root))
    assert caught.value.reason == reason


@pytest.mark.parametrize("threshold", [0, 3])
def test_a_threshold_that_no_signatures_can_meet_is_refused(threshold: int) -> None:
    root = document(1, KEYS[:2], threshold)
    with pytest.raises(DocumentInvalid, match="role root wants"):
        roots.walk([signed(root, *KEYS[:2])], pin(root))


def test_a_key_named_twice_counts_once() -> None:
    root = document(1, [KEYS[0], KEYS[0]], 2)
    with pytest.raises(DocumentInvalid, match="distinct"):
        roots.walk([signed(root, KEYS[0], KEYS[0])], pin(root))
