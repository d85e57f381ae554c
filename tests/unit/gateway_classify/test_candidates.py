from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.classify.candidates import Found, Matcher, without_overlaps
from gateway.classify.pack import Rule, RuleTests
from gateway.vocabulary import LEVEL_RANK, Level


def rule(level: Level = "confidential", **changes: object) -> Rule:
    members: dict[str, object] = {
        "id": "x",
        "entity": "X",
        "category": "x",
        "level": level,
        "find": "ab",
        "match": r"(?<!\d)\d{3}(?!\d)",
        "before": 4,
        "after": 4,
        "tests": RuleTests(match=("x",)),
        **changes,
    }
    return Rule(**members)  # type: ignore[arg-type]  # members are those of Rule


def test_only_the_window_is_looked_at() -> None:
    matcher = Matcher(rule())
    assert matcher.find(b"123 .......... 456", [18]).spans == [(15, 18)]
    assert matcher.find(b"123 .......... 456", [3, 18]).spans == [(0, 3), (15, 18)]
    assert matcher.find(b"123 .......... 456", []).spans == []


def test_windows_that_touch_report_a_match_once() -> None:
    assert Matcher(rule()).find(b"x 123 y", [3, 4, 5, 5, 4]).spans == [(2, 5)]


def test_a_look_behind_sees_what_stands_before_the_window() -> None:
    assert Matcher(rule(before=3)).find(b"9123", [4]).spans == []


def test_a_group_narrows_the_finding_to_the_data() -> None:
    matcher = Matcher(rule(match=r"k=(\d{3})|j=(\d{2})", before=8))
    assert matcher.find(b"k=123", [5]).spans == [(2, 5)]
    assert matcher.find(b"j=12", [4]).spans == [(2, 4)]


def test_nothing_is_found_across_two_pieces() -> None:
    assert Matcher(rule(match=r"1[^x]{0,3}2")).find(b"1\x002", [3]).spans == []
    assert Matcher(rule(match=r"1[^x]{0,3}2")).find(b"1.2", [3]).spans == [(0, 3)]


def test_a_context_word_must_stand_near_and_in_the_same_piece() -> None:
    matcher = Matcher(rule(context=("phone",), before=100, after=100))
    assert matcher.find(b"Phone: 123", [10]).spans == [(7, 10)]
    assert matcher.find(b"123 (phone)", [3]).spans == [(0, 3)]
    assert matcher.find(b"phone\x00 123", [10]).spans == []
    assert matcher.find(b"123\x00phone", [3]).spans == []
    assert matcher.find(b"phone" + b" " * 60 + b"123", [68]).spans == []
    assert matcher.find(b"xylophone 123", [13]).spans == []


def test_a_flood_of_candidates_is_cut_and_said() -> None:
    text = b"123 " * (limits.SCAN_CANDIDATES_PER_RULE_MAX + 1)
    found = Matcher(rule()).find(text, range(4, len(text), 4))
    assert found.saturated
    assert len(found.spans) == limits.SCAN_CANDIDATES_PER_RULE_MAX
    exact = text[:-4]
    assert not Matcher(rule()).find(exact, range(4, len(exact), 4)).saturated


def test_of_two_that_overlap_the_higher_level_stays() -> None:
    rules = [rule("confidential"), rule("restricted"), rule("confidential")]
    low, high = Found(0, 0, 10), Found(1, 5, 7)
    assert without_overlaps([low, high], rules) == [high]
    assert without_overlaps([Found(0, 0, 4), Found(2, 2, 9)], rules) == [Found(0, 0, 4)]
    assert without_overlaps([Found(0, 0, 4), Found(0, 4, 9)], rules) == [
        Found(0, 0, 4),
        Found(0, 4, 9),
    ]


def test_a_stronger_check_takes_in_what_it_contains_whole() -> None:
    rules = [rule("confidential", id="whole", contains=("part",)), rule("restricted", id="part")]
    whole = Found(0, 0, 10)
    assert without_overlaps([whole, Found(1, 2, 10)], rules) == [whole]
    assert without_overlaps([whole, Found(1, 2, 11)], rules) == [Found(1, 2, 11)]


SPANS = st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 9)).map(
    lambda one: Found(one[0], one[1], one[1] + one[2])
)


@given(st.lists(SPANS, max_size=20))
def test_what_stays_never_overlaps_and_never_loses_the_highest_level(found: list[Found]) -> None:
    levels: list[Level] = ["internal", "restricted", "confidential"]
    rules = [rule(level) for level in levels]
    kept = without_overlaps(found, rules)
    assert all(a.end <= b.start for a, b in pairwise(kept))
    assert set(kept) <= set(found)
    for one in found:
        rivals = [k for k in kept if k.start < one.end and one.start < k.end]
        assert any(LEVEL_RANK[levels[k.rule]] >= LEVEL_RANK[levels[one.rule]] for k in rivals)
