"""What the record store holds, asked as an auditor would: over its query API."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec

from gatepost.central_client import CentralClient
from tests.integration.waiting import eventually

Item = dict[str, Any]
"""One line of a page, or one record's members: JSON, read freely by tests."""


class Records:
    """The record store of one central service."""

    def __init__(self, client: CentralClient) -> None:
        self.client = client

    def page(self, **filters: str | int) -> Item:
        """One page of ``GET /v1/records``."""
        found: Item = msgspec.json.decode(self.client.get("/v1/records", filters))
        return found

    def all(self, **filters: str | int) -> list[Item]:
        """Every item, page after page, oldest first."""
        asked: dict[str, str | int] = {"order": "oldest", "limit": 1_000, **filters}
        items: list[Item] = []
        while True:
            page = self.page(**asked)
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            asked["cursor"] = page["next_cursor"]

    def wait(self, count: int = 1, seconds: float = 20.0, **filters: str | int) -> list[Item]:
        """At least ``count`` items, once they are there."""

        def ask() -> list[Item]:
            items = self.all(**filters)
            return items if len(items) >= count else []

        return eventually(ask, f"{count} records with {filters}", seconds)

    def detail(self, name: str) -> Item:
        """One record by id or hash, with its bytes."""
        found: Item = msgspec.json.decode(self.client.get(f"/v1/records/{name}"))
        return found

    def members(self, name: str) -> Item:
        """The members of one record, from its exact bytes."""
        decoded: Item = msgspec.json.decode(base64.b64decode(self.detail(name)["payload"]))
        return decoded

    def decision(self, decision_id: str, seconds: float = 20.0) -> Item:
        """The decision record of that id, once it has arrived."""
        eventually(
            lambda: decision_id in {item["id"] for item in self.page(limit=1_000)["items"]},
            f"decision {decision_id}",
            seconds,
        )
        return self.members(decision_id)

    def completion(self, decision_id: str) -> Item:
        """The completion of that decision, once it has arrived; there is exactly one."""
        found = self.wait(kind="completion", of=decision_id)
        assert len(found) == 1
        return self.members(found[0]["id"])

    def export(self, path: Path) -> Path:
        """Everything, as an auditor takes it away."""
        self.client.save("/v1/exports?complete=1", path)
        return path
