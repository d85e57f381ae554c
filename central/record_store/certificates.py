"""Key certificates in the store: each becomes a leaf, and is what a daemon is known by.

Owns: accepting a certificate, finding the sender of a signed request, and the keyring of an
instance. Refuses: issuing (the issuer does) and judging records.
"""

from __future__ import annotations

import sqlite3

import msgspec

from central.config import CentralConfig
from central.errors import Refused
from central.keys import RootFiles
from central.record_store.keyring import Certified, Keyring
from central.record_store.logs import LeafWriter, Log, Logbook, document_hash
from central.record_store.revocations import is_revoked
from gateway import documents, seal
from gateway.documents import KeyCert
from gateway.errors import DocumentInvalid
from gateway.logproof import LeafType
from gateway.timestamp import time_micros


class CertificateAnswer(msgspec.Struct, frozen=True):
    """``leaf_index``: where the certificate stands in its log; the same for every repetition."""

    serial: str
    leaf_index: int


class Sender(msgspec.Struct, frozen=True):
    """A daemon whose certificate is known. ``public``: the key that signs its requests;
    ``revoked``: that key, or the last certificate of it, was taken back."""

    instance: str
    kid: str
    tenant: str
    region: str
    public: bytes
    not_before_us: int
    not_after_us: int
    revoked: bool


def open_certificate(data: bytes, config: CentralConfig, root_files: RootFiles) -> Certified:
    """The certificate in ``data``. Raises Refused (``document_invalid``, ``wrong_tenant``)."""
    try:
        envelope = seal.parse_envelope(data)
        certificate = seal.open_certificate(envelope, root_files.role("issuer").keys)
    except DocumentInvalid as error:
        raise Refused("document_invalid", str(error)) from error
    if not config.keeps(certificate.tenant, certificate.region):
        raise Refused("wrong_tenant", "the certificate is for another tenant or region")
    return Certified(certificate, envelope)


def keep_certificate(
    connection: sqlite3.Connection, logbook: Logbook, certified: Certified, now_us: int
) -> CertificateAnswer:
    """Keep ``certified`` as a leaf of its own log, once. Inside a write transaction."""
    certificate = certified.certificate
    found = _leaf_of(connection, certified)
    if found is None:
        log = logbook.open(connection, certificate.tenant, certificate.region)
        leaves = logbook.writer(connection, log, now_us)
        found = insert_certificate(connection, log, leaves, certified, now_us)
        leaves.finish()
    return CertificateAnswer(serial=certificate.serial, leaf_index=found)


def insert_certificate(
    connection: sqlite3.Connection, log: Log, leaves: LeafWriter, certified: Certified, now_us: int
) -> int:
    """The leaf index of ``certified``, which is written if it is new."""
    found = _leaf_of(connection, certified)
    if found is not None:
        return found
    digest = document_hash(certified.envelope)
    index = leaves.add(LeafType.KEY_CERT, digest)
    certificate = certified.certificate
    connection.execute(
        "INSERT INTO certificate VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            log.log,
            index,
            digest,
            certificate.serial,
            certificate.kid,
            certificate.instance,
            time_micros(certificate.not_before),
            time_micros(certificate.not_after),
            now_us,
            documents.encode(certified.envelope),
            attested_by(certificate),
            time_micros(certificate.issued),
        ),
    )
    return index


def attested_by(certificate: KeyCert) -> str | None:
    """Who proved the start, if that is one daemon at a time: a host's key, or a pod's uid, and the
    worker. None where many may run under one name, so that none takes the place of another."""
    one = certificate.attestation
    if one.type != "host_key" and one.pod_uid is None:
        return None
    return "\n".join((one.type, one.issuer or "", one.subject, one.pod_uid or "", str(one.worker)))


def _leaf_of(connection: sqlite3.Connection, certified: Certified) -> int | None:
    row = connection.execute(
        "SELECT leaf_index FROM certificate WHERE hash = ?", (document_hash(certified.envelope),)
    ).fetchone()
    return None if row is None else int(row[0])


def find_sender(connection: sqlite3.Connection, kid: str, now_us: int) -> Sender | None:
    """The daemon whose newest certificate is for ``kid``, or None. One that was taken back counts
    only where there is no other: who sends is told so, and not that nobody knows it."""
    row = connection.execute(
        "SELECT envelope, not_before_us, not_after_us,"
        " EXISTS (SELECT 1 FROM revocation v WHERE v.kid = c.kid AND v.serial = c.serial"
        " AND v.untrusted_from_us <= ?) AS taken"
        " FROM certificate c WHERE c.kid = ? ORDER BY taken, not_after_us DESC LIMIT 1",
        (now_us, kid),
    ).fetchone()
    if row is None:
        return None
    certificate = kept_certificate(row[0])
    return Sender(
        instance=certificate.instance,
        kid=certificate.kid,
        tenant=certificate.tenant,
        region=certificate.region,
        public=seal.public_key(certificate.pub),
        not_before_us=row[1],
        not_after_us=row[2],
        revoked=bool(row[3]) or is_revoked(connection, kid, now_us),
    )


def keyring_of(
    connection: sqlite3.Connection, log: int | None, instance: str, issuer_keys: dict[str, bytes]
) -> Keyring:
    """Every key that the store knows for ``instance``. ``log``: None before the first leaf."""
    keyring = Keyring(instance, issuer_keys)
    if log is None:
        return keyring
    for (envelope,) in connection.execute(
        "SELECT envelope FROM certificate WHERE log = ? AND instance = ?", (log, instance)
    ):
        keyring.know(kept_certificate(envelope))
    for kid, public in connection.execute(
        "SELECT kid, pub FROM start_key WHERE log = ? AND instance = ?", (log, instance)
    ):
        keyring.know_declared(kid, public)
    return keyring


def kept_certificate(envelope: bytes) -> KeyCert:
    """The certificate in an envelope that was verified before it was kept."""
    sealed = seal.parse_envelope(envelope)
    return documents.decode_exact(seal.unbase64(sealed.payload, "unreadable"), KeyCert)
