"""The facts of a decision: what its rules read beyond the record's own members.

Owns: the form of a fact (as it is, as a number's text, or as a keyed digest) and the inputs that
a replay makes from them. Refuses: choosing what may stand in clear; the bundle's ``recordable``
does.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.comparison import as_number
from gateway.inputs import Inputs
from gateway.judgement import pack_results
from gateway.limits import FACT_SCALAR_BYTES_MAX, JSON_INTEGER_MAX
from gateway.policy import json_text
from gateway.record import Facts, FactValue, Number
from gateway.seal import keyed_digest
from gateway.table import Table
from gateway.timestamp import time_text
from gateway.truth import Truth

NONE = Facts(inputs={}, results="")
"""Facts of a ruling for which no rule was asked."""


def facts_of(table: Table, inputs: Inputs, results: Sequence[Truth], digest_key: bytes) -> Facts:
    """The facts of one evaluation, paths in order. ``time`` always stands in clear."""
    read, values = inputs.read, dict[str, FactValue]()
    for path in sorted(read):
        value = read[path]
        if path != "time":
            values[path] = _fact(value, path in table.recordable, digest_key)
        elif isinstance(value, int):
            values[path] = time_text(value)
    return Facts(inputs=values, results=pack_results(results))


def _fact(value: object, recordable: bool, digest_key: bytes) -> FactValue:
    # A null stands for "there was none", which is no secret and is what UNKNOWN came from.
    if value is None:
        return None
    if recordable:
        plain = _plain(value)
        if plain is not None:
            return plain
    return keyed_digest(digest_key, json_text(value))


def _plain(value: object) -> FactValue:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= JSON_INTEGER_MAX:
        return value
    if isinstance(value, str):
        # The two quotes are not counted, as everywhere in limits.py.
        return value if len(json_text(value)) - 2 <= FACT_SCALAR_BYTES_MAX else None
    if as_number(value) is None:
        return None
    text = repr(value) if isinstance(value, float) else str(value)
    return Number(num=text) if len(text) <= FACT_SCALAR_BYTES_MAX else None
