"""People's bearer tokens: who asks, for which tenant, in which role.

Owns: looking a token up by its SHA-256 and what each role may do. Refuses: storing tokens, and
daemons (their certificate is their credential, ``record_store.senders``).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec

from central.config import OPERATOR_TENANT, CentralConfig, PersonRole
from central.errors import Refused

_MAY: Final[dict[PersonRole, frozenset[PersonRole]]] = {
    "auditor": frozenset({"auditor", "admin"}),
    "operator": frozenset({"operator", "admin"}),
    "admin": frozenset({"admin"}),
}
"""Needed role → roles that have it. An operator publishes and does not read records."""


class Person(msgspec.Struct, frozen=True):
    """A known caller. ``tenant`` is ``_operator`` for those who act for every tenant."""

    name: str
    tenant: str
    role: PersonRole

    def of_tenant(self, tenant: str) -> bool:
        """Whether this person may act for ``tenant``."""
        return self.tenant in (tenant, OPERATOR_TENANT)


class People:
    """Looks bearer tokens up. Every digest is compared, each in constant time: timing says
    nothing about a token, nor whose it nearly is. A token is taken back by removing it from the
    configuration and starting the service again."""

    def __init__(self, config: CentralConfig) -> None:
        self._known = [
            (entry.sha256, Person(name=entry.name, tenant=entry.tenant, role=entry.role))
            for entry in config.people
        ]

    def authenticate(self, authorization: str | None, needed: PersonRole) -> Person:
        """The person of an ``Authorization`` header.

        Raises Refused (``token_missing``, ``token_unknown``, ``role_insufficient``).
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("token_missing", "send Authorization: Bearer <token>")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()
        person = None
        for known, one in self._known:
            if hmac.compare_digest(known, digest):
                person = one
        if person is None:
            raise Refused("token_unknown")
        if person.role not in _MAY[needed]:
            raise Refused("role_insufficient", f"this needs the role {needed}")
        return person
