"""What a log says in an export has one form, and reads back."""

from __future__ import annotations

import pytest

from gateway import log_line
from gateway.errors import DocumentInvalid
from gateway.log_line import Arrived, Consistency, Evidence, Leaves, LogLine, Range

LINES = [
    LogLine(evidence=Evidence(code="fork", index=3, received_us=7, line="e30=")),
    LogLine(range=Range(size=9, first_index=2, arrived=[Arrived(3, 7)], proof=["AAAA"])),
    LogLine(leaves=Leaves(first_index=0, entries="AAAA")),
    LogLine(consistency=Consistency(old_size=1, new_size=2, hashes=[])),
    LogLine(checkpoint="origin\n"),
]


@pytest.mark.parametrize("line", LINES)
def test_every_line_reads_back(line: LogLine) -> None:
    written = log_line.write(line)
    assert written.endswith(b"}\n")
    assert log_line.is_log_line(written)
    assert log_line.read(written) == line


@pytest.mark.parametrize("line", LINES)
def test_a_line_cut_at_any_byte_or_with_something_behind_it_is_refused(line: LogLine) -> None:
    written = log_line.write(line)
    for broken in [written[:cut] for cut in range(len(written))] + [
        written + b"\n",
        b" " + written,
    ]:
        with pytest.raises(DocumentInvalid):
            log_line.read(broken)


@pytest.mark.parametrize(
    "text",
    [
        b"{}\n",
        b'{"checkpoint":null}\n',
        b'{"checkpoint":"a","checkpoint":"a"}\n',
        b'{"leaves":{"first_index":0,"entries":""},"checkpoint":"a"}\n',
        b'{"checkpoint":"a","more":1}\n',
        b'{"leaves":{"first_index":9007199254740992,"entries":""}}\n',
    ],
)
def test_no_other_object_is_a_line(text: bytes) -> None:
    with pytest.raises(DocumentInvalid):
        log_line.read(text)
