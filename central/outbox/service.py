"""The outbox as a service: acts go in, and come out at the record store.

Owns: the database of a service that runs apart, and the order of its end. Refuses: what a chain
holds, and HTTP: nobody asks it anything.
"""

from __future__ import annotations

import os
from typing import Final

import anyio

from central.acts import Act
from central.certifying import IssuerDesk, RemoteIssuer
from central.config import CentralConfig
from central.database import Database, OpenDatabase
from central.errors import Refused
from central.keys import RootFiles
from central.outbox import schema, shelf
from central.outbox.answer import Unsendable
from central.outbox.sender import Sender
from central.outbox.shelf import OwnRecords
from central.register import Register
from gateway import seal
from gateway.ports import Dialer, Entropy, WallClock

_LAST_SECONDS: Final = 2.0
"""For sending at the end; what is left then is sent after the next start."""


class Outbox:
    """``attesting``: the key that the root gives the service of this process; ``desk``: of the
    issuer that certifies its chains. Raises ConfigInvalid for a database that cannot be used."""

    def __init__(
        self,
        config: CentralConfig,
        root_files: RootFiles,
        attesting: seal.Signer,
        desk: IssuerDesk,
        dialer: Dialer,
        clock: WallClock,
        entropy: Entropy,
        open_database: OpenDatabase = Database,
    ) -> None:
        path = os.path.join(config.data_directory, "acts.db")
        self.database = open_database(path, schema.SCHEMA, schema.VERSION, {})
        self._desk = desk
        self._register = Register(
            config, root_files, attesting, OwnRecords(), self.database, clock, entropy, desk
        )
        self._sender = Sender(config, self._register, self.database, dialer, clock, entropy)

    async def note(self, act: Act) -> None:
        """Keep ``act``; it is durable here when this returns. Raises Refused."""
        await self._register.note(act)
        self._sender.wake()

    async def run(self) -> None:
        """Send, for ever."""
        await self._sender.run()

    async def aclose(self) -> None:
        """Seal the chains, and send what can be sent at once; the database is closed by its own
        ``close``."""
        try:
            with anyio.move_on_after(_LAST_SECONDS):
                await self._register.rest()
                await self._sender.send_all(ending=True)
        except (Refused, Unsendable):
            # It is kept: the next start sends it.
            pass
        await self._sender.aclose()
        if isinstance(self._desk, RemoteIssuer):
            await self._desk.aclose()

    async def alarms(self) -> list[str]:
        """``acts_unsent``: the store lacks some, and the last attempt failed; ``acts_not_taken``:
        it has some as evidence only."""
        waiting, refused = await self.database.read(shelf.backlog)
        found = ["acts_unsent"] if waiting and self._sender.trouble is not None else []
        return [*found, "acts_not_taken"] if refused else found
