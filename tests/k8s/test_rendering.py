"""The golden files are what the manifests render to, on machines with and without kustomize."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import goldens
from tests.k8s import renders


@pytest.mark.parametrize("directory", renders.RENDERED)
def test_the_golden_manifests_are_what_kustomize_renders(directory: str) -> None:
    if not renders.can_render():
        pytest.skip(
            "no kubectl with kustomize 5 here; only the digests of the sources are compared"
        )
    goldens.hold(f"k8s/{renders.golden_name(directory)}", renders.render(directory))


def test_golden_manifests_were_made_from_these_sources() -> None:
    """Where nothing can render, a changed source without a new golden file is still noticed."""
    if os.environ.get("GATEPOST_UPDATE_GOLDEN") == "1" and not renders.can_render():
        pytest.fail("golden manifests are written by a kubectl with kustomize 5")
    goldens.hold("k8s/sources.sha256", renders.source_digests())


def test_every_golden_manifest_is_of_a_directory_that_is_applied() -> None:
    wanted = {renders.golden_name(directory) for directory in renders.RENDERED}
    assert goldens.names("k8s") == wanted | {"sources.sha256"}


def test_every_directory_that_stands_alone_is_rendered() -> None:
    """A kustomization is applied by people, or used by one that is."""
    found = {path.parent for path in renders.SOURCES.rglob("kustomization.yaml")}
    used = {renders.SOURCES / directory for directory in renders.RENDERED}
    grown = True
    while grown:
        more = {other for path in used for other in _names(path)} - used
        used |= more
        grown = bool(more)
    assert found - used == set()


def _names(directory: Path) -> set[Path]:
    text = (directory / "kustomization.yaml").read_text()
    entries = [line.strip().removeprefix("- ") for line in text.splitlines()]
    return {
        (directory / entry).resolve() for entry in entries if entry and (directory / entry).is_dir()
    }
