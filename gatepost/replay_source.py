"""Where recorded decisions come from: the file of an export, or a store that is asked for one.

Owns: the lines, and how far along they are. Refuses: what stands in them (``replay.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from gatepost.central_client import CentralClient
from gatepost.export_file import Unusable, lines_of
from gatepost.faults import InputOutputError
from gateway.errors import DocumentInvalid

_LINES_PER_UPDATE: Final = 512


class Shown(Protocol):
    """Told how much is done."""

    def __call__(self, done: int) -> None: ...


class ExportFile:
    """Progress is in bytes of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def total(self) -> int | None:
        return self._path.stat().st_size if self._path.exists() else None

    def lines(self, shown: Shown) -> Iterator[bytes]:
        """Raises Unusable."""
        return lines_of(self._path, shown)


class _LogStatus(msgspec.Struct, frozen=True):
    """Of a store's answer, what is needed here."""

    size: int


class StoreExport:
    """Progress is in lines; how many come is known of a complete export alone.

    ``filters``: as of ``/v1/records``.
    """

    def __init__(self, client: CentralClient, filters: dict[str, str]) -> None:
        self._client = client
        self._filters = filters
        self._place = {k: v for k, v in filters.items() if k in ("tenant", "region")}

    def total(self) -> int | None:
        """Leaves in the log: about as many lines come. Raises Unusable."""
        if self._filters.keys() - self._place.keys():
            return None
        try:
            answer = self._client.get("/v1/log", self._place)
            return msgspec.json.decode(answer, type=_LogStatus).size
        except (InputOutputError, msgspec.DecodeError, DocumentInvalid) as error:
            raise Unusable(f"the store: {error}") from error

    def lines(self, shown: Shown) -> Iterator[bytes]:
        """Raises Unusable."""
        try:
            for number, line in enumerate(self._client.lines("/v1/exports", self._filters)):
                yield line
                if number % _LINES_PER_UPDATE == 0:
                    shown(number)
        except InputOutputError as error:
            raise Unusable(str(error)) from error


Source = ExportFile | StoreExport
