"""JWK sets of token issuers, read from files and read again when they change.

Owns: noticing a change, and putting a usable new set in force. Refuses: giving up the last good
set for a file that is missing or broken. Changes of their directories are hints; the files are
read again on a timer anyway, because a mounted Secret is swapped by names that no event mentions.
"""

from __future__ import annotations

import os
from typing import Final

import anyio

from gateway.errors import ConfigInvalid
from gateway.identity import Identifier
from gateway.identity_config import IdentityConfig
from sidecar.directory_changes import follow_changes
from sidecar.eventlog import EventLog

RELOAD_SECONDS: Final = 30.0
JWKS_BYTES_MAX: Final = 64 * 1024
"""Hundreds of keys; an issuer publishes a handful."""


def read_key_sets(config: IdentityConfig, log: EventLog) -> dict[str, bytes]:
    """Issuer id → bytes of its JWK set; an issuer whose file cannot be read is left out."""
    found: dict[str, bytes] = {}
    for issuer in config.issuers:
        try:
            with open(issuer.jwks_file, "rb") as file:
                text = file.read(JWKS_BYTES_MAX + 1)
        except OSError as error:
            log.warning("keys_unreadable", issuer=issuer.id, reason=error.strerror)
            continue
        if len(text) > JWKS_BYTES_MAX:
            log.warning("keys_unreadable", issuer=issuer.id, reason="the file is too large")
            continue
        found[issuer.id] = text
    return found


class KeyFiles:
    """Keeps ``current`` in step with the files. ``watch``: false where no thread may be used."""

    def __init__(self, config: IdentityConfig, log: EventLog, *, watch: bool) -> None:
        self._config = config
        self._log = log
        self._watch = watch
        self._held = read_key_sets(config, log)
        self.current = Identifier(config, self._held)

    async def run(self) -> None:
        """Read the files again at every hint, and every half minute without one."""
        if not self._config.issuers:
            return
        directories = {os.path.dirname(one.jwks_file) or "." for one in self._config.issuers}
        async with anyio.create_task_group() as tasks:
            if self._watch:
                tasks.start_soon(follow_changes, directories, self.reload, self._not_followed)
            while True:
                await anyio.sleep(RELOAD_SECONDS)
                self.reload()

    def _not_followed(self, reason: str) -> None:
        self._log.warning("keys_unreadable", reason=reason)

    def reload(self) -> None:
        """Put changed sets in force, each for itself: a broken one must not keep another issuer's
        withdrawn key in use. A set that cannot be used changes nothing."""
        changed = {
            issuer: jwks
            for issuer, jwks in read_key_sets(self._config, self._log).items()
            if self._held.get(issuer) != jwks
        }
        for issuer, jwks in changed.items():
            try:
                self.current = self.current.with_keys({issuer: jwks})
            except ConfigInvalid as error:
                self._log.warning("keys_unreadable", issuer=issuer, reason=str(error))
                continue
            self._held[issuer] = jwks
            self._log.info("keys_reloaded", issuer=issuer)
