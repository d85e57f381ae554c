from __future__ import annotations

import pytest

from gateway.call import Segment
from gateway.classify.classifier import Classifier
from gateway.classify.pack import BREAK, read_pack
from gateway.errors import ConfigInvalid
from gateway.io.packs import read_core_pack
from gateway.vocabulary import LEVEL_RANK

RULE = r"""
name = "small"
version = 3
rules_schema = 1
[[rules]]
id = "x.word"
entity = "WORD"
category = "x.word"
level = "confidential"
find = 'zebra\d'
match = '(?<![a-z])zebra\d{1,4}'
tests.match = ["a zebra7"]
tests.no_match = ["zebra", "azebra7"]
"""


def changed(old: str, new: str) -> bytes:
    assert old in RULE
    return RULE.replace(old, new).encode()


def test_a_pack_names_itself_and_its_digest() -> None:
    pack, digest = read_pack(RULE.encode())
    assert (pack.name, pack.version) == ("small", 3)
    assert len(digest) == 64
    assert digest != read_pack(RULE.encode() + b"\n")[1]
    assert Classifier.load(RULE.encode()).name == "small@3"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"a zebra7"', '"a horse7"', r"x\.word.*match\[0\]"),
        ('"azebra7"', '"b zebra7"', r"x\.word.*no_match\[1\]"),
        (r"zebra\d{1,4}", r"zebra\d+", "unbounded"),
        (r"zebra\d{1,4}", r"zebra\d{1,}", "unbounded"),
        (r"zebra\d{1,4}", r"zebra\d*", "unbounded"),
        (r"zebra\d{1,4}", r"zebra(\d{1,4}", "match"),
        (r"'zebra\d'", r"'zebra(\d'", "compile"),
        (r"'zebra\d'", r"'(?<=x)zebra'", "compile"),
        ('id = "x.word"', 'id = "x.word"\nchecks = ["nothing"]', "nothing"),
        ('id = "x.word"', 'id = "x.word"\ncarve = "wood"', "wood"),
        ('id = "x.word"', 'id = "x.word"\ncontains = ["x.other"]', r"x\.other"),
        ('id = "x.word"', 'id = "x.word"\nunknown = 1', "unknown"),
        ('"confidential"', '"secret"', "level"),
        ('category = "x.word"', 'category = "X Word"', "category"),
        ("rules_schema = 1", "rules_schema = 2", "rules_schema"),
        ("version = 3", "version = 0", "version"),
        ('tests.match = ["a zebra7"]', "tests.match = []", "no test"),
        ("[[rules]]", "[[rules", "rule pack"),
        ("zebra7", "zebra7\x00", "rule pack"),
    ],
)
def test_a_pack_that_is_not_right_is_refused_with_the_reason(
    old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        Classifier.load(changed(old, new))


def test_one_rule_twice_is_refused() -> None:
    again = RULE[RULE.index("[[rules]]") :]
    with pytest.raises(ConfigInvalid, match="twice"):
        read_pack((RULE + again).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"x" * (1024 * 1024 + 1)])
def test_bytes_that_are_no_pack_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigInvalid, match="rule pack"):
        read_pack(data)


def test_an_escaped_or_possessive_repeat_is_not_taken_for_an_unbounded_one() -> None:
    read_pack(changed(r"zebra\d{1,4}", r"zebra\+[*+]\\{0,2}\d{1,4}+"))
    with pytest.raises(ConfigInvalid, match="unbounded"):
        read_pack(changed(r"zebra\d{1,4}", r"zebra\\+"))


def test_every_rule_of_the_shipped_pack_has_tests_both_ways_or_says_what_it_is() -> None:
    pack, _ = read_pack(read_core_pack())
    for rule in pack.rules:
        assert rule.tests.match, rule.id
        assert LEVEL_RANK[rule.level] >= LEVEL_RANK["internal"], rule.id
        assert rule.category.startswith(("pii.", "pci.", "secret.", "net.")), rule.id


def test_no_secret_shaped_string_stands_in_the_shipped_pack(core: Classifier) -> None:
    text = read_core_pack().decode()
    assert BREAK in text
    for line in text.splitlines():
        if not line.lstrip().startswith(("tests.", '"')):
            continue
        found = core.analyse([Segment("", "", "text", line)], ()).findings
        certain = [f for f in found if f.level == "restricted" and f.category != "pci.card"]
        harmless = {"pii.us_ssn", "secret.google", "secret.url_credentials", "secret.generic"}
        assert [f.rule for f in certain if f.category not in harmless] == [], line
