"""Exports that somebody worked on, at the verifier: whatever they are, there is a report.

Two laws. No export makes the verifier raise. And one with which it finds no more fault than with
the good one holds the good one's records, all of them and no other: nothing was signed anew here.

``make fuzz`` runs it for long; an ordinary run takes a few hundred examples.
"""

from __future__ import annotations

import base64
import json
import os
from copy import deepcopy
from random import Random
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import documents
from gateway.evidence import Report, verify_export
from tests.attacked import World
from tests.exports import PIN

EXAMPLES: Final = int(os.environ.get("GATEPOST_FUZZ_EXAMPLES") or 300)
GOOD: Final = World().play().lines()

Json = Any
"""What stands at one place of a line."""

ODD: Final[tuple[Json, ...]] = (
    *(None, True, 0, -1, 2**53, 2**64, 10**400, 1e308),
    *("", "=", "AAAA", "\x00", "\ud800", "sha256:" + "0" * 64, "9999-12-31T23:59:59.999999Z"),
    *([], [[]], {}, {"a": 1}),
)
ENDS: Final = (b" \n", b"\r\n", b"\n\n", b"{}\n", b"[" * 5_000 + b"\n", b'{"a":' * 3_000 + b"\n")


def states(report: Report) -> dict[str, str]:
    return {one.name: one.state for one in report.verdicts}


def records(lines: list[bytes]) -> set[str]:
    """The payloads of the record lines that can be read."""
    found = set()
    for one in lines:
        try:
            document = json.loads(one)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict) and document.get("payloadType") == documents.RECORD:
            found.add(document["payload"])
    return found


EXPECTED: Final = (states(verify_export(GOOD, PIN)), records(GOOD))


def places(value: Json, path: tuple[Json, ...] = ()) -> list[tuple[Json, ...]]:
    """Every place in a JSON value, the root first."""
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, inner in inside for place in places(inner, (*path, key)))]


def at(value: Json, path: tuple[Json, ...]) -> Json:
    for step in path:
        value = value[step]
    return value


def odd_document(chance: Random, document: Json) -> Json:
    """``document`` with one place changed: replaced, dropped, another's, or changed inside."""
    paths = places(document)
    path = chance.choice(paths)
    if not path:
        return deepcopy(chance.choice(ODD))
    above, last = at(document, path[:-1]), path[-1]
    how = chance.randrange(4)
    if how == 0:
        above[last] = deepcopy(chance.choice(ODD))
    elif how == 1:
        del above[last]
    elif how == 2:
        above[last] = deepcopy(at(document, chance.choice(paths)))
    elif isinstance(above[last], str):
        above[last] = odd_text(chance, above[last])
    elif isinstance(above[last], int):
        above[last] += chance.choice([-1, 1, 2**32])
    return document


def odd_text(chance: Random, text: str) -> str:
    """A document in base64 changed in there, any other text at one character."""
    try:
        inner = json.loads(base64.b64decode(text, validate=True))
    except ValueError:
        place = chance.randrange(len(text) + 1)
        return text[:place] + chance.choice(["", "A", "\n"]) + text[place + 1 :]
    changed = json.dumps(odd_document(chance, inner), separators=(",", ":"))
    return base64.b64encode(changed.encode()).decode()


def odd_line(chance: Random, line: bytes) -> bytes:
    """One line changed in its meaning, in its bytes, in its length or at its end."""
    how = chance.randrange(8)
    if how < 5:
        try:
            changed = odd_document(chance, json.loads(line))
        except (ValueError, RecursionError):
            return line
        text = json.dumps(changed, separators=(",", ":"), ensure_ascii=chance.random() < 0.5)
        return text.encode("utf-8", "surrogatepass") + b"\n"
    if how == 5:
        place = chance.randrange(len(line) + 1)
        return line[:place] + chance.randbytes(1) + line[place + 1 :]
    if how == 6:
        return line[: chance.randrange(len(line) + 1)]
    return line.rstrip(b"\n") + chance.choice(ENDS)


def odd_export(chance: Random) -> list[bytes]:
    """The good export after one to four changes."""
    lines = list(GOOD)
    for _ in range(chance.randint(1, 4)):
        place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        how = chance.randrange(10)
        if how < 6:
            lines[place] = odd_line(chance, lines[place])
        elif how == 6 and len(lines) > 1:
            del lines[place]
        elif how == 7:
            lines.insert(other, lines[place])
        elif how == 8:
            lines[place], lines[other] = lines[other], lines[place]
        else:
            lines = lines[: place + 1]
    return lines


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 2**64))
def test_whatever_an_export_is_there_is_a_report_and_no_better_one_than_it_deserves(
    seed: int,
) -> None:
    lines = odd_export(Random(seed))
    found = states(verify_export(lines, PIN))
    good, held = EXPECTED
    if found == good:
        assert records(lines) == held
