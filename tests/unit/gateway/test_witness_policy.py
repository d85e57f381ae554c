"""A policy says which witnesses are enough, and says it in one way only."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import seal, witness_policy
from gateway.errors import DocumentInvalid
from gateway.note import NoteKey


def vkey(number: int, *, cosigns: bool = True) -> str:
    name = f"witness.example/{number}" if cosigns else f"log.example/{number}"
    return NoteKey(name, seal.Signer(bytes([number]) * 32).public, cosigns).verifier_key()


SIX = "".join(f"witness {name} {vkey(at)}\n" for at, name in enumerate("abcxyz", 1))
TWO_LEVELS = (
    f"# two of one house, any of the other\nlog {vkey(9, cosigns=False)} https://log.example/\n"
    f"\n{SIX}group X 2 a b c\n\tgroup  Y any x\ty z \ngroup all-of-it all X Y\nquorum all-of-it\n"
)
"""The example of C2SP tlog-policy."""


def _parse(text: str) -> witness_policy.Policy:
    return witness_policy.parse(text.encode())


def test_the_published_example_asks_for_two_of_one_group_and_one_of_the_other() -> None:
    policy = _parse(TWO_LEVELS)
    for count in range(7):
        for chosen in itertools.combinations("abcxyz", count):
            enough = len({*chosen} & {*"abc"}) >= 2 and bool({*chosen} & {*"xyz"})
            assert policy.met(chosen) == enough, chosen
    assert [one.name for one in policy.witnesses] == list("abcxyz")
    assert [one.name for one in policy.logs] == ["log.example/9"]


def test_one_witness_is_a_quorum_and_so_is_nobody_where_none_is_asked() -> None:
    policy = _parse(f"witness w {vkey(1)} https://w.example/api\nquorum w\n")
    assert (policy.met(["w"]), policy.met([]), policy.met(["v"])) == (True, False, False)
    assert policy.witnesses[0].url == "https://w.example/api"
    assert _parse("quorum none").met([])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "0 quorum lines"),
        ("quorum none\nquorum none\n", "2 quorum lines"),
        ("quorum w\n", "line 1: nothing above is named 'w'"),
        (f"quorum w\nwitness w {vkey(1)}\n", "line 1"),
        (f"witness none {vkey(1)}\nquorum none\n", "taken"),
        (f"witness w {vkey(1)}\nwitness w {vkey(2)}\nquorum w\n", "taken"),
        (f"witness w {vkey(1)}\nwitness v {vkey(1)}\nquorum w\n", "stands there twice"),
        (f"witness w {vkey(1, cosigns=False)}\nquorum w\n", "not a witness's"),
        (f"log {vkey(1)}\nquorum none\n", "not a log's"),
        ("witness w nonsense\nquorum none\n", "line 1"),
        (f"{SIX}group g 3 a b\nquorum g\n", "3 of 2 members"),
        (f"{SIX}group g 0 a b\nquorum g\n", "neither a number"),
        (f"{SIX}group g 01 a b\nquorum g\n", "neither a number"),
        (f"{SIX}group g any\nquorum g\n", "not known"),
        (f"{SIX}group g any g\nquorum g\n", "nothing above is named 'g'"),
        (f"{SIX}group g any none\nquorum g\n", "nothing above is named 'none'"),
        (f"{SIX}group g any a a\nquorum g\n", "second time"),
        (f"{SIX}group g any a\ngroup h all a b\nquorum h\n", "second time"),
        ("quorum none \x00\n", "control characters"),
        ("quorum none\r\n", "control characters"),
        ("vote none\nquorum none\n", "'vote'"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_cause(text: str, cause: str) -> None:
    with pytest.raises(DocumentInvalid, match=cause) as refused:
        _parse(text)
    assert refused.value.reason == "policy"


def test_as_many_witnesses_as_are_recommended_are_taken_and_no_more() -> None:
    lines = [f"witness w{at} {vkey(at)}\n" for at in range(1, witness_policy.LINES_MAX + 2)]
    assert len(_parse("".join(lines[:-1]) + "quorum w1\n").witnesses) == witness_policy.LINES_MAX
    with pytest.raises(DocumentInvalid, match="more than 32 witnesses"):
        _parse("".join(lines) + "quorum w1\n")


@given(st.binary(max_size=200) | st.text("logwitnes grup quorm anyone123\n#\t", max_size=200))
def test_whatever_stands_in_the_file_is_read_or_refused(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    try:
        policy = witness_policy.parse(raw)
    except DocumentInvalid:
        return
    assert policy.quorum is None, "no key can be guessed"
