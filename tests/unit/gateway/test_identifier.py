"""Identifiers: UUIDv7 by RFC 9562, instance ids that go there and back."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identifier import (
    INSTANCE_BYTES,
    RECORD_RANDOM_BYTES,
    instance_bytes,
    instance_id,
    record_id,
)

RANDOM = st.binary(min_size=RECORD_RANDOM_BYTES, max_size=RECORD_RANDOM_BYTES)
MICROS = st.integers(0, 2**48 * 1_000 - 1)


def test_a_record_id_is_the_example_of_the_standard() -> None:
    # RFC 9562 appendix A.6: 2022-02-22 14:22:22 -05:00, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F.
    random = ((0xCC3 << 68) | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    assert record_id(0x017F22E279B0 * 1_000, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(MICROS, RANDOM)
def test_a_record_id_is_a_version_7_uuid_of_its_millisecond(wall_us: int, random: bytes) -> None:
    made = uuid.UUID(record_id(wall_us, random))
    assert str(made) == record_id(wall_us, random)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == wall_us // 1_000


@given(MICROS, MICROS, RANDOM, RANDOM)
def test_record_ids_sort_by_their_millisecond(
    one: int, other: int, first: bytes, second: bytes
) -> None:
    if one // 1_000 < other // 1_000:
        assert record_id(one, first) < record_id(other, second)


@given(RANDOM, RANDOM)
def test_other_random_bits_are_another_id(one: bytes, other: bytes) -> None:
    def bits(random: bytes) -> tuple[int, int]:
        value = int.from_bytes(random, "big")
        return (value >> 68) & 0xFFF, value & (2**62 - 1)

    assert (record_id(0, one) == record_id(0, other)) == (bits(one) == bits(other))


@given(st.binary(min_size=INSTANCE_BYTES, max_size=INSTANCE_BYTES))
def test_an_instance_id_gives_its_bytes_back(random: bytes) -> None:
    made = instance_id(random)
    assert (len(made), made) == (26, made.lower())
    assert instance_bytes(made) == random


@pytest.mark.parametrize("length", [0, 15, 17])
def test_an_instance_id_of_other_bytes_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"16 bytes, not {length}"):
        instance_id(bytes(length))


@pytest.mark.parametrize(
    "text",
    [
        *("", "a" * 25, "a" * 27, "A" * 26, "1" * 26, "a" * 25 + "=", "../" + "a" * 23, "é" * 26),
        *("a" * 25 + last for last in "bcd7"),
    ],
)
def test_what_is_no_instance_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an instance id"):
        instance_bytes(text)
