"""A mutant: one breakage of the source, as a patch that begins with what it breaks, in words.

    A batch is written and never synced.

    Caught by: durable
    Seeds: 3 7

    --- a/spool/segment.py
    +++ b/spool/segment.py

``Caught by`` names the checkers that may notice it (``docs/simulation.md`` lists them): a mutant
that is noticed by another one, say because it raises, breaks something else than it says. The
line ``Seeds`` may be missing; these are tried before the other fixed seeds.

Owns: reading such a file. Refuses: applying it (``tree.py``) and running it (``trial.py``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from tests.sim.seeds import FIXED

FOLDER: Final = Path(__file__).parent
_FORM: Final = re.compile(
    r"(?P<text>\S.*?)\n\n"
    r"Caught by: (?P<checkers>[a-z_]+(?: [a-z_]+)*)\n"
    r"(?:Seeds: (?P<seeds>\d+(?: \d+)*)\n)?"
    r"\n--- a/",
    re.DOTALL,
)


class MutantInvalid(Exception):
    """A patch file without a head that can be read, or a name that no file has."""


class Mutant(msgspec.Struct, frozen=True):
    """``text``: what is broken, on one line. ``checkers``: those that may notice it."""

    path: Path
    text: str
    checkers: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.path.stem


def read(path: Path) -> Mutant:
    """Raises MutantInvalid."""
    found = _FORM.match(path.read_text(encoding="utf-8"))
    if found is None:
        raise MutantInvalid(
            f"{path.name}: a patch begins with a paragraph that says what is broken, an empty "
            "line, `Caught by: CHECKER...`, perhaps `Seeds: SEED...`, and an empty line"
        )
    seeds = tuple(map(int, (found["seeds"] or "").split()))
    other = [seed for seed in seeds if seed not in FIXED]
    if other:
        raise MutantInvalid(f"{path.name}: {other} are not among the fixed seeds {FIXED}")
    return Mutant(
        path=path,
        text=" ".join(found["text"].split()),
        checkers=tuple(found["checkers"].split()),
        seeds=seeds,
    )


def read_all(names: list[str], folder: Path = FOLDER) -> list[Mutant]:
    """The mutants of these names, all without any. Raises MutantInvalid."""
    paths = {path.stem: path for path in sorted(folder.glob("*.patch"))}
    unknown = [name for name in names if name not in paths]
    if unknown:
        raise MutantInvalid(
            f"there is no mutant {', '.join(unknown)}; there are {', '.join(paths)}"
        )
    return [read(paths[name]) for name in names or paths]
