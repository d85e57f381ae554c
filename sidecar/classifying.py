"""Classification as the exchange calls it: on the event loop, or in a thread for long texts.

Owns: that choice, and loading the pack. Refuses: taking a detector's fault for "no finding": a
fault raises, and the call fails closed.
"""

from __future__ import annotations

from importlib import resources

import anyio
import anyio.to_thread

from gateway.call import CallView, Label
from gateway.classify import Classifier, prefers_thread
from gateway.errors import ConfigInvalid
from sidecar.config import Classification

_THREADS = 2


def load_classifier(settings: Classification) -> Classifier:
    """The configured rule pack, or this release's. Raises ConfigInvalid."""
    if settings.pack_file is None:
        pack = resources.files("gateway.classify").joinpath("packs/core.json").read_bytes()
    else:
        try:
            with open(settings.pack_file, "rb") as file:
                pack = file.read()
        except OSError as error:
            raise ConfigInvalid(
                f"classification.pack_file {settings.pack_file}: {error.strerror}"
            ) from error
    return Classifier.load(pack, settings.cache_directory)


class Classifying:
    """``World.classify`` over one classifier."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._limiter = anyio.CapacityLimiter(_THREADS)

    async def classify(self, call: CallView) -> Label:
        """The label of ``call``. hyperscan releases the GIL, so a thread really helps."""
        if not prefers_thread(call.segments):
            return self._classifier.classify(call.segments, call.opaque)
        return await anyio.to_thread.run_sync(
            self._classifier.classify, call.segments, call.opaque, limiter=self._limiter
        )
