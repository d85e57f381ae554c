"""What the store publishes of its logs: checkpoints, tiles, proofs, and how far witnesses are.

Owns: which checkpoint is handed out, and each read in a snapshot of its own. Refuses: who may read
a log (``service.py``) and the forms (``publication.py``).
"""

from __future__ import annotations

from central.database import Database
from central.record_store import publication, witnesses
from central.record_store.cosignatures import Quorum
from central.record_store.place import Place
from central.record_store.witnesses import Asked, Rest, Witnesses, Witnessing
from gateway.ports import WallClock


class PublishedLogs:
    """Every log of one store. ``asked``: the witnesses of its configuration, or None; ``rest``
    seals the store's own chains, before they are asked."""

    def __init__(
        self, asked: Asked | None, database: Database, clock: WallClock, rest: Rest
    ) -> None:
        self._database = database
        self._witnesses = None if asked is None else Witnesses(asked, database, clock, rest)
        self.quorum: Quorum | None = None if asked is None else asked.quorum

    async def push_checkpoints(self) -> None:
        """Ask witnesses for cosignatures until it is cancelled; without any, return."""
        if self._witnesses is not None:
            await self._witnesses.run()

    async def checkpoint(self, place: Place, number: int, *, newest: bool) -> str:
        """The newest checkpoint of a log that a quorum cosigned, where one is asked for, or with
        ``newest`` the newest of all. Raises Refused (``not_found``)."""
        return await self._database.read(
            lambda c: publication.checkpoint_text(
                c, place.numbered(c, number), self.quorum, newest=newest
            )
        )

    async def witnessing(self, place: Place, number: int) -> Witnessing:
        """How far the witnesses of a log are. Raises Refused (``not_found``)."""
        return await self._database.read(
            lambda c: witnesses.witnessing(c, place.numbered(c, number), self._witnesses)
        )

    async def tile(self, place: Place, number: int, path: str) -> bytes:
        """A tile or a bundle of entries. Raises Refused (``not_found``)."""
        wanted = publication.tile_path(path)
        return await self._database.read(
            lambda c: publication.tile(c, place.numbered(c, number), wanted)
        )

    async def consistency(self, place: Place, number: int, old: int, new: int) -> list[str]:
        """A consistency proof. Raises Refused."""
        return await self._database.read(
            lambda c: publication.consistency(c, place.numbered(c, number), old, new)
        )

    async def proof(self, place: Place, name: str) -> str:
        """The proof that a record is in its log. Raises Refused (``not_found``)."""
        return await self._database.read(
            lambda c: publication.record_proof(c, place.log(c), name, self.quorum)
        )
