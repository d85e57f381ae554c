"""A deployment per test, on a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.central.deployment import Daemon, Deployment


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path, ["issuer", "records"])
    with made.http:
        yield made


@pytest.fixture
def daemon(deployment: Deployment) -> Daemon:
    """Enrolled, and its certificate is known to the store."""
    return Daemon(deployment).ready()
