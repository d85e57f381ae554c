"""A record store's database, found or opened for one command beside the running service.

Owns: opening it by its configuration and the messages for what cannot be done. Refuses: knowing
what is done.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gatepost.faults import InputOutputError
from gateway.errors import ConfigInvalid, DocumentInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def database_of(path: Path) -> str:
    """Where the database is of the store that ``path`` configures. Raises ConfigInvalid."""
    from central.config import load  # needs the extra [central]

    return str(Path(load(str(path)).data_directory) / "records.db")


@contextmanager
def telling_faults() -> Iterator[None]:
    """End the command with exit code 1 for something that is not true, with 2 for what cannot be
    done."""
    from central.record_store.tree_check import Falsehood

    try:
        yield
    except Falsehood as error:
        raise click.ClickException(f"not true: {error}") from error
    except (ConfigInvalid, DocumentInvalid) as error:
        raise InputOutputError(str(error)) from error
