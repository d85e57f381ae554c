"""Loading a rule pack, and classifying on the loop or in a thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway import limits
from gateway.call import CallView, Label, Segment
from gateway.classify.classifier import Classifier
from gateway.errors import ConfigInvalid
from gateway.io.packs import read_core_pack
from sidecar.classifying import Classifying, load_classifier
from sidecar.config import Classification

pytestmark = pytest.mark.anyio
MAIL = "write to alice@example.com"


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("packs"))


def call(*texts: str) -> CallView:
    segments = tuple(Segment(f"/{n}", "user", "text", text) for n, text in enumerate(texts))
    return CallView(
        protocol="openai",
        operation="chat",
        provider="openai",
        model="m",
        stream=False,
        segments=segments,
    )


@pytest.mark.parametrize("threads", [True, False])
async def test_the_pack_of_the_release_is_the_default(packs: str, threads: bool) -> None:
    classifier = await load_classifier(Classification(cache_directory=packs), threads=threads)
    label = await Classifying(classifier, threads).classify(call(MAIL))
    assert label.categories == ("pii.email",)


async def test_a_pack_of_ones_own_is_read_from_its_file(packs: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(read_core_pack().replace(b'name = "core"', b'name = "ours"', 1))
    settings = Classification(pack_file=str(path), cache_directory=packs)
    classifier = await load_classifier(settings, threads=False)
    assert (await Classifying(classifier, False).classify(call("x"))).classifier.startswith("ours@")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        (b"not a pack", "pack"),
        (b"", "pack"),
        (b" " * (limits.POLICY_BUNDLE_BYTES_MAX + 1), "more than"),
    ],
)
async def test_a_pack_that_cannot_be_used_ends_the_start(
    tmp_path: Path, text: bytes | None, words: str
) -> None:
    path = tmp_path / "own.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ConfigInvalid, match=words):
        await load_classifier(Classification(pack_file=str(path)), threads=False)


class Where(Classifier):
    """Notes in which thread it was asked."""

    def __init__(self) -> None:
        self.threads: list[bool] = []

    def classify(self, segments: Sequence[Segment], opaque: Sequence[str] = ()) -> Label:
        self.threads.append(threading.current_thread() is threading.main_thread())
        return Label(level="internal", categories=(), completeness="full", classifier="x@1")


@pytest.mark.parametrize(
    ("length", "threads", "on_loop"),
    [
        (10, True, True),
        (limits.SCAN_ON_LOOP_BYTES_MAX * 2, True, False),
        (limits.SCAN_ON_LOOP_BYTES_MAX * 2, False, True),
    ],
)
async def test_only_long_texts_go_to_a_thread(length: int, threads: bool, on_loop: bool) -> None:
    classifier = Where()
    await Classifying(classifier, threads).classify(call("x" * length))
    assert classifier.threads == [on_loop]


@pytest.mark.parametrize("length", [10, limits.SCAN_ON_LOOP_BYTES_MAX * 2])
async def test_a_fault_of_the_detector_is_never_no_finding(length: int) -> None:
    class Broken(Where):
        def classify(self, segments: Sequence[Segment], opaque: Sequence[str] = ()) -> Label:
            raise RuntimeError("out of scratch space")

    with pytest.raises(RuntimeError, match="scratch"):
        await Classifying(Broken(), threads=True).classify(call("x" * length))
