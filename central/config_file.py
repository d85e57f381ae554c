"""The TOML file that a central service is configured by.

Owns: reading one, its strict decoding, and naming the file in what is wrong. Refuses: what stands
in it; each service has a type of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from gateway.errors import UNREADABLE, ConfigInvalid

ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)


def read(path: str) -> bytes:
    """The bytes of ``path``. Raises ConfigInvalid."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error


def decode(data: bytes, path: str, kind: type[ConfigT]) -> ConfigT:
    """``data`` as ``kind``. Raises ConfigInvalid naming ``path``, the member and the remedy."""
    try:
        return msgspec.toml.decode(data, type=kind)
    except UNREADABLE as error:
        raise ConfigInvalid(f"{path}: {error}") from error


@contextmanager
def named(path: str) -> Iterator[None]:
    """Put ``path`` before what is said of a configuration that was read from it."""
    try:
        yield
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{path}: {error}") from error


def anchored_at(path: str) -> Callable[[str], str]:
    """Makes paths that stand in the file ``path`` start at its directory."""
    base = os.path.dirname(os.path.abspath(path))
    return lambda text: os.path.join(base, os.path.expanduser(text))
