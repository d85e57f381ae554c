"""More heartbeats than a verifier remembers: what daemons saw is held against it."""

from __future__ import annotations

import base64

import msgspec
import pytest

from gateway import log_line, seal, seen_audit
from gateway.evidence import Report, verify_export
from gateway.log_line import Leaves, LogLine
from gateway.logproof import Entry
from tests import specimens
from tests.exports import (
    ORIGIN,
    PIN,
    Writer,
    checkpoint_line,
    checkpoint_of,
    entry_of,
    line,
    root,
)

REMEMBERED = 4
FALSE_ROOT = base64.b64encode(b"f" * 32).decode()


@pytest.fixture(autouse=True)
def _few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_audit, "_NAMED_MAX", REMEMBERED)


class Growing:
    """A complete export whose leaves stand behind each record, and heartbeats that saw them."""

    def __init__(self) -> None:
        self.writer = Writer()
        certificate = self.writer.certificate()
        self.head = [root().envelope + b"\n", certificate]
        self.body: list[bytes] = []
        self.entries: list[Entry] = []
        self.log(certificate)
        self.keep(self.writer.start())

    def log(self, data: bytes) -> None:
        entry = entry_of(data)
        assert entry is not None
        text = base64.b64encode(entry.encode()).decode()
        self.body.append(log_line.write(LogLine(leaves=Leaves(len(self.entries), text))))
        self.entries.append(entry)

    def keep(self, sealed: seal.Sealed) -> None:
        self.body.append(line(sealed))
        self.log(line(sealed))

    def beat(self, **changes: object) -> None:
        """A heartbeat that saw the log as it is, or as ``changes`` say."""
        seen = msgspec.structs.replace(checkpoint_of(self.entries).seen(), **changes)
        self.keep(self.writer.write(specimens.HEARTBEAT, log_seen=seen, certificate=None))

    def report(self, origin: str = ORIGIN) -> Report:
        self.keep(self.writer.write(specimens.SEAL))
        end = checkpoint_line(self.entries, origin=origin)
        return verify_export([*self.head, *self.body, end], PIN)


def consistency(report: Report) -> tuple[str, int]:
    found = report.verdict("consistency")
    return found.state, found.counted


def test_all_that_is_true_is_counted_however_much_it_is() -> None:
    growing = Growing()
    for _ in range(5 * REMEMBERED):
        growing.beat()
    report = growing.report()
    assert (consistency(report), report.exit_code) == (("true", 5 * REMEMBERED), 0)


@pytest.mark.parametrize("changes", [{"root": FALSE_ROOT}, {"size": 1_000}])
@pytest.mark.parametrize("place", [0, REMEMBERED, 3 * REMEMBERED, 5 * REMEMBERED - 1])
def test_one_that_is_false_is_found_wherever_it_stands(
    place: int, changes: dict[str, object]
) -> None:
    growing = Growing()
    for number in range(5 * REMEMBERED):
        growing.beat(**(changes if number == place else {}))
    assert consistency(growing.report()) == ("false", 5 * REMEMBERED - 1)


def test_those_of_another_log_are_false_though_they_are_right_about_these_leaves() -> None:
    growing = Growing()
    for _ in range(5 * REMEMBERED):
        growing.beat()
    elsewhere = ORIGIN.replace("store.", "other.")
    assert consistency(growing.report(elsewhere)) == ("false", 0)


def test_where_too_many_are_false_it_is_said_that_not_all_were_looked_at() -> None:
    growing = Growing()
    for number in range(5 * REMEMBERED):
        growing.beat(root=base64.b64encode(bytes([number]) * 32).decode())
    causes = [one.cause for one in growing.report().verdict("consistency").problems]
    assert len(causes) == REMEMBERED + 1
    assert causes[-1].startswith(f"{4 * REMEMBERED} log_seen of daemons were too many")
