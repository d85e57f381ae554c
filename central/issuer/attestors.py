"""Host keys: what they attest, and how they are registered with one-time tokens.

Owns: judging a host key's attestation, spending tokens, and a clear code for attestations that
are none. Refuses: tokens of platforms (``workloads.py``) and deciding about tenants, windows and
certificates (``enrolment.py``).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from typing import Final

import msgspec

from central.config import CentralConfig
from central.errors import Refused
from central.issuer import revoked
from gateway import attestation, seal
from gateway.attestation import HostRegistration
from gateway.documents import Attestation, Enrol
from gateway.errors import DocumentInvalid


class Proved(msgspec.Struct, frozen=True):
    """An attestation that was checked. ``exclusive``: it is of one daemon at a time (per worker),
    so that a new instance takes the place of the last."""

    attestation: Attestation
    exclusive: bool


_EVERY_PLACE: Final = ("*", "*")
"""Tenant and region of a service's key: no name of either."""


def attest(connection: sqlite3.Connection, request: Enrol) -> Proved:
    """What a host key proves about ``request``'s start. Raises Refused.

    ``attestation_invalid``: unknown type, unknown host or wrong signature; ``wrong_tenant``;
    ``topology_not_allowed``: only the key of a service attests a service.
    """
    kind = request.attestation.type
    if kind == "one_time":
        raise Refused(
            "attestation_invalid",
            "a one-time token registers a host key (POST /v1/hosts); enrol with host_key",
        )
    if kind != "host_key":
        raise Refused("attestation_invalid", "the attestation type is not known")
    return _attest_host(connection, request)


def _attest_host(connection: sqlite3.Connection, request: Enrol) -> Proved:
    try:
        kid, signature = attestation.split_host_token(request.attestation.token)
    except DocumentInvalid as error:
        raise Refused("attestation_invalid", error.detail) from error
    row = connection.execute(
        "SELECT pub, tenant, region FROM host WHERE kid = ?", (kid,)
    ).fetchone()
    if row is None:
        raise Refused("attestation_invalid", "the host key is not registered here")
    public, tenant, region = row
    if not seal.verify(attestation.statement_pae(request), signature, public):
        raise Refused("attestation_invalid", "the host key's signature does not fit the request")
    if (tenant, region) == _EVERY_PLACE:
        # A service draws an instance in each log that it writes to, and is no daemon.
        if request.topology != "central":
            raise Refused("attestation_invalid", "a service's key attests no daemon")
    elif (tenant, region) != (request.tenant, request.region):
        raise Refused("wrong_tenant", "the host key is registered for another tenant or region")
    elif request.topology == "central":
        # What is certified as a service may write what no daemon may.
        raise Refused("topology_not_allowed", "a host key attests daemons, no central service")
    return Proved(
        Attestation(
            type="host_key",
            issuer=None,
            subject=kid,
            pod_uid=None,
            worker=request.attestation.worker,
        ),
        exclusive=True,
    )


class HostAnswer(msgspec.Struct, frozen=True):
    """``kid``: of the registered host key."""

    kid: str


def seed_hosts(
    connection: sqlite3.Connection, config: CentralConfig, now_us: int
) -> list[tuple[str, str]]:
    """Register the hosts that the configuration names, where it names them; (name, key id) of those
    that it names no more, which are dropped. Who spent a one-time token stays.

    Raises DocumentInvalid (``key``).
    """
    named = {seal.key_id(seal.public_key(host.pub)): host for host in config.hosts}
    rows = connection.execute(
        "SELECT name, kid, tenant, region FROM host WHERE (tenant, region) != (?, ?)"
        " AND kid NOT IN (SELECT host_kid FROM spent_token) ORDER BY kid",
        _EVERY_PLACE,
    ).fetchall()
    dropped = []
    for name, kid, *place in rows:
        host = named.get(kid)
        if host is None:
            dropped.append((name, kid))
        if host is None or [host.tenant, host.region] != place:
            connection.execute("DELETE FROM host WHERE kid = ?", (kid,))
    for host in named.values():
        public = seal.public_key(host.pub)
        _insert_host(connection, public, host.name, host.tenant, host.region, now_us)
    return dropped


def seed_services(connection: sqlite3.Connection, keys: Iterable[bytes], now_us: int) -> None:
    """Let ``keys``, which the root gives to central services, attest the instances of these; those
    of an earlier root no more."""
    connection.execute("DELETE FROM host WHERE (tenant, region) = (?, ?)", _EVERY_PLACE)
    for public in keys:
        _insert_host(connection, public, "central", *_EVERY_PLACE, now_us)


def register_host(
    connection: sqlite3.Connection, config: CentralConfig, request: HostRegistration, now_us: int
) -> HostAnswer:
    """Spend a one-time token for a host key. Raises Refused.

    Repeating the very same registration gives the same answer: the first answer may have been
    lost, and the token is bound to the key it was spent for.
    """
    digest = hashlib.sha256(request.token.encode("utf-8", "surrogatepass")).hexdigest()
    token = next((t for t in config.one_time_tokens if t.sha256 == digest), None)
    if token is None:
        raise Refused("attestation_invalid", "the one-time token is not known")
    if (token.tenant, token.region) != (request.tenant, request.region):
        raise Refused("wrong_tenant", "the one-time token is for another tenant or region")
    try:
        public = seal.public_key(request.pub)
        proof = seal.unbase64(request.proof, "attestation")
    except DocumentInvalid as error:
        raise Refused("key_refused", error.detail) from error
    claim = attestation.claim_pae(request.token, request.pub, request.tenant, request.region)
    if not seal.verify(claim, proof, public):
        raise Refused("attestation_invalid", "the proof is not a signature by the host key")
    kid = seal.key_id(public)
    revoked.refuse(connection, kid, "the host key", now_us)
    spent = connection.execute(
        "SELECT host_kid FROM spent_token WHERE sha256 = ?", (digest,)
    ).fetchone()
    if spent is not None and spent[0] != kid:
        raise Refused("attestation_invalid", "the one-time token was spent")
    connection.execute(
        "INSERT OR IGNORE INTO spent_token (sha256, name, host_kid, spent_us) VALUES (?,?,?,?)",
        (digest, token.name, kid, now_us),
    )
    _insert_host(connection, public, token.name, token.tenant, token.region, now_us)
    return HostAnswer(kid)


def _insert_host(
    connection: sqlite3.Connection, public: bytes, name: str, tenant: str, region: str, now_us: int
) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO host (kid, name, tenant, region, pub, registered_us)"
        " VALUES (?,?,?,?,?,?)",
        (seal.key_id(public), name, tenant, region, public, now_us),
    )
