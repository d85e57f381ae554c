"""Agents that call without pause, and remember what they were answered.

Owns: threads with a connection each, and the decision ids of every answer whose head arrived.
Refuses: judging answers; a connection that breaks ends its thread.
"""

from __future__ import annotations

import http.client
import threading
from typing import Final, Self

from tests.integration import raw
from tests.integration.rules import DENIED_MODEL, MODEL

_REQUESTS: Final = (
    raw.chat_request(MODEL),
    raw.chat_request(MODEL, stream=True),
    raw.chat_request(DENIED_MODEL),
)


class Load:
    """Callers of one daemon, until ``stop`` or until it is gone. ``answered``: decision ids."""

    def __init__(self, address: int | str, callers: int) -> None:
        self.answered: list[str] = []
        self._address = address
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(number,)) for number in range(callers)
        ]

    def _call(self, number: int) -> None:
        try:
            with raw.RawConnection(self._address) as connection:
                while not self._over.is_set():
                    connection.send(_REQUESTS[number % len(_REQUESTS)])
                    response = connection.begin_reply()
                    decision_id = response.headers["x-gatepost-decision-id"]
                    if decision_id is not None:
                        self.answered.append(decision_id)
                    response.read()
                    number += 1
        except (OSError, http.client.HTTPException):
            return

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
