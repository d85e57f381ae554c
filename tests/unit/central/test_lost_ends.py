"""The end of a chain that was durable and that nobody found: the store can tell, a disk cannot."""

from __future__ import annotations

import msgspec
import pytest

from gateway import documents
from tests import specimens
from tests.unit.central.deployment import Daemon, Deployment


def _post_head(daemon: Daemon, durable_seq: int, acked_seq: int) -> None:
    head = documents.ChainHead(
        instance=daemon.instance,
        durable_seq=durable_seq,
        record_hash=specimens.HASH,
        acked_seq=acked_seq,
        counters=specimens.COUNTERS,
        log_seen=None,
    )
    body = documents.encode(daemon.signer.sign_document(documents.CHAIN_HEAD, head))
    headers = daemon.signed("POST", "/v1/chain-heads", body)
    answer = daemon.deployment.http.post("/v1/chain-heads", content=body, headers=headers)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("durable_seq", "last_seq", "state"),
    [
        (4, 4, "recovered"),
        (4, 2, "lost"),
        (4, None, "lost"),
        (2, 2, "recovered"),
        (1, None, "recovered"),
    ],
)
def test_an_end_that_was_durable_and_that_nobody_found_is_lost(
    deployment: Deployment, daemon: Daemon, durable_seq: int, last_seq: int | None, state: str
) -> None:
    """Seqs 0 to 2 came; the successor found records up to ``last_seq``, and may still ship them."""
    first, second, last = daemon.start(), daemon.decision(), daemon.decision()
    daemon.ship(first, second, last)
    _post_head(daemon, durable_seq, 2)
    successor = Daemon(deployment, 2).ready()
    told = successor.write(
        specimens.RECOVERED,
        instance=daemon.instance,
        last_seq=last_seq,
        last_hash=last.hash if last_seq == 2 else None if last_seq is None else specimens.HASH,
        ambiguous=True,
    )
    successor.ship(told)
    states = {one["instance"]: one["state"] for one in deployment.instances()}
    assert states[daemon.instance] == state


def test_a_successors_record_of_a_later_version_hides_no_instance(
    deployment: Deployment, daemon: Daemon
) -> None:
    start, last = daemon.start(), daemon.decision()
    daemon.ship(start, last)
    _post_head(daemon, 4, 1)
    successor = Daemon(deployment, 2).ready()
    later = msgspec.structs.replace(specimens.RECOVERED, last_seq=1, last_hash=last.hash)
    first = successor.write(later, instance=daemon.instance, ambiguous=True)
    second = successor.write(later, v=2, instance=daemon.instance, ambiguous=True)
    assert successor.ship(first, second).exceptions == []
    states = {one["instance"]: one["state"] for one in deployment.instances()}
    assert states[daemon.instance] == "lost"


def test_an_instance_that_nobody_recovered_has_lost_nothing_yet(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.ship(daemon.start())
    _post_head(daemon, 7, 0)
    (item,) = deployment.instances()
    assert (item["state"], item["durable_seq"], item["head_seq"]) == ("open", 7, 0)


def test_an_instance_that_a_later_one_took_the_place_of_is_lost_once_it_is_silent(
    deployment: Deployment, daemon: Daemon
) -> None:
    """The same host key and worker: the first one is dead, and left no seal."""
    start = daemon.start()
    daemon.ship(start)
    deployment.clock.now_us += 1_000_000
    later = Daemon(deployment, 2).ready()
    later.ship(later.start())
    assert _states(deployment)[daemon.instance] == "open", "it may still be found on the disk"
    deployment.clock.now_us += 181_000_000
    assert _states(deployment) == {daemon.instance: "lost", later.instance: "silent"}
    told = later.write(
        specimens.RECOVERED, instance=daemon.instance, last_seq=0, last_hash=start.hash
    )
    later.ship(told)
    assert _states(deployment)[daemon.instance] == "recovered"


def test_what_was_sealed_is_not_lost_when_another_takes_its_place(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.ship(daemon.start(), daemon.end())
    deployment.clock.now_us += 1_000_000
    Daemon(deployment, 2).ready()
    deployment.clock.now_us += 181_000_000
    assert _states(deployment) == {daemon.instance: "sealed"}


def test_the_list_shows_what_is_still_to_come_and_what_was_turned_away(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.ship(daemon.start(), daemon.decision())
    _post_head(daemon, 5, 1)
    (item,) = deployment.instances()
    assert (item["head_seq"], item["unshipped"], item["missing"]) == (1, 4, 0)
    told = specimens.COUNTERS.turned_away
    assert item["turned_away"] == {code: sum(by.values()) for code, by in told.items()} != {}


def test_the_newest_word_about_turned_away_calls_counts(
    deployment: Deployment, daemon: Daemon
) -> None:
    _post_head(daemon, 0, -1)
    more = documents.Counters(decisions={}, completions={}, turned_away={"spool_full": {"a": 7}})
    daemon.ship(
        daemon.start(),
        daemon.write(specimens.HEARTBEAT, counters=more, certificate=None, log_seen=None),
    )
    (item,) = deployment.instances()
    assert item["turned_away"] == {"spool_full": 7}


def _states(deployment: Deployment) -> dict[str, str]:
    return {one["instance"]: one["state"] for one in deployment.instances()}
