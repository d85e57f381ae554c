"""What the operator of a witness needs of this store's logs: their verifier keys, by origin.

Owns: reading them from the newest root and, where there is one, the database. Refuses: writing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

import msgspec

from central.config import OPERATOR_TENANT, CentralConfig
from central.keys import RootFiles
from central.record_store.logs import find_log
from gateway import checkpoint
from gateway.errors import ConfigInvalid
from gateway.note import NoteKey


class LogVerifier(msgspec.Struct, frozen=True):
    """``keys``: verifier keys; ``threshold`` of them sign a checkpoint of ``origin``."""

    tenant: str
    region: str
    origin: str
    keys: list[str]
    threshold: int


def log_keys(config: CentralConfig) -> list[LogVerifier]:
    """The keys of each log that the configuration allows, also of one without a leaf.

    Raises ConfigInvalid: roots or a database that cannot be read.
    """
    role = RootFiles(config.roots_directory, config.root_fingerprint).role("log")
    found = []
    for tenant, region, origin in _origins(config):
        keys = [NoteKey(origin, public).verifier_key() for public in role.keys.values()]
        found.append(LogVerifier(tenant, region, origin, keys, role.threshold))
    return found


def _origins(config: CentralConfig) -> list[tuple[str, str, str]]:
    places = [(tenant.name, region) for tenant in config.tenants for region in tenant.regions]
    places.append((OPERATOR_TENANT, config.operator_region))
    path = os.path.join(config.data_directory, "records.db")
    known: dict[tuple[str, str], str] = {}
    if os.path.exists(path):
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
                for place in places:
                    log = find_log(connection, *place)
                    if log is not None:
                        known[place] = log.origin
        except sqlite3.Error as error:
            raise ConfigInvalid(f"database {path}: {error}") from error
    return [
        (*place, known.get(place) or checkpoint.origin(config.log_host, *place, 1))
        for place in places
    ]
