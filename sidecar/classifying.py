"""Classification as the exchange calls it: on the event loop, or in a thread for long texts.

Owns: that choice, and loading the pack. Refuses: taking a detector's fault for "no finding": a
fault raises, and the call fails closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio
import anyio.to_thread

from gateway import limits
from gateway.call import CallView, Label, Segment
from gateway.classify.classifier import Analysis, Classifier, prefers_thread
from gateway.errors import ConfigInvalid
from gateway.io.packs import PrivateDirectory, read_core_pack
from sidecar.config import Classification

_THREADS = 2

ResultT = TypeVar("ResultT")


async def load_classifier(settings: Classification, *, threads: bool) -> Classifier:
    """The configured rule pack, or this release's. Raises ConfigInvalid."""
    cache = None if settings.cache_directory is None else PrivateDirectory(settings.cache_directory)
    pack = _pack_bytes(settings)
    if not threads:
        return Classifier.load(pack, cache)
    return await anyio.to_thread.run_sync(Classifier.load, pack, cache)


def _pack_bytes(settings: Classification) -> bytes:
    if settings.pack_file is None:
        return read_core_pack()
    try:
        with open(settings.pack_file, "rb") as file:
            pack = file.read(limits.POLICY_BUNDLE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigInvalid(
            f"classification.pack_file {settings.pack_file}: {error.strerror}"
        ) from error
    if len(pack) > limits.POLICY_BUNDLE_BYTES_MAX:
        raise ConfigInvalid(
            f"classification.pack_file {settings.pack_file} has more than "
            f"{limits.POLICY_BUNDLE_BYTES_MAX} bytes"
        )
    return pack


class Classifying:
    """``World.classify`` and ``World.analyse`` over one classifier."""

    def __init__(self, classifier: Classifier, threads: bool) -> None:
        self._classifier = classifier
        self._threads = threads
        self._limiter = anyio.CapacityLimiter(_THREADS)

    async def classify(self, call: CallView) -> Label:
        """The label of ``call``."""
        return await self._run(self._classifier.classify, call.segments, call.opaque)

    async def analyse(self, segments: Sequence[Segment]) -> Analysis:
        """What stands where in ``segments``."""
        return await self._run(self._classifier.analyse, segments, ())

    async def _run(
        self,
        step: Callable[[Sequence[Segment], Sequence[str]], ResultT],
        segments: Sequence[Segment],
        opaque: Sequence[str],
    ) -> ResultT:
        # hyperscan releases the GIL, so a thread really helps.
        if not self._threads or not prefers_thread(segments):
            return step(segments, opaque)
        return await anyio.to_thread.run_sync(step, segments, opaque, limiter=self._limiter)
