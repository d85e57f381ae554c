"""Where a person looks: the log of one tenant in one region.

Owns: the names. Refuses: who may look (``service.py``).
"""

from __future__ import annotations

import sqlite3

import msgspec

from central.people import Person
from central.record_store.logs import Log, find_log
from gateway import checkpoint


class Place(msgspec.Struct, frozen=True):
    """One log that a person may look into."""

    tenant: str
    region: str

    def log(self, connection: sqlite3.Connection) -> Log | None:
        """The log, or None before its first leaf."""
        return find_log(connection, self.tenant, self.region)

    def numbered(self, connection: sqlite3.Connection, number: int) -> Log | None:
        """The log, if its origin has that ``number``; closed ones are not served."""
        found = self.log(connection)
        if found is None or checkpoint.place_of(found.origin).number != number:
            return None
        return found


class Looker(msgspec.Struct, frozen=True):
    """A person, and where they look."""

    person: Person
    place: Place
