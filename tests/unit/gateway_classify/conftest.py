from __future__ import annotations

import pytest

from gateway.classify.classifier import Classifier
from gateway.io.packs import read_core_pack


@pytest.fixture(scope="session")
def core() -> Classifier:
    """The shipped pack, compiled once: compiling runs the pack's own tests."""
    return Classifier.load(read_core_pack())
