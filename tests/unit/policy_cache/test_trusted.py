from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import documents, issuing, roots, seal
from gateway import policy as policy_document
from gateway.documents import PolicyHead, Refresh
from gateway.errors import DocumentInvalid
from gateway.issuing import Issued
from gateway.policy import Bundle
from policy_cache import trusted
from policy_cache.trusted import Content, Floors, Head
from tests.unit.policy_cache.policy_world import (
    BUNDLE_A,
    BUNDLE_B,
    DAY,
    HEAD,
    OTHER,
    OWN_VERSION,
    ROOT_A,
    ROOT_B,
    ROOT_C,
    SCOPE,
    SECOND,
    T0,
    Publisher,
    policy,
)

NO_FLOORS = Floors()


def reason(act: Callable[[], object]) -> str:
    with pytest.raises(DocumentInvalid) as caught:
        act()
    return caught.value.reason


def open_head(
    data: Issued | bytes,
    publisher: Publisher,
    floors: Floors = NO_FLOORS,
    *,
    now_us: int = T0,
    scope: str = SCOPE,
    own: str = OWN_VERSION,
    expired_ok: bool = False,
) -> Head:
    return trusted.open_head(
        data.envelope if isinstance(data, Issued) else data,
        publisher.open_root(),
        scope,
        floors,
        now_us,
        own,
        expired_ok=expired_ok,
    )


def refused(data: Issued | bytes, publisher: Publisher, **changes: object) -> str:
    return reason(lambda: open_head(data, publisher, **changes))  # type: ignore[arg-type]  # passed through


def accepted(
    publisher: Publisher, bundle: Issued, head: Issued, floors: Floors = NO_FLOORS
) -> tuple[Content, Floors]:
    root = publisher.open_root()
    opened = open_head(head, publisher, floors)
    content = trusted.open_bundle(bundle.envelope, root, opened, T0)
    return content, trusted.raised(floors, root, opened)


def refused_bundle(
    publisher: Publisher, bundle: Issued | bytes, head: Issued, now_us: int = T0
) -> str:
    opened = open_head(head, publisher)
    data = bundle.envelope if isinstance(bundle, Issued) else bundle
    return reason(lambda: trusted.open_bundle(data, publisher.open_root(), opened, now_us))


def head_of(publisher: Publisher, **changes: object) -> Issued:
    """A head with some members of its payload changed, properly signed."""
    good = publisher.head(publisher.bundle())
    document = documents.decode_exact(good.payload, PolicyHead)
    changed = msgspec.structs.replace(document, **changes)
    return issuing.sign(documents.POLICY_HEAD, documents.encode(changed), [HEAD])


def test_a_valid_chain_gives_a_snapshot_with_the_documents_own_times() -> None:
    publisher = Publisher()
    bundle = publisher.bundle(3)
    head = publisher.head(bundle, 5, bundle_version=3)
    root = publisher.open_root()
    opened = open_head(head, publisher)
    content = trusted.open_bundle(bundle.envelope, root, opened, T0)
    got = trusted.snapshot_of(root, opened, content, 0)
    assert (got.version, got.head_version, got.root_version, got.digest) == (3, 5, 1, bundle.digest)
    assert (got.issued_us, got.fresh_until_us) == (T0, T0 + 120 * SECOND)
    assert got.expires_us == T0 + 4 * 3_600 * SECOND
    assert got.rest_expires_us == T0 + 30 * DAY
    assert [got.state(T0), got.state(got.expires_us)] == ["fresh", "expired"]


# -- roots --------------------------------------------------------------------------------------


def rotation(**changes: object) -> str:
    publisher = Publisher()
    publisher.add_root(**changes)  # type: ignore[arg-type]  # passed through
    return reason(publisher.open_root)


def test_a_new_root_needs_the_thresholds_of_both_the_old_and_its_own() -> None:
    new = (ROOT_B, ROOT_C)
    assert rotation(keys=new, signers=new) == "threshold"
    assert rotation(keys=new, signers=(ROOT_A, ROOT_B)) == "threshold"
    assert rotation(keys=(ROOT_C,), threshold=1, signers=(ROOT_C,)) == "signature"
    publisher = Publisher()
    publisher.add_root(keys=new, signers=(ROOT_A, ROOT_B, ROOT_C))
    assert publisher.open_root().version == 2


def test_roots_follow_each_other_one_by_one_and_epochs_never_fall() -> None:
    assert rotation(version=3) == "version"
    assert rotation(epoch=0) == "rollback"


def test_an_expired_intermediate_root_is_fine_and_an_expired_final_one_is_not() -> None:
    publisher = Publisher()
    publisher.add_root(expires_us=T0 + SECOND)
    now_us = T0 + 2 * SECOND
    assert reason(lambda: trusted.check_root(publisher.open_root(), now_us)) == "expired"
    publisher.add_root()
    trusted.check_root(publisher.open_root(), now_us)


def test_only_the_pinned_root_begins_the_chain() -> None:
    other = Publisher()
    envelope = msgspec.json.decode(other.roots[0].envelope, type=documents.Envelope)
    pinned = "sha256:" + "0" * 64
    assert reason(lambda: roots.open_first(envelope, pinned)) == "pin"


# -- signatures ---------------------------------------------------------------------------------


def test_one_key_counts_once_however_often_it_signed() -> None:
    publisher = Publisher(bundle_threshold=2)
    twice = publisher.bundle(signers=(BUNDLE_A, BUNDLE_A))
    assert refused_bundle(publisher, twice, publisher.head(twice)) == "threshold"
    both = publisher.bundle(signers=(OTHER, BUNDLE_B, BUNDLE_A))
    accepted(publisher, both, publisher.head(both))


def test_a_bad_signature_beside_enough_good_ones_is_ignored() -> None:
    publisher = Publisher(bundle_threshold=2)
    bundle = publisher.bundle(signers=(BUNDLE_A, BUNDLE_B))
    forged = documents.Signature(OTHER.kid, base64.b64encode(bytes(64)).decode())
    envelope = seal.parse_envelope(bundle.envelope)
    more = msgspec.structs.replace(envelope, signatures=[forged, *envelope.signatures])
    opened = open_head(publisher.head(bundle), publisher)
    trusted.open_bundle(documents.encode(more), publisher.open_root(), opened, T0)


def test_a_role_signs_its_own_documents_and_no_others() -> None:
    publisher = Publisher()
    by_head = publisher.bundle(signers=(HEAD,))
    assert refused_bundle(publisher, by_head, publisher.head(by_head)) == "signature"
    assert refused(publisher.head(publisher.bundle(), by=BUNDLE_A), publisher) == "signature"


def test_a_document_of_one_type_never_passes_for_another() -> None:
    publisher = Publisher()
    head = publisher.head(publisher.bundle())
    swapped = issuing.sign(documents.BUNDLE, head.payload, [HEAD])
    assert refused(swapped, publisher) == "type"


@given(st.data())
def test_no_flipped_bit_is_accepted(data: st.DataObject) -> None:
    publisher = Publisher()
    good = publisher.head(publisher.bundle()).envelope
    place = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[place // 8] ^= 1 << place % 8
    try:
        opened = open_head(bytes(bad), publisher)
    except DocumentInvalid:
        return
    # A keyid or spacing outside the signed bytes may differ; what is signed may not.
    assert opened == open_head(good, publisher)


def test_trailing_bytes_and_cut_documents_are_refused() -> None:
    publisher = Publisher()
    good = publisher.head(publisher.bundle()).envelope
    assert refused(good + b"x", publisher) == "unreadable"
    for length in range(0, len(good), 7):
        assert refused(good[:length], publisher) in ("unreadable", "signature")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"spec":1,', b'"spec":1,"extra":1,'),
        (b'"spec":1,', b'"spec":1,"spec":1,'),
        (b'"spec":1,', b'"spec": 1,'),
        (b'"spec":1,', b'"spec":true,'),
        (b'"spec":1,', b'"spec":1.0,'),
        (b'"spec":1,', b'"spec":NaN,'),
        (b'"lock":null,', b""),
        (b'.000000Z"', b'.000000+00:00"'),
        (b'.000000Z"', b'.000000"'),
        (b'.000000Z"', b'Z"'),
    ],
)
def test_a_signed_payload_has_one_form_only(old: bytes, new: bytes) -> None:
    publisher = Publisher()
    good = publisher.head(publisher.bundle())
    assert old in good.payload
    signed = issuing.sign(documents.POLICY_HEAD, good.payload.replace(old, new, 1), [HEAD])
    assert refused(signed, publisher) in ("unreadable", "inexact")


# -- heads --------------------------------------------------------------------------------------


def test_a_head_is_for_exactly_one_scope_that_the_root_speaks_for() -> None:
    publisher = Publisher()
    bundle = publisher.bundle()
    assert refused(publisher.head(bundle, scope="acme/prod/us"), publisher) == "scope"
    for outside in ("acme/prod2/eu", "acme/prod", "acme"):
        head = publisher.head(bundle, scope=outside)
        assert refused(head, publisher, scope=outside) == "scope"


FLOORS = Floors(
    epoch=1, head_version=10, head_digest="sha256:aa", bundle_version=5, bundle_digest="sha256:bb"
)


@pytest.mark.parametrize(
    ("head", "bundle", "expected"),
    [
        (9, 6, "rollback"),
        (10, 6, "equivocation"),
        (11, 4, "rollback"),
        (11, 5, "equivocation"),
        (10 + 1_000_001, 6, "jump"),
        (11, 5 + 1_000_001, "jump"),
        (2**53, 6, "unreadable"),
        (0, 6, "rollback"),
    ],
)
def test_versions_never_fall_jump_or_mean_two_things(head: int, bundle: int, expected: str) -> None:
    publisher = Publisher()
    made = publisher.head(publisher.bundle(bundle), head, bundle_version=bundle)
    assert refused(made, publisher, floors=FLOORS) == expected


def test_the_same_head_again_is_accepted_and_a_higher_one_too() -> None:
    publisher = Publisher()
    bundle = publisher.bundle(5)
    head = publisher.head(bundle, 10, bundle_version=5)
    _, floors = accepted(publisher, bundle, head)
    accepted(publisher, bundle, head, floors)
    accepted(publisher, bundle, publisher.head(bundle, 11, bundle_version=5), floors)


def test_a_first_version_is_at_least_one() -> None:
    publisher = Publisher()
    assert refused(head_of(publisher, version=0), publisher) == "jump"


def test_only_a_new_root_begins_a_new_epoch_and_then_floors_fall() -> None:
    publisher = Publisher()
    bundle = publisher.bundle(1, epoch=2)
    head = publisher.head(bundle, 1, epoch=2)
    assert refused(head, publisher, floors=FLOORS) == "epoch"
    publisher.add_root(epoch=2)
    _, floors = accepted(publisher, bundle, head, FLOORS)
    assert (floors.epoch, floors.head_version, floors.bundle_version) == (2, 1, 1)
    old = publisher.head(publisher.bundle(), 99, bundle_version=99)
    assert refused(old, publisher, floors=floors) == "epoch"


def test_a_head_of_a_newer_root_asks_for_that_root() -> None:
    publisher = Publisher()
    assert refused(publisher.head(publisher.bundle(), root_version=2), publisher) == "root_behind"


def test_a_head_holds_from_issue_to_expiry_by_trusted_time() -> None:
    publisher = Publisher()
    head = publisher.head(publisher.bundle(), issued_us=T0, expires_us=T0 + 10 * SECOND)
    open_head(head, publisher, now_us=T0 + 10 * SECOND - 1)
    assert refused(head, publisher, now_us=T0 + 10 * SECOND) == "expired"
    open_head(head, publisher, now_us=T0 + 10 * SECOND, expired_ok=True)
    open_head(head, publisher, now_us=T0 - 60 * SECOND)
    assert refused(head, publisher, now_us=T0 - 60 * SECOND - 1) == "future"
    assert refused(publisher.head(publisher.bundle(), expires_us=T0), publisher) == "window"


def test_a_head_may_ask_for_a_newer_program() -> None:
    publisher = Publisher()
    head = publisher.head(publisher.bundle(), min_gatepost="0.10")
    assert refused(head, publisher, own="0.9.9") == "update_required"
    for own in ("0.10", "0.10.0", "1.0", "0.11.dev1"):
        open_head(head, publisher, own=own)
    strange = publisher.head(publisher.bundle(), min_gatepost="latest")
    assert refused(strange, publisher) == "incompatible"


def test_a_head_of_another_spec_or_with_an_empty_interval_is_refused() -> None:
    publisher = Publisher()
    assert refused(head_of(publisher, spec=2), publisher) == "incompatible"
    for low, high in ((0, 60), (60, 30)):
        assert refused(head_of(publisher, refresh=Refresh(low, high)), publisher) == "window"


def test_a_heads_own_refresh_interval_stands_in_the_snapshot() -> None:
    publisher = Publisher()
    bundle = publisher.bundle()
    opened = open_head(publisher.head(bundle, refresh=Refresh(20, 40)), publisher)
    root = publisher.open_root()
    content = trusted.open_bundle(bundle.envelope, root, opened, T0)
    got = trusted.snapshot_of(root, opened, content, 0)
    assert (got.refresh_seconds_min, got.refresh_seconds_max) == (20.0, 40.0)
    assert got.fresh_until_us == T0 + 80 * SECOND


# -- bundles ------------------------------------------------------------------------------------


def test_length_and_digest_are_checked_before_a_signature_or_a_parse() -> None:
    publisher = Publisher()
    bundle = publisher.bundle()
    head = publisher.head(bundle)
    junk = b"\xff" * len(bundle.payload)

    def unsigned(payload: bytes) -> bytes:
        return documents.encode(seal.envelope(documents.BUNDLE, payload, []))

    assert refused_bundle(publisher, unsigned(junk), head) == "digest"
    assert refused_bundle(publisher, unsigned(junk[1:]), head) == "length"
    assert refused_bundle(publisher, unsigned(junk + b"x"), head) == "length"
    assert refused_bundle(publisher, unsigned(bundle.payload), head) == "signature"
    assert refused_bundle(publisher, b" " * 100_000 + bundle.envelope, head) == "length"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"scope": "acme/prod/us"}, "mismatch"),
        ({"epoch": 2}, "mismatch"),
        ({"version": 2}, "mismatch"),
        ({"not_before_us": T0 + SECOND}, "not_yet_valid"),
        ({"expires_us": T0}, "expired"),
        ({"not_before_us": T0 - 9 * SECOND, "expires_us": T0 - 9 * SECOND}, "window"),
    ],
)
def test_a_bundle_is_the_one_that_its_head_says_and_holds_now(
    changes: dict[str, int], expected: str
) -> None:
    publisher = Publisher()
    bundle = publisher.bundle(**changes)  # type: ignore[arg-type]  # one keyword at a time
    assert refused_bundle(publisher, bundle, publisher.head(bundle)) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b'"engine":"table/1"', b'"engine":"table/2"', "incompatible"),
        (b'{"spec":1,', b'{"spec":2,', "incompatible"),
        (b'"mode":"enforce"', b'"mode":"shadow"', "unsupported"),
        (b'"actions":["*"]', b'"actions":["x"]', "policy"),
        (b'"mode":"enforce"', b'"mode": "enforce"', "inexact"),
        (b'"mode":"enforce"', b'"mood":"enforce"', "unreadable"),
    ],
)
def test_a_signed_bundle_that_cannot_be_used_is_refused(
    old: bytes, new: bytes, expected: str
) -> None:
    publisher = Publisher()
    good = publisher.bundle()
    assert old in good.payload
    bad = issuing.sign(documents.BUNDLE, good.payload.replace(old, new, 1), [BUNDLE_A])
    assert refused_bundle(publisher, bad, publisher.head(bad)) == expected


def test_a_bundle_whose_own_test_fails_is_refused() -> None:
    publisher = Publisher()
    test = {
        "name": "chat is open",
        "input": {"model": {"operation": "chat"}},
        "expect": {"outcome": "allow"},
    }
    good = publisher.bundle(content=policy(tests=[test]))
    payload = good.payload.replace(b'"outcome":"allow"', b'"outcome":"deny"', 1)
    assert payload != good.payload
    bad = issuing.sign(documents.BUNDLE, payload, [BUNDLE_A])
    assert refused_bundle(publisher, bad, publisher.head(bad)) == "selftest"


def test_the_digest_is_the_payloads_so_signing_again_does_not_change_it() -> None:
    publisher = Publisher()
    one, two = publisher.bundle(), publisher.bundle(signers=(BUNDLE_A, BUNDLE_B))
    assert one.digest == two.digest
    assert one.envelope != two.envelope
    document = policy_document.decode_bundle(one.payload)
    assert isinstance(document, Bundle)
    assert policy_document.encode(document) == one.payload
