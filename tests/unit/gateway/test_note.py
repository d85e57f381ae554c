"""Notes are C2SP's: what others published opens here, and nothing else does."""

from __future__ import annotations

import pytest

from gateway import note, seal
from gateway.errors import DocumentInvalid
from gateway.note import NoteKey

PUBLISHED_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
PUBLISHED_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXm"
    "RKuwHjG1Yu72IneyaQM=\n"
)
"""Source: the example of C2SP signed-note."""
COSIGNED_TEXT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
)
COSIGNATURE = (
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2"
    "oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
"""Source: the example of C2SP tlog-cosignature, which names no key; its time is 1679315147."""

LOG = seal.Signer(b"l" * 32)
WITNESS = seal.Signer(b"w" * 32)
TEXT = "log.example/log/acme/eu/1\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
LOG_KEY = NoteKey("log.example/log/acme/eu/1", LOG.public)
WITNESS_KEY = NoteKey("witness.example/w1", WITNESS.public, cosigns=True)


def _signed() -> note.Note:
    return note.Note(
        TEXT,
        [
            note.sign(TEXT, LOG_KEY.name, LOG),
            note.cosign(TEXT, WITNESS_KEY.name, WITNESS, 1_700_000_000),
        ],
    )


def test_the_published_key_reads_and_writes_back() -> None:
    key = note.parse_key(PUBLISHED_KEY)
    assert (key.name, key.key_id.hex(), key.cosigns) == ("example.com/foo", "530d903a", False)
    assert key.verifier_key() == PUBLISHED_KEY


def test_the_published_note_is_signed_by_the_published_key() -> None:
    parsed = note.parse(PUBLISHED_NOTE)
    key = note.parse_key(PUBLISHED_KEY)
    assert parsed.text == "This is an example message.\n"
    assert note.signers(parsed, [key]) == [key]
    assert parsed.encode() == PUBLISHED_NOTE


def test_the_published_cosignature_is_framed_as_published() -> None:
    (line,) = note.parse_signatures(COSIGNATURE)
    assert line.name == "witness.example.com/w1"
    assert line.key_id.hex() == "8d66cf3f"
    assert int.from_bytes(line.blob[:8], "big") == 1_679_315_147
    assert len(line.blob) == 8 + 64
    assert line.line() == COSIGNATURE


def test_a_text_with_empty_lines_ends_at_the_last_one() -> None:
    text = "one\n\ntwo\n"
    parsed = note.parse(note.Note(text, [note.sign(text, "a", LOG)]).encode())
    assert parsed.text == text
    assert note.signers(parsed, [NoteKey("a", LOG.public)])


def test_log_and_witness_are_told_apart_by_their_key_ids() -> None:
    signed = _signed()
    assert note.signers(signed, [LOG_KEY, NoteKey(WITNESS_KEY.name, WITNESS.public)]) == [LOG_KEY]
    (cosigned,) = note.cosigned(signed, [WITNESS_KEY])
    assert (cosigned.name, cosigned.time) == ("witness.example/w1", 1_700_000_000)
    assert not note.cosigned(signed, [NoteKey(LOG_KEY.name, LOG.public, cosigns=True)])


def test_the_time_of_a_cosignature_is_signed() -> None:
    signed = _signed()
    line = signed.signatures[1]
    later = note.NoteSignature(line.name, line.key_id, bytes(8) + line.blob[8:])
    with pytest.raises(DocumentInvalid, match="cosignature of witness"):
        note.cosigned(note.Note(TEXT, [later]), [WITNESS_KEY])


def test_a_line_that_names_a_known_key_and_is_not_by_it_rejects_the_note() -> None:
    forged = note.sign(TEXT, LOG_KEY.name, LOG)
    other = note.Note(TEXT.replace("3", "4", 1), [forged])
    with pytest.raises(DocumentInvalid, match="not valid"):
        note.signers(other, [LOG_KEY])


def test_unknown_signers_are_passed_over() -> None:
    stranger = note.sign(TEXT, "somebody.example", WITNESS)
    assert note.signers(note.Note(TEXT, [stranger]), [LOG_KEY]) == []


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n— name\n",
        "text\n\n- name AAAAAAAA\n",
        "text\n\n— name AAAA\n",
        "text\n\n— na+me AAAAAAAA\n",
        "text\n\n— name AAAAAAAA",
        "text\n\n— name AAAAAAB=\n",
        "text\n\n—  AAAAAAAA\n",
        "te\x00xt\n\n— name AAAAAAAA\n",
        "text\r\n\n— name AAAAAAAA\n",
        "text\n\n— name QUJDQUJD=\n",
        "text\n\n" + "— name AAAAAAAA\n" * (note.SIGNATURES_MAX + 1),
        "x" * note.NOTE_BYTES_MAX + "\n\n— name AAAAAAAA\n",
    ],
)
def test_what_is_not_a_note_is_refused(broken: str) -> None:
    with pytest.raises(DocumentInvalid):
        note.parse(broken)


def test_a_note_cut_at_any_byte_is_another_note_or_none() -> None:
    whole = _signed().encode().encode()
    for cut in range(len(whole)):
        try:
            parsed = note.parse(whole[:cut])
        except DocumentInvalid:
            continue
        assert len(parsed.signatures) < 2


@pytest.mark.parametrize(
    "key",
    [
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a",
        "example.com/foo+530d903a+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_what_is_not_a_usable_verifier_key_is_refused(key: str) -> None:
    with pytest.raises(DocumentInvalid):
        note.parse_key(key)


def test_a_witness_key_reads_and_writes_back() -> None:
    assert note.parse_key(WITNESS_KEY.verifier_key()) == WITNESS_KEY
