"""Other ways to read a text, for data that is written so as not to be seen.

A piece is a text with its way back to a segment of the call. The first pieces are the segments
themselves; further ones are what base64, hex, percent-encoding and escapes in them decode to, and
non-ASCII text with look-alikes folded and invisible characters removed.

Owns: which hidden forms are undone, and the place each came from. Refuses: judging what stands
there. Known misses, by choice: reversed text, ROT13, numbers in words, secrets put together by
code, text in images.

Sources: UAX #15 (NFKC), UTS #39 (confusables; a small table of Latin look-alikes), RFC 4648,
RFC 3986 section 2.1.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.classify.scanner import Pattern

Locate = Callable[[int, int], tuple[int, int]]


class Piece(NamedTuple):
    """``locate`` leads from characters of ``text`` to characters of segment ``segment``."""

    text: str
    segment: int
    view: str
    locate: Locate


PLAIN: Final = "plain"
NORMALISED: Final = "normalised"


def identity(start: int, end: int) -> tuple[int, int]:
    """``locate`` of a piece that is the segment itself."""
    return start, end


class Joined:
    """Pieces as one buffer, NUL between them, so that one scan does for all."""

    def __init__(self, pieces: Sequence[Piece], data: bytes) -> None:
        self.pieces = pieces
        self.data = data
        starts = [0]
        for piece in pieces:
            starts.append(starts[-1] + _size(piece.text) + 1)
        self._starts = starts

    def place(self, start: int, end: int) -> tuple[Piece, int, int]:
        """The piece at the byte range ``start``..``end`` and the range in its segment."""
        index = bisect_right(self._starts, start) - 1
        piece, first = self.pieces[index], self._starts[index]
        if piece.text.isascii():
            low, high = start - first, end - first
        else:
            low = _characters(self.data[first:start])
            high = low + _characters(self.data[start:end])
        return piece, *piece.locate(low, high)


def join(texts: Sequence[str]) -> bytes:
    """``texts`` as UTF-8 with NUL between them. Lone surrogates keep their three bytes."""
    return "\0".join(texts).encode("utf-8", "surrogatepass")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _characters(data: bytes) -> int:
    return len(data.decode("utf-8", "surrogatepass"))


# -- what a scan must report for a view to be worth making ------------------------------------

TRIGGER_CONTROL: Final = 0
TRIGGER_UNICODE: Final = 1
TRIGGER_BASE64: Final = 2
TRIGGER_ESCAPE: Final = 3

_SUSPECT_UTF8: Final = (
    r"\xc2[\x80-\x9f\xaa\xad\xb2\xb3\xb9\xba]"  # controls, soft hyphen, superscripts
    r"|\xc4[\xb1-\xb3]|\xc5\xbf|\xc7[\x80-\xbf]|\xc9[\x91\xa1]|[\xca\xcb][\x80-\xbf]"  # Latin forms
    r"|[\xcc-\xdf][\x80-\xbf]"  # combining marks; Greek to Arabic: look-alikes, other digits
    r"|[\xe0\xe1][\x80-\xbf]"  # scripts of South and South-East Asia: other digits
    r"|\xe2\x80[\x8b-\x8f\xa8-\xae]"  # zero width, direction, line separators
    r"|\xe2\x81[\x9f-\xbf]|\xe2\x82[\x80-\xa8]"  # invisible operators, super- and subscripts
    r"|\xe2[\x83-\x85\x91-\x93\xb1-\xb7]"  # marks for symbols, letter-like, enclosed
    r"|\xe3(?:\x80[\xaa-\xad]|\x82[\x99\x9a]|[\x88-\x8f])"  # marks, enclosed numbers, units
    r"|\xea[\x98-\xaf]"  # scripts of Asia and Africa: other digits
    r"|\xef(?:\xac|\xb8[\x80-\x8f\xa0-\xaf]|\xbb\xbf|\xbf[\xb9-\xbb])"  # ligatures, selectors
    r"|\xef\xbc[\x8d\x8e\x90-\x99\xa0-\xba]|\xef\xbd[\x81-\x9a]"  # full width
    r"|\xf0[\x90-\x9e]|\xf0\x9f[\x84-\x86\xaf]|\xf3\xa0"  # further scripts, mathematical, tags
    r"|[0-9A-Za-z](?:\xc2\xa0|\xe2\x80[\x80-\x8a\x90-\x95\xaf]|\xe2\x88\x92)[0-9A-Za-z]"
)
TRIGGERS: Final = (
    Pattern(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]", once=True),
    Pattern(_SUSPECT_UTF8, once=True),
    Pattern(r"[A-Za-z0-9+/_-]{24}", once=True),
    Pattern(
        r"%[0-9A-Fa-f]{2}|&(?:#|[A-Za-z]{2,8};)|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}", once=True
    ),
)
"""In the order of the ``TRIGGER_`` numbers. Text without any of them has no other view."""


# -- non-ASCII and control characters ---------------------------------------------------------

_HIDDEN: Final = re.compile("[^\x09\x0a\x0d\x20-\x7e]{1,1048576}")
_LOOK_ALIKES: Final = str.maketrans(
    "аАвВеЕкКмМнНоОрРсСтТуУхХіІјЈѕЅԁһԛԝ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαονρικ" + "ıɑɡ",
    "aABBeEkKMMHHoOpPcCTTyYxXiIjJsSdhqw" + "ABEZHIKMNOPTYXaovpik" + "iag",
)
_TYPOGRAPHIC: Final = frozenset({"Zs", "Pd", "Pi", "Pf", "Po", "Sm"})
_FOLDS_MAX: Final = 16_384


class _Folds(dict[int, str]):
    """Code point → plain text, worked out once; bounded, because callers choose the text."""

    def __missing__(self, code: int) -> str:
        if len(self) >= _FOLDS_MAX:
            self.clear()
        character = chr(code)
        folded = self[code] = _fold(character) if _HIDDEN.match(character) else character
        return folded


_folds: Final = _Folds()


def normalise(piece: Piece) -> Piece | None:
    """``piece`` as its reader would see it, or None if that is the same text."""
    extra_bytes = _size(piece.text) - len(piece.text)
    if extra_bytes > len(piece.text) // 8:
        text = piece.text.translate(_folds)
    else:
        text = _HIDDEN.sub(_folded, piece.text)
    if text == piece.text:
        return None
    return Piece(text, piece.segment, NORMALISED, _WayBack(piece).locate)


def is_disguised(text: str) -> bool:
    """Whether ``text`` holds characters that typography does not explain."""
    return any(
        unicodedata.category(character) not in _TYPOGRAPHIC
        for run in _HIDDEN.findall(text)
        for character in run
    )


def _folded(match: re.Match[str]) -> str:
    return match.group().translate(_folds)


def _fold(character: str) -> str:
    """One character as plain text: a digit, a letter it looks like, a space, a hyphen, nothing."""
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Mn", "Me"):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Pd" or character == "\u2212":
        return "-"
    if category in ("Zs", "Zl", "Zp"):
        return " "
    return unicodedata.normalize("NFKC", character).translate(_LOOK_ALIKES)


class _WayBack:
    """From places in a normalised text to places before. Worked out at the first finding."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece

    def locate(self, start: int, end: int) -> tuple[int, int]:
        """The range of the segment that ``start``..``end`` of the normalised text came from."""
        low = bisect_right(self._ends, start)
        high = bisect_right(self._ends, end - 1) + 1
        return self._piece.locate(low, high)

    @cached_property
    def _ends(self) -> array[int]:
        """Per character of the original: where what it became ends in the normalised text."""
        lengths = map(len, map(_folds.__getitem__, map(ord, self._piece.text)))
        return array("l", accumulate(lengths))


# -- encodings --------------------------------------------------------------------------------

_RUN: Final = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,1048576}={0,2}")
_HEX: Final = re.compile(rb"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}){16,524288}")
_TOKEN: Final = re.compile(rb"[^\s\0]{1,1048576}")
_JSON_ESCAPE: Final = re.compile(r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})")
_LINE_ENDS: Final = b"\r\n"
_LINE_BREAKS: Final = (b"\n", b"\r\n")
_LAST_LINE: Final = re.compile(rb"\r?\n[A-Za-z0-9+/]{1,100}={0,2}")
_WRAPPED_MIN: Final = 60
_WRAPPED_MAX: Final = 100
"""Encoders wrap lines at 64 (PEM) or 76 (MIME) characters."""
_BINARY: Final = bytes(range(1, 9)) + bytes(range(14, 32)) + b"\x7f"
_BINARY_SHARE_MAX: Final = 0.1
_OPAQUE_MAGIC: Final = (
    b"\x89PNG\r\n",
    b"\xff\xd8\xff",
    b"GIF8",
    b"%PDF-",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"OggS",
    b"RIFF",
    b"ID3",
    b"\x7fELF",
    b"SQLite format 3",
)
PIECES_MAX: Final = 4_096
"""More encoded runs than this in one text are padding around one that should not be seen."""


class Decoded(NamedTuple):
    """``pieces`` to scan; ``opaque``: an image, archive or the like stood among them;
    ``cut``: there was more than SCAN_BYTES_MAX or PIECES_MAX, and the rest was dropped."""

    pieces: list[Piece]
    opaque: bool
    cut: bool


def other_views(joined: Joined, triggers: frozenset[int], room: int) -> Decoded:
    """The further readings of ``joined`` that ``triggers`` ask for, up to ``room`` characters."""
    pieces: list[Piece] = []
    opaque = False
    for piece in _readings(joined, triggers):
        if piece is None:
            opaque = True
            continue
        room -= len(piece.text)
        if room < 0 or len(pieces) == PIECES_MAX:
            return Decoded(pieces, opaque, cut=True)
        pieces.append(piece)
    return Decoded(pieces, opaque, cut=False)


def _readings(joined: Joined, triggers: frozenset[int]) -> Iterator[Piece | None]:
    """None stands for content that no text scan can read."""
    if TRIGGER_CONTROL in triggers or TRIGGER_UNICODE in triggers:
        for piece in joined.pieces:
            if (reading := normalise(piece)) is not None:
                yield reading
    if TRIGGER_ESCAPE in triggers:
        yield from _unescaped(joined)
    if TRIGGER_BASE64 in triggers:
        yield from _decoded(joined)


def _decoded(joined: Joined) -> Iterator[Piece | None]:
    data = joined.data
    lines: list[re.Match[bytes]] = []  # of one encoding that is wrapped over several
    for run in _RUN.finditer(data):
        if lines and data[lines[-1].end() : run.start()] not in _LINE_BREAKS:
            yield from _unwrapped(joined, lines)
            lines = []
        if lines or _WRAPPED_MIN <= len(run.group()) <= _WRAPPED_MAX:
            lines.append(run)
        yield from _reading(joined, run.span(), "base64", _from_base64(run.group()))
        for inside in _HEX.finditer(data, *run.span()):
            decoded = bytes.fromhex(inside.group().decode("ascii"))
            yield from _reading(joined, inside.span(), "hex", decoded)
    yield from _unwrapped(joined, lines)


def _unwrapped(joined: Joined, lines: Sequence[re.Match[bytes]]) -> Iterator[Piece | None]:
    if len(lines) < 2:
        return
    start, end = lines[0].start(), lines[-1].end()
    # The last line may be too short to be a run of its own.
    rest = _LAST_LINE.match(joined.data, end)
    end = end if rest is None else rest.end()
    yield from _reading(joined, (start, end), "base64", _from_base64(joined.data[start:end]))


def _reading(
    joined: Joined, span: tuple[int, int], view: str, raw: bytes | None
) -> Iterator[Piece | None]:
    if not raw:
        return
    if len(raw) >= 64 and raw.startswith(_OPAQUE_MAGIC):
        yield None
    elif (text := _as_text(raw)) is not None:
        yield _at(joined, span, view, text)


def _unescaped(joined: Joined) -> Iterator[Piece]:
    for match in _TOKEN.finditer(joined.data):
        raw = match.group()
        if not (b"%" in raw or b"&" in raw or b"\\" in raw):
            continue
        text = unquote_to_bytes(raw).decode("utf-8", "replace")
        text = html.unescape(_JSON_ESCAPE.sub(_unescape, text)).replace("\0", "")
        if text.encode("utf-8", "surrogatepass") != raw:
            yield _at(joined, match.span(), "unescaped", text)


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match.group(1) or match.group(2), 16))


def _at(joined: Joined, span: tuple[int, int], view: str, text: str) -> Piece:
    """``text`` as a piece that stands, whole, where ``span`` is."""
    parent, start, end = joined.place(*span)
    return Piece(text, parent.segment, view, lambda _start, _end: (start, end))


def _from_base64(run: bytes) -> bytes | None:
    run = run.translate(None, _LINE_ENDS).rstrip(b"=").translate(_TO_STANDARD)
    if len(run) % 4 == 1:
        run = run[:-1]
    try:
        return base64.b64decode(run + b"=" * (-len(run) % 4), validate=True)
    except binascii.Error:
        return None


_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _as_text(raw: bytes) -> str | None:
    """``raw`` if at least nine tenths of it are text; UTF-16 of ASCII counts as text."""
    raw = raw.replace(b"\0", b"")
    if not raw or len(raw) - len(raw.translate(None, _BINARY)) > len(raw) * _BINARY_SHARE_MAX:
        return None
    text = raw.decode("utf-8", "replace")
    if text.count("\ufffd") > len(text) * _BINARY_SHARE_MAX:
        return None
    return text


def scanned_bytes(texts: Sequence[str]) -> int:
    """About how many bytes a scan of ``texts`` reads; non-ASCII text is read twice."""
    return sum(len(text) if text.isascii() else 4 * len(text) for text in texts)
