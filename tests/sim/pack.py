"""The rule pack of simulated daemons: really loaded, once in each process that runs worlds.

A life of a daemon lasts for a few calls, and most of the CPU of a start went into reading the
pack. Nothing of it is simulated (a file of this package, and hyperscan's own database), and a
loaded classifier keeps nothing of one call for the next, so lives may share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.classify.classifier import Classifier
from sidecar import call_path
from sidecar.classifying import load_classifier
from sidecar.config import Classification

_NAME: Final = "load_classifier"
_loaded: dict[Classification, Classifier] = {}


@contextmanager
def shared_packs() -> Iterator[None]:
    """While this lasts, a pack that was loaded before is not loaded again."""
    assert getattr(call_path, _NAME) is load_classifier

    async def load_once(settings: Classification, *, threads: bool) -> Classifier:
        if settings not in _loaded:
            _loaded[settings] = await load_classifier(settings, threads=threads)
        return _loaded[settings]

    setattr(call_path, _NAME, load_once)
    try:
        yield
    finally:
        setattr(call_path, _NAME, load_classifier)
