"""Server-sent events, cut out of a byte stream without changing a byte.

Owns: where one event ends, and what its data is. Refuses: meaning, and the ``retry`` and ``id``
fields: what is passed on is the event's own bytes.

Lines end with CR LF, LF or CR (WHATWG HTML, section 9.2.6), in any mix, split over chunks
anywhere. An event ends with a blank line. A stream that ends inside an event never sent it.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.limits import STREAM_EVENT_BYTES_MAX

_END: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_END: Final = 4


class EventTooLarge(Exception):
    """An event did not end within the bound."""


class EventSplitter:
    """Feeds on chunks, gives whole events: their exact bytes, the blank line included.

    ``drop_large``: an event over ``bytes_max`` is left out, for readers that only look on;
    otherwise EventTooLarge is raised.
    """

    def __init__(
        self, *, bytes_max: int = STREAM_EVENT_BYTES_MAX, drop_large: bool = False
    ) -> None:
        self._bytes_max = bytes_max
        self._drop_large = drop_large
        self._buffer = bytearray()
        self._searched = 0
        self._dropping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that ``chunk`` completes. Raises EventTooLarge.

        Where a chunk ends between the CR and the LF of the last blank line, the event is given at
        once and the LF becomes the first byte of the next one: a blank line more, which means
        nothing.
        """
        buffer = self._buffer
        buffer += chunk
        events: list[bytes] = []
        start, search = 0, self._searched
        while (found := _END.search(buffer, search)) is not None:
            end = found.end()
            if self._dropping:
                self._dropping = False
            else:
                events.append(bytes(buffer[start:end]))
            start = search = end
        del buffer[:start]
        if len(buffer) > self._bytes_max:
            if not self._drop_large:
                raise EventTooLarge(f"an event is larger than {self._bytes_max} bytes")
            self._dropping = True
            del buffer[:-_LONGEST_END]
        self._searched = max(0, len(buffer) - _LONGEST_END)
        return events

    def rest(self) -> bytes:
        """What came after the last whole event."""
        return bytes(self._buffer)


def event_data(event: bytes) -> bytes | None:
    """The event's data, its lines joined by LF; None where it has no data line."""
    if event.startswith(b"data:") and event.endswith(b"\n\n") and event.count(b"\n") == 2:
        return event[6:-2] if event[5:6] == b" " else event[5:-2]
    lines = [value for name, value in _fields(event) if name == b"data"]
    return b"\n".join(lines) if lines else None


def event_type(event: bytes) -> bytes:
    """The event's type: its last ``event`` field, or ``message``."""
    types = [value for name, value in _fields(event) if name == b"event"]
    return (types[-1] if types else b"") or b"message"


def _fields(event: bytes) -> list[tuple[bytes, bytes]]:
    fields: list[tuple[bytes, bytes]] = []
    for line in event.removeprefix(_BOM).splitlines():
        if line and not line.startswith(b":"):
            name, _, value = line.partition(b":")
            fields.append((name, value.removeprefix(b" ")))
    return fields
