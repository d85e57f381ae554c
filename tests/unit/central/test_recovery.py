"""What one instance says of the end of another counts where it fits, and is shown in any case."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from gateway import documents
from gateway.attestation import EnrolAnswer
from gateway.documents import EnrolAttestation
from tests import specimens
from tests.unit.central.deployment import Daemon, Deployment


def stranger(deployment: Deployment, number: int) -> Daemon:
    """An instance of the same tenant that did not prove its start as the others did."""
    daemon = Daemon(deployment, number)
    proof = EnrolAttestation(type="host_key", token="", worker=number)
    envelope = daemon.signer.sign_document(
        documents.ENROL, daemon.enrolment(daemon.nonce(), attestation=proof)
    )
    answer = deployment.http.post("/v1/enrol", content=documents.encode(envelope))
    assert answer.status_code == 201, answer.text
    daemon.certificate = msgspec.json.decode(answer.content, type=EnrolAnswer).certificate
    assert daemon.post_certificate() == 201
    return daemon


def say(by: Daemon, of: Daemon, last_seq: int | None, last_hash: str | None) -> None:
    """``by`` records that it found the end of ``of``."""
    told = by.write(
        specimens.RECOVERED, instance=of.instance, last_seq=last_seq, last_hash=last_hash
    )
    assert by.ship(told).exceptions == [], "it stays in its chain in any case"


def seen(deployment: Deployment, of: Daemon) -> tuple[str, str | None]:
    """State, and who says that it ended."""
    (item,) = (one for one in deployment.instances() if one["instance"] == of.instance)
    return item["state"], item["recovered_by"]


@pytest.mark.parametrize(
    ("last_seq", "last_hash"),
    [(1, specimens.HASH), (1, None), (1, "no hash"), (None, None), (7, specimens.HASH)],
)
def test_nobody_ends_an_instance_that_it_knows_nothing_of(
    deployment: Deployment, daemon: Daemon, last_seq: int | None, last_hash: str | None
) -> None:
    daemon.ship(daemon.start(), daemon.decision())
    other = stranger(deployment, 2)
    say(other, daemon, last_seq, last_hash)
    state, by = seen(deployment, daemon)
    assert state == "open"
    assert by in (None, other.instance)


def test_whoever_names_the_last_record_has_seen_the_disk(
    deployment: Deployment, daemon: Daemon
) -> None:
    start, last = daemon.start(), daemon.decision()
    daemon.ship(start, last)
    other = stranger(deployment, 2)
    say(other, daemon, 1, last.hash)
    assert seen(deployment, daemon) == ("recovered", other.instance)


def test_an_end_that_is_still_to_come_counts_once_it_is_here(
    deployment: Deployment, daemon: Daemon
) -> None:
    """A drain says what it found before it has shipped it."""
    daemon.ship(daemon.start())
    last, other = daemon.decision(), stranger(deployment, 2)
    say(other, daemon, 1, last.hash)
    assert seen(deployment, daemon) == ("open", other.instance)
    daemon.ship(last)
    assert seen(deployment, daemon) == ("recovered", other.instance)


def test_a_false_word_takes_the_place_of_no_true_one(
    deployment: Deployment, daemon: Daemon
) -> None:
    start, last = daemon.start(), daemon.decision()
    daemon.ship(start, last)
    successor, liar = stranger(deployment, 2), stranger(deployment, 3)
    say(liar, daemon, 9, specimens.HASH)
    assert seen(deployment, daemon) == ("open", liar.instance), "shown, and not believed"
    say(successor, daemon, 1, last.hash)
    for last_seq, last_hash in ((9, specimens.HASH), (0, specimens.HASH), (None, None)):
        say(liar, daemon, last_seq, last_hash)
        assert seen(deployment, daemon) == ("recovered", successor.instance)


def test_the_same_host_and_worker_needs_no_record_to_name(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.ship(daemon.start())
    successor = Daemon(deployment, 2).ready()
    say(successor, daemon, None, None)
    assert seen(deployment, daemon) == ("recovered", successor.instance)


@pytest.mark.parametrize("payload", [b"\xff", b"{}", b'{"v":1,"kind":' + b"[" * 100_000])
def test_counters_that_cannot_be_read_hide_no_instance(
    deployment: Deployment, daemon: Daemon, payload: bytes
) -> None:
    """Kept by a version that read it otherwise, or damaged: the list is still there."""
    told = daemon.write(specimens.HEARTBEAT, certificate=None, log_seen=None)
    daemon.ship(daemon.start(), told)
    connection = sqlite3.connect(deployment.directory / "data" / "records.db")
    connection.execute("UPDATE record SET payload = ? WHERE kind = 'heartbeat'", (payload,))
    connection.commit()
    connection.close()
    (item,) = deployment.instances()
    assert (item["records"], item["turned_away"]) == (2, {})
