"""A checkpoint counts with the log role's signatures, under its own origin, in its exact form."""

from __future__ import annotations

import pytest

from gateway import checkpoint, note, seal
from gateway.checkpoint import Checkpoint
from gateway.errors import DocumentInvalid
from gateway.roots import RoleKeys

ORIGIN = "log.example:4144/log/acme/eu-1/1"
FIRST, SECOND = seal.Signer(b"1" * 32), seal.Signer(b"2" * 32)
KEYS = RoleKeys({one.kid: one.public for one in (FIRST, SECOND)}, 1)
BOTH = RoleKeys(KEYS.keys, 2)
CHECKPOINT = Checkpoint(ORIGIN, 109_482, bytes(range(32)))


def test_the_text_is_these_three_lines() -> None:
    assert CHECKPOINT.text() == (
        "log.example:4144/log/acme/eu-1/1\n109482\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    )
    assert checkpoint.read(CHECKPOINT.text()) == CHECKPOINT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n5\n",
        CHECKPOINT.text() + "extension\n",
        CHECKPOINT.text().replace("109482", "0109482"),
        CHECKPOINT.text().replace("109482", "-1"),
        CHECKPOINT.text().replace("109482", str(2**53)),
        CHECKPOINT.text().replace("Hh8=", "Hh9="),
        CHECKPOINT.text().replace("Hh8=", ""),
        CHECKPOINT.text().replace(ORIGIN, ""),
    ],
)
def test_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(DocumentInvalid):
        checkpoint.read(text)


def test_it_opens_with_the_keys_of_the_role_and_to_its_threshold() -> None:
    one = checkpoint.write(CHECKPOINT, [FIRST])
    two = checkpoint.write(CHECKPOINT, [FIRST, SECOND])
    assert checkpoint.open_note(one.encode(), ORIGIN, KEYS).checkpoint == CHECKPOINT
    assert checkpoint.open_note(two, ORIGIN, BOTH).checkpoint == CHECKPOINT
    with pytest.raises(DocumentInvalid, match="1 of 2"):
        checkpoint.open_note(one, ORIGIN, BOTH)
    twice = checkpoint.write(CHECKPOINT, [FIRST, FIRST])
    with pytest.raises(DocumentInvalid, match="1 of 2"):
        checkpoint.open_note(twice, ORIGIN, BOTH)


def test_a_stranger_and_a_signature_under_another_name_do_not_count() -> None:
    stranger = checkpoint.write(CHECKPOINT, [seal.Signer(b"s" * 32)])
    renamed = note.Note(
        CHECKPOINT.text(), [note.sign(CHECKPOINT.text(), "log.example/log/other/eu-1/1", FIRST)]
    )
    for bad in (stranger, renamed):
        with pytest.raises(DocumentInvalid, match="0 of 1"):
            checkpoint.open_note(bad, ORIGIN, KEYS)


def test_another_logs_checkpoint_is_refused() -> None:
    other = checkpoint.write(Checkpoint("log.example/log/acme/us/1", 1, bytes(32)), [FIRST])
    with pytest.raises(DocumentInvalid, match="not of"):
        checkpoint.open_note(other, ORIGIN, KEYS)


def test_an_origin_names_its_place() -> None:
    place = checkpoint.place_of(ORIGIN)
    assert (place.host, place.tenant, place.region, place.number) == (
        "log.example:4144",
        "acme",
        "eu-1",
        1,
    )
    assert checkpoint.origin(place.host, place.tenant, place.region, place.number) == ORIGIN


@pytest.mark.parametrize(
    "origin",
    ["log.example/log/acme/eu", "log.example/log/acme/eu/0", "log.example/log/acme/eu/1/2", "x"],
)
def test_what_is_not_an_origin_of_ours_is_refused(origin: str) -> None:
    with pytest.raises(DocumentInvalid, match="origin"):
        checkpoint.place_of(origin)


def test_what_was_seen_is_said_in_json_form() -> None:
    seen = CHECKPOINT.seen()
    assert (seen.origin, seen.size) == (ORIGIN, 109_482)
    assert seen.root == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
