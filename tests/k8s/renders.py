"""What the manifests come out as: one golden file per thing that is applied to a cluster.

Owns: which directories those are, rendering them with `kubectl kustomize`, and reading the golden
files. Refuses: judging what stands in them.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ROOT / "k8s"
GOLDEN: Final = ROOT / "tests" / "golden" / "k8s"

RENDERED: Final = (
    "examples/deployment",
    "examples/job",
    "examples/node-spool",
    "examples/statefulset",
    "inject/guard",
    "inject/map",
    "inject/parameters",
    "overlays/dev",
    "overlays/prod",
)
"""Directories that people apply: each is rendered whole."""

Manifest = dict[str, Any]
"""A document as YAML gives it."""


def golden_name(directory: str) -> str:
    return f"{directory.replace('/', '-')}.yaml"


@cache
def can_render() -> bool:
    """Whether this machine has what renders: kubectl carries kustomize, and needs no server.

    Version 5 alone: others read components and order what they write in another way.
    """
    if shutil.which("kubectl") is None:
        return False
    asked = ["kubectl", "version", "--client", "--output", "json"]
    done = subprocess.run(asked, capture_output=True, check=False, timeout=30)
    return done.returncode == 0 and b'"kustomizeVersion": "v5.' in done.stdout


def render(directory: str) -> bytes:
    """What `kubectl apply -k` would send for ``directory``."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(SOURCES / directory)],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@cache
def _read(directory: str) -> list[Manifest]:
    text = (GOLDEN / golden_name(directory)).read_text()
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


def documents(directory: str) -> list[Manifest]:
    """The documents of the golden file of ``directory``, fresh each time."""
    found = copy.deepcopy(_read(directory))
    assert all(document.get("kind") for document in found)
    return found


def source_digests() -> bytes:
    """A line per file that rendering reads: what the golden files were made from."""
    lines = []
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file() and path.suffix != ".md":
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{digest}  {path.relative_to(SOURCES).as_posix()}\n")
    return "".join(lines).encode()
