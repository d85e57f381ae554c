"""One process instance: what it draws, and the window in which its key may sign and ship."""

from __future__ import annotations

import base64

import msgspec
import pytest

from gateway import documents, seal
from gateway.errors import DocumentInvalid
from gateway.lineage import ParentHeader
from gateway.ports import Receipt
from gateway.signed_request import check_request, read_header
from gateway.timestamp import time_text
from sidecar.instance import Instance
from tests.sim.clock import EPOCH_US
from tests.sim.entropy import SeededEntropy
from tests.specimens import CERTIFICATE, HASH, KEY_CERT
from tests.unit.sidecar.hand_clock import HandClock

SECOND_US = 1_000_000


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def instance(clock: HandClock) -> Instance:
    return Instance(SeededEntropy(1), clock)


def certify(instance: Instance, until_us: int) -> None:
    instance.accept(CERTIFICATE, msgspec.structs.replace(KEY_CERT, not_after=time_text(until_us)))


def test_two_starts_share_nothing(clock: HandClock) -> None:
    one, other = (Instance(SeededEntropy(seed), clock) for seed in (1, 2))
    assert one.id != other.id
    assert one.signer.kid != other.signer.kid
    assert one.digest_key != other.digest_key


def test_nothing_secret_is_in_its_text(instance: Instance) -> None:
    assert repr(instance) == f"Instance({instance.id}, certified=False)"


def test_uncertified_time_counts_from_the_start(instance: Instance, clock: HandClock) -> None:
    assert instance.uncertified_seconds(clock.now_us) == 0
    assert instance.uncertified_seconds(clock.now_us + 90 * SECOND_US) == 90


def test_it_ends_with_the_certificate_and_counts_again_from_its_end(
    instance: Instance, clock: HandClock
) -> None:
    end_us = EPOCH_US + 3_600 * SECOND_US
    certify(instance, end_us)
    assert instance.uncertified_seconds(EPOCH_US + SECOND_US) == 0
    assert instance.uncertified_seconds(end_us) == 0
    assert instance.uncertified_seconds(end_us + 1) == 1e-6
    assert instance.uncertified_seconds(end_us + 900 * SECOND_US) == 900


def test_a_clock_that_is_set_back_gives_no_negative_time(instance: Instance) -> None:
    assert instance.uncertified_seconds(EPOCH_US - 3_600 * SECOND_US) == 0


def test_only_a_certificate_in_its_window_ships(instance: Instance, clock: HandClock) -> None:
    assert not instance.may_ship(), "not even in the first microsecond"
    end_us = EPOCH_US + 3_600 * SECOND_US
    certify(instance, end_us)
    assert instance.certified.is_set()
    assert instance.may_ship()
    clock.now_us = end_us + 1
    assert not instance.may_ship()
    certify(instance, end_us + 3_600 * SECOND_US)
    assert instance.may_ship()


def test_calls_of_services_are_signed_for_exactly_one_call(
    instance: Instance, clock: HandClock
) -> None:
    seen = documents.LogSeen("log.example/log/acme/eu/1", 7, "AAAA")
    value = instance.sign_call("gatepost-central", "POST", "/v1/records?x=1", b"body", None, seen)
    claimed, sealed = read_header(value)
    assert claimed.log_seen == seen
    assert claimed.sender.instance == instance.id
    wanted = {"method": "POST", "path": "/v1/records?x=1", "body": b"body"}
    for changes in ({}, {"method": "PUT"}, {"path": "/v1/records"}, {"body": b"other"}):
        call = {**wanted, **changes}
        try:
            check_request(
                claimed,
                sealed,
                instance.signer.public,
                audience="gatepost-central",
                now_us=clock.now_us,
                **call,  # type: ignore[arg-type]  # three members of one call
            )
            good = True
        except DocumentInvalid:
            good = False
        assert good == (not changes)


def test_documents_are_signed_by_the_key_in_force(instance: Instance) -> None:
    before = instance.signer
    instance.sealer.rotate(seal.Signer(b"n" * 32))
    assert instance.signer is not before
    signed = instance.sign_document(documents.KEY_CERT, KEY_CERT)
    assert signed.signatures[0].keyid == instance.signer.kid


RECEIPT = Receipt(id="019a0c6e-9d00-7abc-8def-012345678900", seq=3, hash=HASH)


def test_a_link_to_its_decisions_is_made_while_its_key_is_certified_and_not_otherwise(
    instance: Instance, clock: HandClock
) -> None:
    assert instance.parent_header(RECEIPT, b"{}", 1) is None
    end_us = EPOCH_US + 60 * SECOND_US
    certify(instance, end_us)
    value = instance.parent_header(RECEIPT, b"{}", 2)
    assert value is not None
    made = msgspec.json.decode(
        base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)), type=ParentHeader
    )
    keys = {instance.signer.kid: instance.signer.public}
    link = documents.decode_exact(
        seal.open_envelope(made.link, documents.PARENT, keys), documents.ParentLink
    )
    assert (link.id, link.seq, link.record_hash, link.hops) == (RECEIPT.id, 3, HASH, 2)
    assert (link.instance, link.time) == (instance.id, time_text(clock.now_us))
    assert link.request_sha256 == seal.sha256_text(b"{}")
    assert made.certificate == CERTIFICATE
    clock.now_us = end_us + SECOND_US
    assert instance.parent_header(RECEIPT, b"{}", 1) is None
