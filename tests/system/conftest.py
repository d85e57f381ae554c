"""The same running system as the integration tests have, for tests that need root."""

from __future__ import annotations

import os

import pytest

from tests.integration.conftest import base, central, daemon, ends, make_central, make_site, names

__all__ = ["base", "central", "daemon", "ends", "make_central", "make_site", "names"]


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.getuid() != 0:
        pytest.skip("needs root: it mounts, and connects as another user")
