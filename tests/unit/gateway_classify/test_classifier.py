from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import labelled
from gateway import limits
from gateway.call import Label, Segment
from gateway.classify.classifier import Classifier, Finding, prefers_thread
from gateway.classify.scanner import Scan, Scanner
from gateway.io.packs import read_core_pack
from gateway.vocabulary import LEVEL_RANK

FIRST_RULE = read_core_pack().split(b"[[rules]]", 2)[:2]
SMALL = b"[[rules]]".join(FIRST_RULE)
CARD = "4111 1111 1111 1111"


def segment(text: str, pointer: str = "/messages/0/content") -> Segment:
    return Segment(pointer, "user", "text", text)


def label(core: Classifier, *texts: str) -> Label:
    return core.classify([segment(text) for text in texts], ())


def findings(core: Classifier, *texts: str) -> tuple[Finding, ...]:
    return core.analyse([segment(text, f"/{i}") for i, text in enumerate(texts)], ()).findings


def test_a_text_without_findings_is_internal_because_nothing_proves_it_public(
    core: Classifier,
) -> None:
    expected = Label(level="internal", categories=(), completeness="full", classifier="core@1")
    assert label(core, "What are my options?") == expected
    assert core.classify([], ()) == expected


def test_levels_join_to_the_highest_and_categories_to_the_union(core: Classifier) -> None:
    both = label(core, f"card {CARD}", "mail jane@corp.test")
    assert (both.level, both.categories) == ("restricted", ("pci.card", "pii.email"))
    assert label(core, "mail jane@corp.test").level == "confidential"
    assert label(core, "at 10.1.2.3").level == "internal"


@given(st.lists(st.sampled_from([CARD, "jane@corp.test", "hello", "10.1.2.3"]), max_size=4))
def test_more_text_never_lowers_a_label(core: Classifier, texts: list[str]) -> None:
    less, more = label(core, *texts[:-1]), label(core, *texts)
    assert LEVEL_RANK[more.level] >= LEVEL_RANK[less.level]
    assert set(more.categories) >= set(less.categories)


def test_content_that_cannot_be_scanned_is_opaque(core: Classifier) -> None:
    seen = core.classify([segment("hello")], ("/messages/0/content/1",))
    assert (seen.level, seen.completeness) == ("internal", "opaque")
    assert core.classify([segment(CARD)], ("/x",)).completeness == "opaque"
    zipped = base64.b64encode(b"PK\x03\x04" + bytes(90)).decode()
    assert label(core, f"unpack {zipped}").completeness == "opaque"


def test_a_finding_names_its_place_and_never_its_value(core: Classifier) -> None:
    [found] = findings(core, "hello", f"é {CARD}.")
    assert (found.rule, found.entity, found.pointer) == ("pci.card", "CREDIT_CARD", "/1")
    assert (found.start, found.end, found.view) == (2, 21, "plain")
    assert CARD not in repr(found)


def test_digits_of_an_iban_are_no_card(core: Classifier) -> None:
    assert label(core, "DE37 6585 8348 4688 5228 19").categories == ("pii.iban",)


def test_nothing_is_found_across_two_segments(core: Classifier) -> None:
    assert label(core, "4111 1111 ", "1111 1111").categories == ()


@pytest.mark.parametrize("name", list(labelled.DISGUISES))
def test_data_in_a_hidden_form_is_found(core: Classifier, name: str) -> None:
    for _, documents in (form for form in labelled.disguised(16) if form[0] == name):
        for document in documents:
            entities = {found.entity for found in findings(core, document.text)}
            assert document.spans[0][0] in entities, document.text


def test_a_disguise_raises_the_level_by_one_and_typography_does_not(core: Classifier) -> None:
    plain = "jane.doe@corp.test"
    hidden = "\u200b".join(plain)
    assert label(core, f"to {plain}").level == "confidential"
    assert label(core, f"to {hidden}").level == "restricted"
    [found] = findings(core, f"to {hidden} now")
    assert (found.start, found.end, found.disguised) == (3, 3 + len(hidden), True)
    assert label(core, "IBAN DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000").level == (
        "confidential"
    )
    assert label(core, f"привет {plain} как дела").level == "confidential"


def test_decoding_stops_at_a_depth_and_does_not_claim_more(core: Classifier) -> None:
    coded = f"the number is {CARD} ok"
    for depth in range(1, 4):
        coded = base64.b64encode(coded.encode()).decode()
        assert bool(findings(core, coded)) is (depth <= 2)


def test_text_over_the_bound_is_partial_and_what_was_read_counts(core: Classifier) -> None:
    padding = "word " * (limits.SCAN_BYTES_MAX // 5 + 1)
    late = label(core, padding, CARD)
    assert (late.level, late.completeness) == ("internal", "partial")
    early = label(core, CARD, padding)
    assert (early.level, early.completeness) == ("restricted", "partial")
    assert label(core, "é" * limits.SCAN_BYTES_MAX).completeness == "partial"
    exact = ("word " * (limits.SCAN_BYTES_MAX // 5 + 1))[: limits.SCAN_BYTES_MAX]
    assert label(core, exact).completeness == "full"


def test_a_flood_of_near_misses_counts_as_a_finding(core: Classifier) -> None:
    near = " x ".join(["4111111111111112"] * (limits.SCAN_CANDIDATES_PER_RULE_MAX + 1))
    flooded = label(core, near)
    assert (flooded.level, flooded.completeness) == ("restricted", "partial")
    assert flooded.categories == ("pci.card",)


def test_a_fault_of_the_engine_is_never_an_empty_finding(core: Classifier) -> None:
    class Broken(Scanner):
        def scan(self, text: bytes) -> Scan:
            raise RuntimeError("engine fault")

    broken = Classifier.load(SMALL)
    broken._scanner = Broken.__new__(Broken)
    with pytest.raises(RuntimeError, match="engine fault"):
        broken.classify([segment("hello")], ())


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb jane@corp.test", "\0", "\0\0", "\ufffe", ""])
def test_odd_text_is_scanned_like_any_other(core: Classifier, text: str) -> None:
    assert bool(findings(core, text)) is ("jane" in text)


@given(st.text(max_size=300))
def test_no_text_breaks_the_classifier(core: Classifier, text: str) -> None:
    for found in findings(core, text):
        assert 0 <= found.start < found.end <= len(text)


def test_the_generated_set_is_labelled_right(core: Classifier) -> None:
    for document in labelled.documents(400):
        found = findings(core, document.text)
        wanted = {(entity, start, end) for entity, start, end in document.spans}
        seen = {(f.entity, f.start, f.end) for f in found if f.level != "internal"}
        assert seen == wanted, document.text


def test_the_same_seed_generates_the_same_set() -> None:
    assert labelled.documents(40) == labelled.documents(40)
    assert labelled.documents(40) != labelled.documents(40, seed=9)


def test_text_made_to_be_slow_is_not(core: Classifier) -> None:
    """Generous: the point is to notice work that grows with the square of the text."""
    for name, text in labelled.adversarial(16_000):
        begin = time.perf_counter()
        core.classify([segment(text)], ())
        assert time.perf_counter() - begin < 0.5, name


def test_much_text_goes_to_a_thread() -> None:
    assert not prefers_thread([segment("x" * limits.SCAN_ON_LOOP_BYTES_MAX)])
    assert prefers_thread([segment("x" * limits.SCAN_ON_LOOP_BYTES_MAX), segment("x")])
    assert prefers_thread([segment("я" * (limits.SCAN_ON_LOOP_BYTES_MAX // 2))])


class Memory:
    """A cache that keeps everything and counts."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.reads = 0

    def read(self, key: str) -> bytes | None:
        self.reads += 1
        return self.kept.get(key)

    def write(self, key: str, database: bytes) -> None:
        self.kept[key] = database


def test_a_compiled_pack_is_kept_and_used_again_and_damage_costs_a_compilation() -> None:
    cache = Memory()
    first = Classifier.load(SMALL, cache)
    assert len(cache.kept) == 1
    again = Classifier.load(SMALL, cache)
    assert label(again, CARD) == label(first, CARD)
    [key] = cache.kept
    cache.kept[key] = b"damaged"
    assert label(Classifier.load(SMALL, cache), CARD).level == "restricted"
    assert cache.kept[key] != b"damaged"
    Classifier.load(SMALL + b"\n# changed\n", cache)
    assert len(cache.kept) == 2
