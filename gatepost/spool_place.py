"""Where the spool of a command is, and the instances in it.

Owns: the options that name it, the faults of reading it, progress, and root documents beside
it. Refuses: what is done with the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from gatepost import config_file
from gatepost.faults import InputOutputError
from gateway import documents, limits, seal
from gateway.errors import DocumentInvalid
from gateway.io import file_lock
from gateway.io.disk import OsFileSystem
from spool.recover import is_instance
from spool.survey import Home, find_homes

CommandT = TypeVar("CommandT", bound=Callable[..., object])

FILES = OsFileSystem()


class Place(msgspec.Struct, frozen=True):
    """``root``: the spool root. ``roots``: the directory of root documents, if known."""

    root: Path
    roots: Path | None

    def homes(self, instance: str | None = None) -> list[Home]:
        """The instances, or the one that is named. Raises InputOutputError."""
        with reading(self.root):
            found = find_homes(FILES, str(self.root), file_lock.is_held)
        if instance is None:
            return found
        found = [one for one in found if one.instance == instance]
        if not found:
            raise InputOutputError(
                f"{self.root} holds no instance {instance}; `gatepost spool ls` lists them"
            )
        return found

    def root_lines(self) -> list[bytes]:
        """The root documents in order, as lines of an export; none where none are known.

        Raises InputOutputError.
        """
        lines: list[bytes] = []
        while self.roots is not None:
            path = self.roots / f"{len(lines) + 1}.json"
            try:
                with path.open("rb") as file:
                    data = file.read(2 * limits.POLICY_ROOT_BYTES_MAX)
                lines.append(documents.encode(seal.parse_envelope(data)) + b"\n")
            except FileNotFoundError:
                break
            except OSError as error:
                raise InputOutputError(f"{path}: {error.strerror or error}") from error
            except DocumentInvalid as error:
                raise InputOutputError(f"{path}: {error}") from error
        return lines


def place_options(command: CommandT) -> CommandT:
    """The options by which every command finds its spool."""
    for option in (
        click.option(
            "--directory",
            type=click.Path(path_type=Path),
            help="The spool root, instead of --config.",
        ),
        click.option(
            "--config", type=click.Path(path_type=Path), help="The daemon's configuration."
        ),
    ):
        command = option(command)
    return command


def find_place(config: Path | None, directory: Path | None, roots: Path | None = None) -> Place:
    """The spool that the options name. Raises InputOutputError and UsageError."""
    if directory is None:
        settings = config_file.load(config or config_file.DEFAULT)
        default = Path(settings.policy.directory) / "roots"
        return Place(Path(settings.spool.directory), roots or default)
    if config is not None:
        raise click.UsageError("--config and --directory both name the spool: give one")
    directory = Path(str(directory).rstrip("/") or "/")
    if is_instance(directory.name):
        raise click.UsageError(
            f"--directory {directory} is one instance's; give the spool root {directory.parent}"
        )
    return Place(directory, roots)


@contextmanager
def reading(root: Path) -> Iterator[None]:
    """Turn what the file system refuses into a message. Raises InputOutputError."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputOutputError(
            f"{error.filename or root}: {error.strerror}; is this the spool root of a daemon?"
        ) from error
    except PermissionError as error:
        raise InputOutputError(
            f"{error.filename or root}: {error.strerror}; a spool is its daemon's user's alone: "
            "run this as that user"
        ) from error
    except OSError as error:
        raise InputOutputError(f"{error.filename or root}: {error.strerror or error}") from error


@contextmanager
def progress(what: str, bytes_total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error if that is a terminal; yields what advances it by bytes."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    shown = Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with shown:
        task = shown.add_task(what, total=bytes_total)
        yield lambda count: shown.advance(task, count)
