"""The kinds of fields that the daemon's configuration is made of.

Owns: the base of every section and the bounded types that several sections share. Refuses: the
sections themselves (``config.py``, ``route_config.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gateway import limits
from gateway.vocabulary import NAME_PATTERN

PATH_PATTERN: Final = r"^[^\x00]+\Z"
"""Any file name; a zero byte would end it early for the kernel."""

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
ListenerName = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=limits.LISTENER_NAME_BYTES_MAX)]
FilePath = Annotated[str, Meta(pattern=PATH_PATTERN)]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'+.^_`|~-]+\*?\Z")]
"""A header (RFC 9110 section 5.1), or with ``*`` at its end all that begin so."""
Port = Annotated[int, Meta(ge=0, le=65_535)]
Id = Annotated[int, Meta(ge=0, le=2**32 - 2)]
"""A uid or gid; 2^32 - 1 is the kernel's "none"."""
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: a misspelt setting is an error, never a default."""


def unique(what: str, values: Sequence[str | int]) -> None:
    """Raise ValueError naming ``what`` and the first of ``values`` that stands twice."""
    repeated = [value for number, value in enumerate(values) if value in values[:number]]
    if repeated:
        raise ValueError(f"{what} stands twice: {repeated[0]!r}")


def check_socket_path(path: str) -> None:
    """Raise ValueError for a path that no Unix socket can have (unix(7))."""
    length = len(path.encode())
    if length > limits.UNIX_PATH_BYTES_MAX:
        raise ValueError(
            f"a Unix socket's path has at most {limits.UNIX_PATH_BYTES_MAX} bytes, this one "
            f"{length}: {path!r}"
        )
