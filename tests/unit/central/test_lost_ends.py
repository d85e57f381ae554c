"""The end of a chain that was durable and that nobody found: the store can tell, a disk cannot."""

from __future__ import annotations

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
    daemon.ship(daemon.start(), daemon.decision(), daemon.decision())
    _post_head(daemon, durable_seq, 2)
    successor = Daemon(deployment, 2).ready()
    told = successor.write(
        specimens.RECOVERED, instance=daemon.instance, last_seq=last_seq, ambiguous=True
    )
    successor.ship(told)
    states = {one["instance"]: one["state"] for one in deployment.instances()}
    assert states[daemon.instance] == state


def test_an_instance_that_nobody_recovered_has_lost_nothing_yet(
    deployment: Deployment, daemon: Daemon
) -> None:
    daemon.ship(daemon.start())
    _post_head(daemon, 7, 0)
    (item,) = deployment.instances()
    assert (item["state"], item["durable_seq"], item["head_seq"]) == ("open", 7, 0)
