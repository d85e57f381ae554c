from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban as stdnum_iban
from stdnum import luhn as stdnum_luhn

from bench import labelled
from gateway.classify import checks

DIGITS = st.text("0123456789", min_size=1, max_size=24)


@given(DIGITS)
def test_luhn_agrees_with_an_independent_implementation(digits: str) -> None:
    assert checks.luhn(digits.encode()) == stdnum_luhn.is_valid(digits)


def test_every_changed_digit_of_a_card_is_noticed() -> None:
    digits = b"4539578763621486"
    for index in range(len(digits)):
        for other in b"0123456789":
            changed = digits[:index] + bytes([other]) + digits[index + 1 :]
            assert checks.luhn(changed) is (changed == digits)


@pytest.mark.parametrize("country", sorted(checks.IBAN_LENGTHS))
def test_iban_lengths_agree_with_an_independent_registry(country: str) -> None:
    for length in range(15, 35):
        body = "0" * (length - 4)
        number = "".join(str(int(character, 36)) for character in body + country + "00")
        text = f"{country}{98 - int(number) % 97:02}{body}"
        found = checks.carve_ibans(text.encode())
        assert bool(found) is (length == checks.IBAN_LENGTHS[country])
        if stdnum_iban.is_valid(text, check_country=False):
            assert found == [(0, len(text))]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (b"4111111111111111", [(0, 16)]),
        (b"4111-1111-1111-1111", [(0, 19)]),
        (b"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", [(0, 31)]),
        (b"77 4111 1111 1111 1111 123", [(3, 22)]),
        (b"4111 1111 1111 1111 5555 5555 5555 4444", [(0, 19), (20, 39)]),
        (b"4111 1111-1111 1111", []),
        (b"41111 11111 111111", []),
        (b"0.4111111111111111", []),
        (b"4111111111111111.5", []),
        (b"4111111111111112", []),
        (b"1234567812345670", []),
        (b"4444444444444444", []),
        (b"3782 822463 10005", [(0, 17)]),
        (b"630400000000", [(0, 12)]),
        (b"41111111111", []),
        (b"", []),
    ],
)
def test_a_card_is_carved_out_of_its_neighbours(
    run: bytes, expected: list[tuple[int, int]]
) -> None:
    assert checks.carve_cards(run) == expected


@given(st.integers(0, 5_000))
def test_generated_values_pass_their_own_checks(seed: int) -> None:
    chance = random.Random(seed)
    assert len(checks.carve_cards(labelled.card(chance).encode())) == 1
    assert len(checks.carve_ibans(labelled.iban(chance).encode())) == 1
    assert stdnum_iban.is_valid(labelled.iban(chance), check_country=False)


@pytest.mark.parametrize(
    "number", ["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000"]
)
def test_a_number_that_is_never_issued_is_no_ssn(number: str) -> None:
    assert not checks.is_us_ssn(number.encode())
    assert checks.is_us_ssn(b"536-22-1234")


@pytest.mark.parametrize(
    ("address", "public", "other"),
    [
        ("86.121.97.248", True, False),
        ("10.0.0.1", False, True),
        ("169.254.169.254", False, True),
        ("192.0.2.1", False, True),
        ("224.0.0.1", False, True),
        ("127.0.0.1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("::1", False, False),
        ("a::b", False, False),
        ("2606:4700:10::6814:5f0", True, False),
        ("2001:db8::1", False, True),
        ("256.1.1.1", False, False),
        ("1.2.3", False, False),
    ],
)
def test_addresses_that_lead_to_nobody_are_told_from_those_that_do(
    address: str, public: bool, other: bool
) -> None:
    assert checks.is_public_ip(address.encode()) is public
    assert checks.is_other_ip(address.encode()) is other


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+49 30 1234567", True),
        ("2024-05-17", False),
        ("17.05.2024", False),
        ("111-1111", False),
        ("123456", False),
        ("1234567890123456", False),
        ("345-899-3560x45871234", True),
    ],
)
def test_a_phone_number_has_seven_to_fifteen_digits_and_is_no_date(
    number: str, expected: bool
) -> None:
    assert checks.is_phone(number.encode()) is expected


@given(st.binary(max_size=64))
def test_no_bytes_break_a_check(data: bytes) -> None:
    for check in checks.CHECKS.values():
        if data:
            check(data)
    checks.carve_cards(data)
