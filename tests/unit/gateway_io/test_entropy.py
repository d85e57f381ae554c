from __future__ import annotations

from gateway.io.entropy import SystemEntropy
from gateway.ports import Entropy


def test_bytes_have_the_asked_length_and_differ() -> None:
    entropy: Entropy = SystemEntropy()
    assert [len(entropy.bytes(count)) for count in (0, 1, 16, 32)] == [0, 1, 16, 32]
    assert len({entropy.bytes(16) for _ in range(100)}) == 100


def test_fractions_lie_in_zero_to_below_one_and_spread() -> None:
    entropy = SystemEntropy()
    fractions = [entropy.fraction() for _ in range(2_000)]
    assert all(0.0 <= fraction < 1.0 for fraction in fractions)
    # Each tenth would be empty with a probability below 10^-90.
    assert {int(fraction * 10) for fraction in fractions} == set(range(10))
