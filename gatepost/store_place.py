"""A record store's database, opened for one command beside the running service.

Owns: opening it by its configuration and the messages for what cannot be done. Refuses: knowing
what is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gatepost.faults import InputOutputError
from gateway.errors import ConfigInvalid, DocumentInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from central.record_store.maintenance import Maintenance

ResultT = TypeVar("ResultT")


def with_store(path: Path, work: Callable[[Maintenance], ResultT]) -> ResultT:
    """What ``work`` makes of the store that ``path`` configures. Raises InputOutputError."""
    from central.config import load  # needs the extra [central]
    from central.errors import Refused
    from central.record_store.maintenance import Maintenance

    try:
        with Maintenance(load(str(path))) as store:
            return work(store)
    except (ConfigInvalid, DocumentInvalid, Refused) as error:
        raise InputOutputError(str(error)) from error
