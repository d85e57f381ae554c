from __future__ import annotations

import base64
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify import views
from gateway.classify.scanner import compile_scanner
from gateway.classify.views import PLAIN, Joined, Piece, identity, join, normalise, other_views

ALL = frozenset(range(len(views.TRIGGERS)))


def piece(text: str) -> Piece:
    return Piece(text, 0, PLAIN, identity)


def joined(*texts: str) -> Joined:
    pieces = [Piece(text, index, PLAIN, identity) for index, text in enumerate(texts)]
    return Joined(pieces, join(texts))


def readings(text: str) -> list[str]:
    return [one.text for one in other_views(joined(text), ALL, 1 << 20).pieces]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("4\u200b1\u200d1", "411"),
        ("s\u00adk", "sk"),
        ("\u202e41\u202c", "41"),
        ("４１＠ａ．ｂ", "41@a.b"),
        ("٤١١", "411"),
        ("𝟒𝟏𝐀", "41A"),
        ("АКІА", "AKIA"),
        ("4\u03361", "41"),
        ("4\U000e00311", "41"),
        ("4111\u00a01111\u20111111", "4111 1111-1111"),
        ("\x014\x7f1", "41"),
        ("4\x001", "41"),
        ("②③", "23"),
    ],
)
def test_hidden_and_look_alike_characters_are_undone(text: str, plain: str) -> None:
    reading = normalise(piece(text))
    assert reading is not None
    assert reading.text == plain


@pytest.mark.parametrize("text", ["plain\ttext\r\n", "café Übergrößen – “x” …€", "日本語。", ""])
def test_ordinary_text_has_no_other_reading(text: str) -> None:
    reading = normalise(piece(text))
    assert reading is None or reading.text.replace("-", "–").replace("...", "…") == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_the_way_back_from_a_normalised_text_is_exact(text: str) -> None:
    reading = normalise(piece(text))
    if reading is None:
        return
    for start in range(len(reading.text)):
        low, high = reading.locate(start, start + 1)
        assert 0 <= low < high <= len(text)
        folded = normalise(piece(text[low:high]))
        seen = text[low:high] if folded is None else folded.text
        assert reading.text[start] in seen
    if reading.text:
        low, high = reading.locate(0, len(reading.text))
        whole = normalise(piece(text[low:high]))
        assert reading.text == (text[low:high] if whole is None else whole.text)


def test_whatever_normalising_changes_in_digits_and_letters_triggers_it() -> None:
    """The trigger pattern and the folding table must not drift apart."""
    scanner = compile_scanner(views.TRIGGERS)
    silent = []
    for code in (*range(0x80, 0xD800), *range(0xF900, 0x20000), *range(0xE0000, 0xE0200)):
        character = chr(code)
        if unicodedata.category(character) in ("Cn", "Lo"):
            continue
        folded = views._folds[code]
        hides = folded == "" or (folded.isascii() and folded.isalnum())
        if hides and not scanner.scan(f"4{character}1".encode()).hits:
            silent.append(f"U+{code:04X} {unicodedata.name(character, '?')} -> {folded!r}")
    assert silent == []


@pytest.mark.parametrize("size", range(18, 60))
def test_base64_of_any_length_and_alphabet_is_read(size: int) -> None:
    secret = ("jane.doe?>~@corp.test " * 4)[:size]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(secret.encode()).decode()
        assert secret in readings(f"see {encoded} there")
        assert secret in readings(f"see {encoded.rstrip('=')} there")


def test_wrapped_base64_is_read_as_one_and_prose_after_it_does_no_harm() -> None:
    secret = "x" * 70 + " jane@corp.test " + "y" * 70
    wrapped = base64.encodebytes(secret.encode()).decode()
    assert secret in readings(f"body:\n{wrapped}\nthanks")
    assert secret in readings(f"body:\n{wrapped}".replace("\n", "\r\n"))


def test_utf16_and_hex_are_read() -> None:
    assert "jane@corp.test!" in readings(
        base64.b64encode("jane@corp.test!".encode("utf-16-le")).decode()
    )
    assert "jane@corp.test, hello" in readings(b"jane@corp.test, hello".hex())
    assert "jane@corp.test, hello" in readings(b"jane@corp.test, hello".hex().upper())


def test_random_bytes_are_neither_text_nor_opaque() -> None:
    noise = base64.b64encode(bytes(range(1, 250, 3))).decode()
    decoded = other_views(joined(noise), ALL, 1 << 20)
    assert [one.text for one in decoded.pieces] == []
    assert not decoded.opaque


@pytest.mark.parametrize("magic", [b"\x89PNG\r\n", b"%PDF-1.7", b"PK\x03\x04", b"\x1f\x8b\x08"])
def test_an_archive_or_image_in_the_text_is_opaque(magic: bytes) -> None:
    encoded = base64.b64encode(magic + b"\x00\x9c" * 60).decode()
    assert other_views(joined(f"here: {encoded}"), ALL, 1 << 20).opaque


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("jane%40corp.test", "jane@corp.test"),
        ("jane&#64;corp.test", "jane@corp.test"),
        ("jane&commat;corp.test", "jane@corp.test"),
        ("jane\\u0040corp.test", "jane@corp.test"),
        ("jane\\x40corp.test", "jane@corp.test"),
    ],
)
def test_escapes_are_undone(text: str, plain: str) -> None:
    assert plain in readings(f"to {text} now")


def test_a_decoded_piece_stands_where_its_code_stood() -> None:
    encoded = base64.b64encode(b"jane.doe@corp.test").decode()
    [one] = other_views(joined("first", f"é {encoded} end"), ALL, 1 << 20).pieces[-1:]
    assert (one.segment, one.locate(3, 5)) == (1, (2, 2 + len(encoded)))


def test_more_decoded_text_than_the_room_is_cut_and_said() -> None:
    encoded = base64.b64encode(b"a" * 300).decode()
    assert not other_views(joined(encoded), ALL, 300).cut
    assert other_views(joined(encoded), ALL, 299).cut
    runs = " ".join([base64.b64encode(b"twenty characters ok").decode()] * (views.PIECES_MAX + 1))
    assert other_views(joined(runs), ALL, 1 << 20).cut


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.data())
def test_every_byte_range_leads_back_to_its_characters(
    texts: list[str], data: st.DataObject
) -> None:
    texts = [text.replace("\0", "") for text in texts]
    whole = joined(*texts)
    index = data.draw(st.integers(0, len(texts) - 1))
    low = data.draw(st.integers(0, len(texts[index])))
    high = data.draw(st.integers(low, len(texts[index])))
    before = len(join(texts[:index])) + (1 if index else 0)
    start = before + len(texts[index][:low].encode("utf-8", "surrogatepass"))
    end = start + len(texts[index][low:high].encode("utf-8", "surrogatepass"))
    found, at_low, at_high = whole.place(start, end)
    assert (found.segment, at_low, at_high) == (index, low, high)


@given(st.text(max_size=200))
def test_no_text_breaks_a_reading(text: str) -> None:
    other_views(joined(text), ALL, 1 << 20)
