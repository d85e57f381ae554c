"""What people are shown before they sign: all of it, or nothing."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import documents, issuing, note, policy, root_draft, wording
from gateway.checkpoint import Checkpoint
from gateway.documents import Document, LogStatement, Root
from gateway.errors import DocumentInvalid
from gateway.policy import Grant, Policy, Restriction
from tests import exports, signed_specimens, specimens

BUNDLE = issuing.build_bundle(
    Policy(
        grants=[Grant(id=f"grant-{number}", actions=["chat", "models"]) for number in range(25)],
        restrictions=[Restriction(id="no-tools", effect="deny", actions=["tool_call"])],
    ),
    scope="acme/prod",
    epoch=1,
    version=7,
    issued_us=exports.NOW_US,
    not_before_us=exports.NOW_US,
    expires_us=exports.NOW_US + exports.DAY_US,
    source=None,
    signers=[],
).payload
CHECKPOINT = Checkpoint("store.example/log/acme/eu-west-1/1", 12, bytes(32))
STATEMENT = LogStatement(
    closed_origin=CHECKPOINT.origin,
    last_checkpoint=note.Note(
        CHECKPOINT.text(), [note.sign(CHECKPOINT.text(), CHECKPOINT.origin, exports.LOG_KEY)]
    ).encode(),
    opened_origin="store.example/log/acme/eu-west-1/2",
    reason="the volume was lost",
    issued=specimens.T0,
)
SPECIMENS: dict[str, bytes] = {
    documents.ROOT: documents.encode(signed_specimens.ROOT),
    documents.BUNDLE: BUNDLE,
    documents.REVOCATION: documents.encode(signed_specimens.REVOCATION),
    documents.LOG_STATEMENT: documents.encode(STATEMENT),
    documents.KEY_CERT: documents.encode(specimens.KEY_CERT),
    documents.POLICY_HEAD: documents.encode(signed_specimens.POLICY_HEAD),
}


def told(kind: str) -> str:
    return "\n".join(wording.told(kind, SPECIMENS[kind], None))


@pytest.mark.parametrize("kind", SPECIMENS, ids=lambda kind: wording.NAMES[kind])
def test_every_value_that_matters_is_told(kind: str) -> None:
    text = told(kind)
    payload = msgspec.json.decode(SPECIMENS[kind])
    named = {
        documents.ROOT: ["custody", "expires", "issued"],
        documents.BUNDLE: ["scope", "expires", "not_before", "issued"],
        documents.REVOCATION: ["kid", "serial", "reason", "untrusted_from", "issued"],
        documents.LOG_STATEMENT: ["closed_origin", "opened_origin", "reason", "issued"],
        documents.KEY_CERT: ["serial", "kid", "instance", "tenant", "region", "not_after"],
        documents.POLICY_HEAD: ["scope", "issued", "expires"],
    }[kind]
    for name in named:
        assert payload[name] in text, name


def test_a_long_policy_says_how_much_is_not_shown() -> None:
    assert "and 6 more rules" in told(documents.BUNDLE)


def test_a_lock_and_the_size_of_a_closed_log_are_told() -> None:
    assert "LOCKED: incident" in told(documents.POLICY_HEAD)
    new = signed_specimens.POLICY_HEAD.next
    assert new is not None
    assert f"offers bundle 8, {new.digest} to 10 % of" in told(documents.POLICY_HEAD)
    assert "12 leaves" in told(documents.LOG_STATEMENT)


def test_a_key_that_both_certifies_and_logs_is_pointed_out() -> None:
    assert "one operator" in told(documents.ROOT)


@given(kind=st.sampled_from(sorted(SPECIMENS)), data=st.data())
def test_bytes_that_are_not_understood_are_refused_and_never_crash(
    kind: str, data: st.DataObject
) -> None:
    payload = bytearray(SPECIMENS[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    changed = bytes(payload)
    try:
        lines = wording.told(kind, changed, None)
        wording.expiry_us(kind, changed)
    except DocumentInvalid:
        return
    assert all(isinstance(line, str) for line in lines)
    struct: type[Document] | None = documents.DOCUMENTS.get(kind)
    if struct is not None:
        assert documents.encode(documents.decode_exact(changed, struct)) == changed
    else:
        assert policy.encode(policy.decode_bundle(changed)) == changed


def test_what_changes_from_one_root_to_the_next_is_told() -> None:
    public = base64.b64encode(exports.OTHER.public).decode()
    before = documents.decode_exact(SPECIMENS[documents.ROOT], Root)
    changes = root_draft.Changes(
        added=[("root", public)],
        thresholds={"root": 2},
        scopes=["acme", "globex"],
        custody="offline",
        new_epoch=True,
    )
    after = root_draft.following(before, changes, 30, exports.NOW_US)
    text = "\n".join(wording.told(documents.ROOT, documents.encode(after), before))
    for words in (
        f"root: gains {exports.OTHER.kid}",
        "root: threshold 1 becomes 2",
        "scopes: also globex",
        "custody: development becomes offline",
        "epoch: 1 becomes 2",
        "expires earlier than before",
    ):
        assert words in text
    same = root_draft.following(before, root_draft.Changes(), 366, exports.NOW_US)
    assert "only new dates" in "\n".join(
        wording.told(documents.ROOT, documents.encode(same), before)
    )
