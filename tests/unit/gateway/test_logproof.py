"""A kept proof says where an entry is, and proves nothing about any other."""

from __future__ import annotations

import pytest

from gateway import checkpoint, logproof, merkle, seal
from gateway.checkpoint import Checkpoint
from gateway.errors import DocumentInvalid
from gateway.logproof import Entry, LeafType, LogProof
from gateway.roots import RoleKeys

ORIGIN = "log.example/log/acme/eu/1"
LOG = seal.Signer(b"l" * 32)
KEYS = RoleKeys({LOG.kid: LOG.public}, 1)
ENTRIES = [Entry(LeafType.RECORD, 1_700_000_000_000_000 + n, bytes([n]) * 32) for n in range(11)]


def _proof(index: int) -> LogProof:
    frontier = merkle.Frontier()
    nodes: dict[tuple[int, int], bytes] = {}
    for entry in ENTRIES:
        for level, at, digest in frontier.append(entry.leaf_hash()):
            nodes[level, at] = digest
    hashes = merkle.inclusion_proof(index, len(ENTRIES), lambda level, at: nodes[level, at])
    signed = checkpoint.write(Checkpoint(ORIGIN, len(ENTRIES), frontier.root()), [LOG])
    return LogProof(index, hashes, signed)


def test_an_entry_is_these_41_bytes() -> None:
    entry = Entry(LeafType.KEY_CERT, 0x0102030405060708, bytes(range(32)))
    assert entry.encode().hex() == "020102030405060708" + bytes(range(32)).hex()
    assert logproof.decode_entry(entry.encode()) == entry


@pytest.mark.parametrize("data", [b"", bytes(41), b"\x06" + bytes(40), b"\x01" + bytes(41)])
def test_other_bytes_are_no_entry(data: bytes) -> None:
    with pytest.raises(DocumentInvalid, match="entry"):
        logproof.decode_entry(data)


@pytest.mark.parametrize("index", range(11))
def test_each_entry_is_proved_by_its_own_proof_alone(index: int) -> None:
    proof = logproof.decode(_proof(index).encode())
    assert logproof.check(proof, ENTRIES[index], ORIGIN, KEYS).checkpoint.size == 11
    with pytest.raises(DocumentInvalid, match="another one"):
        logproof.check(proof, ENTRIES[(index + 1) % 11], ORIGIN, KEYS)


def test_the_time_of_arrival_and_the_type_are_proved_too() -> None:
    proof = _proof(4)
    entry = ENTRIES[4]
    for other in (
        Entry(entry.type, entry.received_us + 1, entry.digest),
        Entry(LeafType.EVIDENCE, entry.received_us, entry.digest),
    ):
        with pytest.raises(DocumentInvalid, match="another one"):
            logproof.check(proof, other, ORIGIN, KEYS)


def test_extra_data_is_passed_over_and_not_written() -> None:
    text = _proof(3).encode()
    extra = text.replace("index 3", "extra AAAA\nindex 3")
    assert logproof.decode(extra) == logproof.decode(text)


@pytest.mark.parametrize(
    ("find", "put"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("index 3", "index 03"),
        ("index 3", "index -3"),
        ("index 3\n", ""),
        ("index 3\n", "index 3\nAAAA\n"),
        ("\n\n", "\n"),
    ],
)
def test_another_form_is_refused(find: str, put: str) -> None:
    text = _proof(3).encode()
    assert find in text
    with pytest.raises(DocumentInvalid):
        logproof.decode(text.replace(find, put, 1))


def test_a_proof_cut_at_any_byte_proves_nothing() -> None:
    whole = _proof(5).encode().encode()
    for cut in range(len(whole)):
        with pytest.raises(DocumentInvalid):
            logproof.check(logproof.decode(whole[:cut]), ENTRIES[5], ORIGIN, KEYS)
