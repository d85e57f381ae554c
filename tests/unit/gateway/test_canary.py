from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway import canary

SCOPE = "acme/prod/eu"
NAMES = [f"host-{number}:/var/lib/gatepost/policy" for number in range(10_000)]
names = st.text(max_size=40)
percents = st.integers(0, 100)


def test_the_place_of_a_name_is_what_other_versions_work_out_too() -> None:
    assert [canary.place_of(SCOPE, f"eu-{number}") for number in range(4)] == [71, 91, 67, 38]


@given(names, names)
def test_a_place_lies_between_0_and_99(scope: str, name: str) -> None:
    assert 0 <= canary.place_of(scope, name) <= 99


@given(names, percents, percents)
def test_a_higher_percentage_only_adds_daemons(name: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert canary.takes(SCOPE, name, low) <= canary.takes(SCOPE, name, high)


@given(names)
def test_0_percent_is_nobody_and_100_percent_is_all_that_have_a_name(name: str) -> None:
    assert not canary.takes(SCOPE, name, 0)
    assert canary.takes(SCOPE, name, 100)
    assert not canary.takes(SCOPE, None, 100)


def test_the_share_is_near_the_percentage() -> None:
    # Four standard deviations of 10,000 draws are at most 200.
    for percent in (1, 10, 30, 50, 90, 99):
        taken = sum(canary.takes(SCOPE, name, percent) for name in NAMES)
        assert abs(taken - percent * 100) <= 200, percent


def test_it_is_not_the_same_daemons_in_each_scope() -> None:
    both = sum(canary.takes(SCOPE, n, 50) and canary.takes("acme/prod/us", n, 50) for n in NAMES)
    assert 2_300 <= both <= 2_700
