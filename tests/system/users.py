"""Doing something as another user of this machine, without another program.

Owns: the effective ids of this process for a moment. Refuses: anything that outlives the moment;
the caller's ids come back whatever happens.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STRANGER: Final = 54_321
"""A uid and gid that no account has, and no configuration of these tests but those that name it."""


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Files are opened and sockets made as ``uid``, with no other group than its own."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
