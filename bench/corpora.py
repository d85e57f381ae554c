"""Labelled files from outside, by their formats. They are read, never copied into the project.

``*.json``: a list of {full_text, spans: [{entity_type, start_position, end_position}]}.
``*.jsonl`` with ``recognizer``: {entities, text, expected_count}; counts as positive if > 0.
``*.jsonl`` with ``rule``: {rule, label, text_b64}; ``label`` says whether a secret is in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.classify.classifier import Finding

SAME_ENTITY = {"IBAN": "IBAN_CODE", "IP": "IP_ADDRESS", "EMAIL": "EMAIL_ADDRESS"}
RECOGNISERS = {
    "credit_card": "CREDIT_CARD",
    "email": "EMAIL_ADDRESS",
    "iban": "IBAN_CODE",
    "ip": "IP_ADDRESS",
    "phone": "PHONE_NUMBER",
    "us_ssn": "US_SSN",
}


class Document(NamedTuple):
    """A text and where in it is what: (entity, start, end) in characters."""

    text: str
    spans: tuple[tuple[str, int, int], ...]


class Case(NamedTuple):
    """A text that holds something of ``entity`` (None: any secret) or does not."""

    group: str
    text: str
    positive: bool
    entity: str | None

    def counts(self, finding: Finding) -> bool:
        if self.entity is None:
            return finding.category.startswith("secret.")
        return finding.entity == self.entity


def span_files(directory: str) -> Iterator[tuple[str, list[Document]]]:
    for path in sorted(Path(directory).glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))
        yield path.name, [Document(row["full_text"], _spans(row["spans"])) for row in rows]


def _spans(rows: list[dict[str, object]]) -> tuple[tuple[str, int, int], ...]:
    spans = []
    for row in rows:
        entity = str(row["entity_type"])
        start, end = row["start_position"], row["end_position"]
        assert isinstance(start, int)
        assert isinstance(end, int)
        spans.append((SAME_ENTITY.get(entity, entity), start, end))
    return tuple(spans)


def case_files(directory: str) -> Iterator[tuple[str, list[Case]]]:
    for path in sorted(Path(directory).glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line]
        cases = [case for row in rows if (case := _case(row)) is not None]
        yield path.name, cases


def _case(row: dict[str, object]) -> Case | None:
    if "text_b64" in row:
        text = base64.b64decode(str(row["text_b64"])).decode("utf-8", "replace")
        return Case(str(row["rule"]), text, bool(row["label"]), None)
    entity = RECOGNISERS.get(str(row.get("recognizer")))
    if entity is None or row.get("expected_count") is None:
        return None
    expected = row["expected_count"]
    assert isinstance(expected, int)
    return Case(str(row["recognizer"]), str(row["text"]), expected > 0, entity)
