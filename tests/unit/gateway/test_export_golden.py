"""The export that ``docs/verifying.md`` walks through, byte for byte; and the walk itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import checkpoint, logproof, merkle, note
from gateway.logproof import LogProof
from tests.attacked import WITNESS_KEY, World
from tests.exports import LOG_KEY, PIN, checkpoint_of
from tests.goldens import hold

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "tests" / "golden" / "export"
PAGE = (ROOT / "docs" / "verifying.md").read_text()
PROVED_LEAF = 3


def world() -> World:
    return World().play()


def test_the_golden_export_is_made_as_ever() -> None:
    played = world()
    hold("export/export.ndjson", b"".join(played.lines()))
    hold("export/seen.txt", played.pinned.encode())
    hold("export/witness.txt", WITNESS_KEY.verifier_key().encode() + b"\n")
    hold("export/proof.txt", proof_of(played).encode().encode())


def proof_of(played: World) -> LogProof:
    """The proof of one decision, as the store gives it out."""
    entries = played.entries()
    history = merkle.Frontier()
    nodes = {
        (level, index): digest
        for entry in entries
        for level, index, digest in history.append(entry.leaf_hash())
    }
    hashes = merkle.inclusion_proof(PROVED_LEAF, len(entries), lambda *at: nodes[at])
    signed = checkpoint.write(checkpoint_of(entries), [LOG_KEY])
    found = LogProof(PROVED_LEAF, hashes, note.parse(signed.encode()))
    assert logproof.decode(found.encode()) == found
    return found


def steps() -> list[tuple[str, str]]:
    """(command, what it should print) of every ``$`` in the page, in order."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", PAGE, re.M):
        text = re.sub(r"^ {4}", "", block, flags=re.M)
        for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
            lines = part.rstrip("\n").split("\n")
            end = lines.index("END") if lines[0].endswith(("<<'END'", "<<END")) else 0
            found.append(("\n".join(lines[: end + 1]), "\n".join(lines[end + 1 :]).rstrip()))
    return found


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    shutil.copytree(SAMPLE, tmp_path / "export")
    return tmp_path / "export"


def test_every_command_of_the_walk_prints_what_the_page_shows(sample: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shown = steps()
    assert len(shown) >= 12
    for command, expected in shown:
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=sample,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        printed = (ended.stdout + ended.stderr).rstrip()
        assert printed == expected, f"$ {command}\n{printed}"


def test_the_page_names_the_root_that_the_sample_has() -> None:
    assert PIN in PAGE


@pytest.mark.parametrize("place", range(100, 20_000, 2_900))
def test_a_changed_sample_breaks_the_walk(sample: Path, place: int) -> None:
    """The commands are checks: on other bytes, some of them fail or print something else."""
    path = sample / "export.ndjson"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command, expected in steps():
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=sample,
            env={**os.environ, "PATH": search},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if (ended.stdout + ended.stderr).rstrip() != expected:
            return
    pytest.fail("every command printed what it prints of the good export")
