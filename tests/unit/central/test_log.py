"""The log: every answer proves itself, every leaf can be fetched and proved, and it only grows."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import msgspec
import pytest

from gateway import acknowledgement, checkpoint, logproof, merkle, seal, signed_request
from gateway.acknowledgement import LogKeys, Proven
from gateway.checkpoint import Checkpoint
from gateway.documents import LogSeen, RequestOf
from gateway.logproof import Entry, LeafType
from gateway.roots import RoleKeys
from gateway.shipping import ShipAnswer
from tests.unit.central.deployment import (
    REGION,
    REVOCATION_KEY,
    SEEDS,
    TENANT,
    Daemon,
    Deployment,
)

LOG_KEY = seal.Signer(SEEDS["log"])
KEYS = LogKeys(
    log=RoleKeys({LOG_KEY.kid: LOG_KEY.public}, 1),
    revocation=RoleKeys({REVOCATION_KEY.kid: REVOCATION_KEY.public}, 1),
)
ORIGIN = f"localhost/log/{TENANT}/{REGION}/1"
BASE = f"/log/{TENANT}/{REGION}/1"


def _raw(sealed: seal.Sealed) -> bytes:
    return bytes.fromhex(sealed.hash.removeprefix("sha256:"))


def prove(answer: ShipAnswer, *sent: seal.Sealed, seen: Checkpoint | None = None) -> Proven:
    hashes = {one.seq: _raw(one) for one in sent}
    return acknowledgement.prove(answer, hashes, place=(TENANT, REGION), seen=seen, keys=KEYS)


def ship_seeing(daemon: Daemon, seen: LogSeen, *sealed: seal.Sealed) -> ShipAnswer:
    """Ship as a daemon does that checked ``seen`` before."""
    body = gzip.compress(b"".join(one.envelope_line() + b"\n" for one in sealed), mtime=0)
    signed = signed_request.sign_request(
        daemon.signer,
        daemon.instance,
        audience=signed_request.AUDIENCE,
        method="POST",
        path="/v1/records",
        body=body,
        now_us=daemon.deployment.clock.now_us,
        log_seen=seen,
    )
    headers = {signed_request.HEADER: signed, "Content-Encoding": "gzip"}
    answer = daemon.deployment.http.post("/v1/records", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=ShipAnswer)


def _leaves(deployment: Deployment) -> list[Entry]:
    connection = sqlite3.connect(f"{deployment.directory}/data/records.db")
    try:
        rows = connection.execute(
            "SELECT type, received_us, hash FROM leaf ORDER BY leaf_index"
        ).fetchall()
    finally:
        connection.close()
    return [Entry(*row) for row in rows]


def _bytes(deployment: Deployment, path: str, name: str = "audrey") -> bytes:
    answer = deployment.http.get(path, headers=deployment.as_person(name))
    assert answer.status_code == 200, answer.text
    return answer.content


def test_an_answer_proves_every_record_of_its_batch(deployment: Deployment, daemon: Daemon) -> None:
    batch = [daemon.start(), daemon.decision(), daemon.decision()]
    proven = prove(daemon.ship(*batch), *batch)
    assert proven.seqs == {0, 1, 2}
    frontier = merkle.Frontier()
    for entry in _leaves(deployment):
        frontier.append(entry.leaf_hash())
    assert proven.opened.checkpoint == Checkpoint(ORIGIN, frontier.size, frontier.root())


def test_a_batch_sent_again_is_proved_where_it_stands(
    deployment: Deployment, daemon: Daemon
) -> None:
    first, second = [daemon.start(), daemon.decision()], [daemon.decision(), daemon.decision()]
    daemon.ship(*first)
    deployment.clock.now_us += 1_000
    other = Daemon(deployment, 2).ready()
    other.ship(other.start())
    daemon.ship(*second)
    again = daemon.ship(*first, *second)
    assert [(run.first_seq, run.last_seq) for run in again.runs or []] == [(0, 1), (2, 3)]
    assert prove(again, *first, *second).seqs == {0, 1, 2, 3}


def test_a_fork_is_proved_as_evidence(deployment: Deployment, daemon: Daemon) -> None:
    twin = Daemon(deployment, 1)
    daemon.ship(daemon.start(), daemon.decision())
    twin.start()
    other = twin.decision(trace=None)
    for _ in range(2):
        answer = daemon.ship(other)
        assert [one.code for one in answer.exceptions] == ["fork"]
        assert prove(answer, other).seqs == {1}


def test_each_answer_continues_what_was_seen(deployment: Deployment, daemon: Daemon) -> None:
    chain = [daemon.start()]
    seen = prove(daemon.ship(*chain), *chain).opened.checkpoint
    for _ in range(40):
        one = daemon.decision()
        answer = ship_seeing(daemon, seen.seen(), one)
        now = prove(answer, one, seen=seen).opened.checkpoint
        assert now.size == seen.size + 1
        seen = now


def test_a_checkpoint_from_before_the_newest_batch_can_still_be_followed(
    deployment: Deployment, daemon: Daemon
) -> None:
    start = daemon.start()
    seen = prove(daemon.ship(start), start).opened.checkpoint
    daemon.ship(*(daemon.decision() for _ in range(30)))
    last = daemon.decision()
    assert prove(ship_seeing(daemon, seen.seen(), last), last, seen=seen).seqs == {31}


def test_what_a_successor_ships_of_the_dead_is_proved_too(
    deployment: Deployment, daemon: Daemon
) -> None:
    dead = Daemon(deployment, 7).ready()
    left = [dead.start(), dead.decision()]
    of = RequestOf(instance=dead.instance, first_seq=0, last_seq=1)
    assert prove(daemon.ship(*left, of=of), *left).seqs == {0, 1}


def test_the_log_survives_a_restart(deployment: Deployment, daemon: Daemon) -> None:
    start = daemon.start()
    seen = prove(daemon.ship(start), start).opened.checkpoint
    again = Deployment(deployment.directory)
    with again.http:
        daemon.deployment = again
        call = daemon.decision()
        assert prove(ship_seeing(daemon, seen.seen(), call), call, seen=seen).seqs == {1}


# -- what is published ----------------------------------------------------------------------------


def test_the_tiles_are_the_tree(deployment: Deployment, daemon: Daemon) -> None:
    daemon.ship(daemon.start(), *(daemon.decision() for _ in range(300)))
    entries = _leaves(deployment)
    size = len(entries)
    found = checkpoint.open_note(_bytes(deployment, f"{BASE}/checkpoint"), ORIGIN, KEYS.log)
    assert found.checkpoint.size == size
    full = _bytes(deployment, f"{BASE}/tile/0/000")
    rest = _bytes(deployment, f"{BASE}/tile/0/001.p/{size - 256}")
    assert full + rest == b"".join(entry.leaf_hash() for entry in entries)
    (above,) = [_bytes(deployment, f"{BASE}/tile/1/000.p/1")]
    frontier = merkle.Frontier()
    for entry in entries[:256]:
        frontier.append(entry.leaf_hash())
    assert above == frontier.root()
    bundle = _bytes(deployment, f"{BASE}/tile/entries/001.p/{size - 256}")
    assert bundle == b"".join(b"\x00\x29" + entry.encode() for entry in entries[256:])


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/9",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/x00/000",
        "tile/secrets/000",
    ],
)
def test_tiles_that_are_not_there_are_not_found(
    deployment: Deployment, daemon: Daemon, path: str
) -> None:
    daemon.ship(daemon.start())
    answer = deployment.http.get(f"{BASE}/{path}", headers=deployment.as_person("audrey"))
    assert answer.status_code == 404


def test_a_record_comes_with_a_proof_that_can_be_kept(
    deployment: Deployment, daemon: Daemon
) -> None:
    chain = [daemon.start(), daemon.decision(), daemon.decision()]
    daemon.ship(*chain)
    for name in (chain[1].id, chain[1].hash):
        text = _bytes(deployment, f"/v1/records/{name}/proof")
        entry = Entry(LeafType.RECORD, deployment.clock.now_us, _raw(chain[1]))
        logproof.check(logproof.decode(text), entry, ORIGIN, KEYS.log)


def test_any_two_sizes_can_be_compared(deployment: Deployment, daemon: Daemon) -> None:
    daemon.ship(daemon.start(), *(daemon.decision() for _ in range(20)))
    frontier, roots = merkle.Frontier(), [merkle.EMPTY_ROOT]
    for entry in _leaves(deployment):
        frontier.append(entry.leaf_hash())
        roots.append(frontier.root())
    for old in range(len(roots)):
        body = deployment.get(f"{BASE}/consistency", **{"from": old, "to": len(roots) - 1})
        hashes = [seal.unbase64(one, "proof") for one in body["hashes"]]
        merkle.check_consistency(old, roots[old], len(roots) - 1, roots[-1], hashes)


@pytest.mark.parametrize("query", ["", "?from=1", "?from=2&to=1", "?from=0&to=999", "?from=x&to=2"])
def test_sizes_that_are_none_are_refused(
    deployment: Deployment, daemon: Daemon, query: str
) -> None:
    daemon.ship(daemon.start())
    answer = deployment.http.get(
        f"{BASE}/consistency{query}", headers=deployment.as_person("audrey")
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/000.p/1", "consistency?from=0&to=1"])
def test_a_log_is_its_tenants_alone(deployment: Deployment, daemon: Daemon, path: str) -> None:
    daemon.ship(daemon.start())
    assert deployment.http.get(f"{BASE}/{path}").status_code == 401
    stranger = deployment.http.get(f"{BASE}/{path}", headers=deployment.as_person("greta"))
    assert stranger.status_code == 404


def test_a_public_log_is_given_to_anybody_and_its_records_are_not(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, public_log=True)
    with deployment.http:
        daemon = Daemon(deployment).ready()
        start = daemon.start()
        daemon.ship(start)
        assert deployment.http.get(f"{BASE}/checkpoint").status_code == 200
        assert deployment.http.get(f"{BASE}/tile/0/000.p/1").status_code == 200
        assert deployment.http.get(f"/v1/records/{start.id}").status_code == 401
        assert deployment.http.get(f"/v1/records/{start.id}/proof").status_code == 401


def test_only_the_current_number_is_served(deployment: Deployment, daemon: Daemon) -> None:
    daemon.ship(daemon.start())
    path = f"/log/{TENANT}/{REGION}/2/checkpoint"
    assert deployment.http.get(path, headers=deployment.as_person("audrey")).status_code == 404
