"""The closed lists, said again by hand: a word can only be added on purpose."""

from __future__ import annotations

import re

import msgspec
import pytest

from gateway import vocabulary as words
from gateway.errors import CODES
from tests.goldens import hold

LISTS = {
    "assurance": words.ASSURANCES,
    "level": frozenset(words.LEVELS),
    "completeness": words.COMPLETENESSES,
    "outcome": words.OUTCOMES,
    "stage": words.STAGES,
    "topology": words.TOPOLOGIES,
    "attested_by": words.ATTESTATIONS,
    "policy_state": words.POLICY_STATES,
    "record_commit": words.RECORD_COMMITS,
    "completion_outcome": words.COMPLETION_OUTCOMES,
    "exception_code": words.EXCEPTION_CODES,
    "instance_state": words.INSTANCE_STATES,
    "clock_source": words.CLOCK_SOURCES,
    "operation": words.OPERATIONS,
    "absence_reason": words.ABSENCE_REASONS,
    "start_reason": words.START_REASONS,
    "decision_reason": words.DECISION_REASONS,
}


def test_the_lists_are_golden() -> None:
    lists = {name: sorted(known) for name, known in LISTS.items()}
    lists["level"] = list(words.LEVELS)
    hold("vocabulary.json", msgspec.json.format(msgspec.json.encode(lists), indent=1) + b"\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("assurance", "delegated user_token workload none"),
        ("completeness", "full partial opaque"),
        ("outcome", "allow deny approval_required error_closed error_open"),
        ("stage", "request response server"),
        ("topology", "sidecar inline regional tenant central"),
        ("attested_by", "uds_uid tcp_uid local_token mtls jwt_svid k8s_sa"),
        ("policy_state", "empty fresh stale expired locked"),
        ("record_commit", "before_forward before_response"),
        (
            "completion_outcome",
            "ok upstream_error client_abort response_blocked timeout shutdown",
        ),
        ("exception_code", "duplicate rejected fork sealed retry"),
    ],
)
def test_a_list_is_that_of_the_format(name: str, expected: str) -> None:
    assert LISTS[name] == set(expected.split())


def test_levels_are_ordered() -> None:
    assert words.LEVELS == ("public", "internal", "confidential", "restricted")
    assert [words.LEVEL_RANK[level] for level in words.LEVELS] == [0, 1, 2, 3]


def test_a_text_without_finding_is_internal() -> None:
    assert words.LEVEL_WITHOUT_FINDING == "internal"


def test_every_ruling_code_is_a_decision_reason() -> None:
    rulings = {name for name, code in CODES.items() if code.kind == "ruling"}
    assert rulings <= words.DECISION_REASONS
    assert {"body_too_large", "content_encoding_unsupported"} <= words.DECISION_REASONS
    assert "spool_full" not in words.DECISION_REASONS


def test_words_are_lower_case_and_short() -> None:
    for known in LISTS.values():
        assert [word for word in known if not re.fullmatch(r"[a-z][a-z0-9_]{1,31}", word)] == []


@pytest.mark.parametrize("name", ["a", "0", "eu-west-1", "acme.example", "a_b", "a" * 63])
def test_names_that_are_taken(name: str) -> None:
    assert re.search(words.NAME_PATTERN, name)


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "_a", "a b", "a/b", "a" * 64, "ä", "a\x00", "a:b"]
)
def test_names_that_are_refused(name: str) -> None:
    assert not re.search(words.NAME_PATTERN, name)


@pytest.mark.parametrize("category", ["phi", "pii.email", "secret.aws", "pci.card"])
def test_categories_that_are_taken(category: str) -> None:
    assert re.search(words.CATEGORY_PATTERN, category)


@pytest.mark.parametrize("category", ["", "PII", "pii.", ".pii", "pii..email", "pii-email"])
def test_categories_that_are_refused(category: str) -> None:
    assert not re.search(words.CATEGORY_PATTERN, category)


def test_a_name_with_a_line_end_is_refused() -> None:
    assert not re.search(words.NAME_PATTERN, "a\n")
    assert not re.search(words.CATEGORY_PATTERN, "phi\n")
