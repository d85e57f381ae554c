from __future__ import annotations

from tests.unit.central.deployment import Daemon, Deployment


def test_records_arrive_and_are_found(deployment: Deployment, daemon: Daemon) -> None:
    start, call = daemon.start(), daemon.decision()
    answer = daemon.ship(start, call, daemon.completion(call), daemon.end())
    assert answer.through_seq == 3
    assert answer.exceptions == []
    assert answer.head is not None
    assert answer.head.seq == 3
    page = deployment.get("/v1/records", person="alice@acme.example")
    assert [item["id"] for item in page["items"]] == [call.id]
