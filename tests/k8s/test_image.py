"""What the Dockerfile promises, read from it: building needs a base image, which a test has not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests.k8s import sidecar_lint
from tests.k8s.renders import ROOT, SOURCES

DOCKERFILE: Final = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
STAGES: Final = re.split(r"^(?=FROM )", DOCKERFILE, flags=re.M)[1:]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _stage(name: str) -> str:
    return next(stage for stage in STAGES if stage.splitlines()[0].endswith(f" AS {name}"))


def test_what_is_installed_is_pinned_by_hash_or_was_built_here() -> None:
    installs = re.findall(r"pip \S*.*? install ([^&\n]*)|/pip install ([^&\n]*)", DOCKERFILE)
    texts = ["".join(found) for found in installs]
    assert len(texts) == 3
    for text in texts:
        assert "--require-hashes --only-binary=:all:" in text or "--no-index --no-deps" in text


def test_the_image_runs_as_the_user_that_the_manifests_state() -> None:
    assert f"USER {sidecar_lint.UID}:{sidecar_lint.UID}\n" in _stage("gatepost")


def test_no_tool_of_the_build_is_in_the_image() -> None:
    assert "pip" not in _stage("gatepost")
    assert "COPY --from=build /opt/gatepost /opt/gatepost" in _stage("gatepost")


def test_a_command_in_a_manifest_is_where_the_image_has_it() -> None:
    assert 'ENTRYPOINT ["/opt/gatepost/bin/gatepost"]' in _stage("gatepost")
    commands = [
        found
        for path in SOURCES.rglob("*.yaml")
        for found in re.findall(r"command: \[(/[^,\]]+)", path.read_text())
    ]
    assert commands == ["/opt/gatepost/bin/python"]


@pytest.mark.parametrize(
    "wanted",
    [
        *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
        *PROJECT["project"]["license-files"],
        PROJECT["project"]["readme"],
        "pyproject.toml",
        "requirements",
    ],
)
def test_the_builder_gets_all_that_the_wheel_is_made_of(wanted: str) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert f"!{wanted}" in lines


def test_the_builder_gets_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {Path(line[1:]) for line in lines if line.startswith("!")}
    assert {path for path in allowed if not (ROOT / path).exists()} == set()
    assert not allowed & {Path(".git"), Path("tests"), Path("bench"), Path(".gatepost")}


def test_times_and_bytecode_do_not_depend_on_the_moment_of_the_build() -> None:
    build = _stage("build")
    assert "--invalidation-mode unchecked-hash" in build
    assert "--date=@${SOURCE_DATE_EPOCH}" in build
