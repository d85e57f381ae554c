"""The same running system as the integration tests have, and a pod, for tests that need root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import system
from tests.integration.conftest import base, central, daemon, ends, make_central, make_site, names
from tests.integration.rules import rules
from tests.integration.system import FarEnds
from tests.system.pod import Pod, Sidecar, pod_in_a_box, require_namespaces

__all__ = ["base", "central", "daemon", "ends", "make_central", "make_site", "names"]


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.getuid() != 0:
        pytest.skip("needs root: it mounts, and connects as another user")


@pytest.fixture(scope="session")
def sidecar(base: Path, ends: FarEnds) -> Iterator[Sidecar]:
    """A daemon in a pod of its own, used by many tests and harmed by none."""
    require_namespaces()
    with (
        system.central(base / "pc", ends, text=rules()) as services,
        pod_in_a_box(base / "p", services) as box,
    ):
        yield box.start()


@pytest.fixture(scope="session")
def pod(sidecar: Sidecar) -> Pod:
    return sidecar.pod
