"""A witness cosigns what follows from what it cosigned, and answers as C2SP tlog-witness says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import checkpoint, merkle, note, seal, witness
from gateway.checkpoint import Checkpoint
from gateway.errors import DocumentInvalid
from gateway.merkle import Frontier
from gateway.note import Note, NoteKey, NoteSignature
from gateway.witness import AddCheckpoint, Known, LogKeys, NotCosigned

ORIGIN = "log.example/log/acme/eu/1"
LOG, SECOND, WITNESS, STRANGER = (seal.Signer(bytes([at]) * 32) for at in (1, 2, 3, 4))
KEY = NoteKey("witness.example/w", WITNESS.public, cosigns=True)
LOGS = {ORIGIN: LogKeys((NoteKey(ORIGIN, LOG.public),))}
PUBLISHED = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q\
1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V626\
7UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""
"""Source: the example of C2SP tlog-witness."""


class Tree:
    """A log in memory, and every node of it."""

    def __init__(self, *entries: bytes) -> None:
        self._frontier = Frontier()
        self._nodes: dict[tuple[int, int], bytes] = {}
        self.roots = [merkle.EMPTY_ROOT]
        for entry in entries:
            for level, index, digest in self._frontier.append(merkle.leaf_hash(entry)):
                self._nodes[level, index] = digest
            self.roots.append(self._frontier.root())

    def node(self, level: int, index: int) -> bytes:
        return self._nodes[level, index]

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(ORIGIN, size, self.roots[size])

    def known(self, size: int) -> Known:
        return Known(size, self.roots[size])

    def request(self, old: int, size: int, *signers: seal.Signer) -> AddCheckpoint:
        proof = merkle.consistency_proof(old, size, self.node) if old <= size else []
        return AddCheckpoint(old, proof, checkpoint.write(self.checkpoint(size), signers or [LOG]))


HONEST = Tree(*(bytes([at]) for at in range(20)))
REWRITTEN = Tree(*(bytes([at + (at == 5)]) for at in range(20)))


def _judged(request: AddCheckpoint, known: Known, logs: dict[str, LogKeys] = LOGS) -> None:
    witness.check(request, witness.opened(request, logs), known)


def _refused(request: AddCheckpoint, known: Known, logs: dict[str, LogKeys] = LOGS) -> NotCosigned:
    with pytest.raises(NotCosigned) as refused:
        _judged(request, known, logs)
    return refused.value


def test_the_published_request_is_read_and_written_back_to_the_byte() -> None:
    request = witness.decode(PUBLISHED.encode())
    assert (request.old_size, len(request.proof), len(request.note.signatures)) == (20852014, 4, 2)
    assert request.encode() == PUBLISHED.encode()
    assert witness.read(request.note.text).size == 20852163


def test_every_size_follows_from_every_smaller_one() -> None:
    for old in range(21):
        for size in range(old, 21):
            request = witness.decode(HONEST.request(old, size).encode())
            _judged(request, HONEST.known(old))


def test_a_history_that_was_rewritten_is_never_cosigned() -> None:
    """Leaf 5 is another one: sizes up to 5 agree, and none above does."""
    for old in range(6, 20):
        refused = _refused(REWRITTEN.request(old, old + 1), HONEST.known(old))
        assert (refused.status, refused.contradicts, refused.size) == (422, True, None)
        refused = _refused(REWRITTEN.request(old, old), HONEST.known(old))
        assert (refused.status, refused.contradicts, refused.size) == (409, True, old)
    _judged(REWRITTEN.request(5, 20), HONEST.known(5))


def test_a_proof_that_is_of_another_form_is_refused_and_is_no_contradiction() -> None:
    request = HONEST.request(7, 12)
    longer = AddCheckpoint(7, [*request.proof, bytes(32)], request.note)
    assert (_refused(longer, HONEST.known(7)).status, longer.old_size) == (422, 7)
    assert not _refused(longer, HONEST.known(7)).contradicts
    from_nothing = AddCheckpoint(0, [bytes(32)], request.note)
    assert _refused(from_nothing, witness.NOTHING).status == 422


def test_another_size_than_the_last_is_told_the_last() -> None:
    for old in (0, 6, 8, 12):
        refused = _refused(HONEST.request(old, 12), HONEST.known(7))
        assert (refused.status, refused.size, refused.contradicts) == (409, 7, False)


def test_a_log_that_nobody_named_is_not_found() -> None:
    assert _refused(HONEST.request(0, 5), witness.NOTHING, {}).status == 404


def test_only_the_keys_of_the_log_count_and_as_many_as_are_wanted() -> None:
    assert _refused(HONEST.request(0, 5, STRANGER), witness.NOTHING).status == 403
    forged = HONEST.request(0, 5)
    line = forged.note.signatures[0]
    broken = NoteSignature(line.name, line.key_id, line.blob[:-1] + bytes([line.blob[-1] ^ 1]))
    assert (
        _refused(AddCheckpoint(0, [], Note(forged.note.text, [broken])), witness.NOTHING).status
        == 403
    )
    two = {ORIGIN: LogKeys((NoteKey(ORIGIN, LOG.public), NoteKey(ORIGIN, SECOND.public)), 2)}
    assert _refused(HONEST.request(0, 5), witness.NOTHING, two).status == 403
    assert _refused(HONEST.request(0, 5, LOG, LOG), witness.NOTHING, two).status == 403
    _judged(HONEST.request(0, 5, LOG, STRANGER, SECOND), witness.NOTHING, two)


def test_a_checkpoint_below_the_old_size_is_a_bad_request() -> None:
    assert _refused(HONEST.request(9, 5), HONEST.known(9)).status == 400


def test_extension_lines_are_cosigned_and_an_empty_one_is_not() -> None:
    text = HONEST.checkpoint(3).text()
    for more, good in (("extra\n", True), ("extra\nmore\n", True), ("extra\n\nmore\n", False)):
        signed = Note(text + more, [note.sign(text + more, ORIGIN, LOG)])
        request = witness.decode(AddCheckpoint(0, [], signed).encode())
        if good:
            _judged(request, witness.NOTHING)
        else:
            assert _refused(request, witness.NOTHING).status == 400


@pytest.mark.parametrize(
    "change",
    [
        ("old 20852014\n", "old 020852014\n"),
        ("old 20852014\n", "old -1\n"),
        ("old 20852014\n", "old  20852014\n"),
        ("old 20852014\n", "old\n"),
        ("old 20852014\n", ""),
        ("old 20852014\n", "old 99999999999999999\n"),
        ("old 20852014\n", "old ٣\n"),
        ("PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=", "PlRN"),
        ("PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=", "nonsense"),
        ("pkaw=\n", "pkax=\n"),
        ("j/0=\n\n", "j/0=\n"),
        ("\n\n— ", "\n— "),
        (
            "old 20852014\n",
            "old 20852014\n" + "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n" * 60,
        ),
        ("old 20852014\n", "old 20852014\r\n"),
    ],
)
def test_a_request_of_another_form_is_refused(change: tuple[str, str]) -> None:
    assert change[0] in PUBLISHED
    with pytest.raises(DocumentInvalid):
        witness.decode(PUBLISHED.replace(*change, 1).encode())


@given(st.binary(max_size=400))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    with pytest.raises(DocumentInvalid):
        witness.decode(body)


@given(st.data())
def test_a_damaged_request_is_refused_or_says_what_it_says(data: st.DataObject) -> None:
    """Whatever is read is written back to the byte: nothing is passed over."""
    raw = bytearray(HONEST.request(7, 12).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        request = witness.decode(bytes(raw))
    except DocumentInvalid:
        return
    assert request.encode() == bytes(raw)
    try:
        _judged(request, HONEST.known(7))
    except NotCosigned:
        return
    # The line of a key that nobody knows may have been changed; what counts is the same.
    assert request.note.text == HONEST.checkpoint(12).text()


def test_a_cosignature_counts_only_if_it_is_of_this_text_by_this_key() -> None:
    text = HONEST.checkpoint(3).text()
    good = note.cosign(text, KEY.name, WITNESS, 1_700_000_000)
    other = note.cosign(text, "other.example/w", STRANGER, 1_700_000_001)
    answer = (other.line() + good.line()).encode()
    assert witness.cosignature(text, answer, KEY) == (good, 1_700_000_000)
    for bad in (
        other.line().encode(),
        note.cosign(HONEST.checkpoint(4).text(), KEY.name, WITNESS, 1).line().encode(),
        NoteSignature(good.name, good.key_id, bytes(8) + good.blob[8:]).line().encode(),
        note.sign(text, KEY.name, WITNESS).line().encode(),
        b"",
        b"\xff\n",
        b"ok\n",
    ):
        with pytest.raises(DocumentInvalid):
            witness.cosignature(text, bad, KEY)


def test_the_size_of_a_conflict_is_a_number_and_a_newline() -> None:
    assert witness.size_of(b"20852014\n") == 20852014
    for bad in (b"7", b"07\n", b"", b"\n", b"7\n7\n", b"-7\n", b"9" * 17 + b"\n", b"7\r\n"):
        with pytest.raises(DocumentInvalid):
            witness.size_of(bad)
