"""What rides along on a certificate: the store keeps the one form that a verifier reads."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable

import msgspec
import pytest

from gateway import documents
from gateway.documents import Envelope, Signature
from gateway.evidence import verify_export
from tests import specimens
from tests.unit.central.deployment import Daemon, Deployment, root_document

STRANGER = Signature("ed25519:" + "0" * 64, base64.b64encode(b"s" * 64).decode())


def behind(envelope: Envelope) -> Envelope:
    return msgspec.structs.replace(envelope, signatures=[*envelope.signatures, STRANGER])


def before(envelope: Envelope) -> Envelope:
    return msgspec.structs.replace(envelope, signatures=[STRANGER, *envelope.signatures])


def twice(envelope: Envelope) -> Envelope:
    return msgspec.structs.replace(envelope, signatures=envelope.signatures * 2)


def loose(envelope: Envelope) -> Envelope:
    """The same 64 bytes in another base64: the last character before ``==`` has four free bits."""
    (entry,) = envelope.signatures
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(entry.sig[-3]) + 1]
    changed = msgspec.structs.replace(entry, sig=f"{entry.sig[:-3]}{other}==")
    assert base64.b64decode(changed.sig, validate=True) == base64.b64decode(entry.sig)
    return msgspec.structs.replace(envelope, signatures=[changed])


Form = Callable[[Envelope], Envelope]
FORMS: list[Form] = [behind, before, twice, loose]


def leaves(deployment: Deployment) -> int:
    connection = sqlite3.connect(f"{deployment.directory}/data/records.db")
    try:
        return int(connection.execute("SELECT count(*) FROM leaf WHERE type = 2").fetchone()[0])
    finally:
        connection.close()


def export_is_false(deployment: Deployment) -> bool:
    answer = deployment.http.get(
        "/v1/exports", params={"complete": "1"}, headers=deployment.as_person("audrey")
    )
    lines = answer.content.splitlines(keepends=True)
    return verify_export(lines, root_document().digest).exit_code == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("known", [True, False])
def test_a_certificate_with_anything_beside_its_issuers_signature_becomes_no_leaf(
    deployment: Deployment, daemon: Daemon, form: Form, known: bool
) -> None:
    sender = daemon if known else Daemon(deployment, 2)
    if not known:
        sender.enrol()
    assert sender.certificate is not None
    held = leaves(deployment)
    answer = deployment.http.post(
        "/v1/certificates", content=documents.encode(form(sender.certificate))
    )
    assert answer.json()["error"]["code"] == "document_invalid"
    assert leaves(deployment) == held
    assert not export_is_false(deployment)


@pytest.mark.parametrize("form", FORMS)
def test_nor_does_one_that_came_inside_a_record(
    deployment: Deployment, daemon: Daemon, form: Form
) -> None:
    assert daemon.certificate is not None
    held = leaves(deployment)
    start = daemon.start()
    news = daemon.write(specimens.HEARTBEAT, certificate=form(daemon.certificate), log_seen=None)
    answer = daemon.ship(start, news)
    assert answer.exceptions == []
    assert leaves(deployment) == held
    assert not export_is_false(deployment)
