"""Tests that a candidate must pass: checksums, ranges, and whether it can be random.

Owns: one pure function per test, over bytes. Refuses: finding candidates and weighing context.

Sources: ISO/IEC 7812-1 annex B (Luhn) and its issuer ranges, ISO 13616-1 and the IBAN registry
(structure lengths), SSA POMS RM 10201.030 (number ranges that are never assigned), RFC 7515
(JWS), RFC 5737 and RFC 6890 (addresses that name nobody).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Final

import msgspec

Check = Callable[[bytes], bool]
Carver = Callable[[bytes], list[tuple[int, int]]]

_NOT_DIGITS: Final = bytes(value for value in range(256) if not 0x30 <= value <= 0x39)
_DIGITS: Final = re.compile(rb"\d+")
_LUHN_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

_CARD_ISSUERS: Final = re.compile(
    rb"(?:"
    rb"4(?:\d{12}|\d{15}|\d{18})"  # 13, 16, 19
    rb"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # 16
    rb"|3[47]\d{13}"  # 15
    rb"|3(?:0[0-59]|[689]\d)\d{11}(?:\d{2,5})?"  # 14, 16-19
    rb"|35\d{14}(?:\d{3})?|(?:2131|1800)\d{11}"  # 16, 19; 15
    rb"|(?:0604|50\d\d|5[6-9]\d\d|6\d{3})\d{8,15}"  # 12-19
    rb"|220[0-4]\d{12,15}|9792\d{12}"  # 16-19, 16
    rb")"
)
_CARD_GROUPS: Final = frozenset(
    {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 5), (4, 4, 4), (4, 4, 4, 4, 3), (4, 5, 6), (6, 13)}
)
"""How cards are printed. Other groupings are columns of numbers more often than cards."""

_GLUE: Final = b"._/"
"""Between digits these make one number or path of several; only a printed grouping may use them."""

IBAN_LENGTHS: Final = MappingProxyType(
    {
        "NO": 15,
        "BE": 16,
        **dict.fromkeys(("DK", "FO", "FI", "GL", "NL", "SD", "FK"), 18),
        **dict.fromkeys(("MK", "SI"), 19),
        **dict.fromkeys(("AT", "BA", "EE", "KZ", "XK", "LT", "LU", "MN"), 20),
        **dict.fromkeys(("HR", "LV", "LI", "CH"), 21),
        **dict.fromkeys(("BH", "BG", "CR", "GE", "DE", "IE", "ME", "RS", "GB", "VA"), 22),
        **dict.fromkeys(("TL", "GI", "IL", "IQ", "AE", "SO", "OM"), 23),
        **dict.fromkeys(("AD", "CZ", "MD", "PK", "RO", "SA", "SK", "ES", "SE", "TN", "VG"), 24),
        **dict.fromkeys(("LY", "PT", "ST"), 25),
        **dict.fromkeys(("IS", "TR"), 26),
        **dict.fromkeys(("BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"), 27),
        **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "SV", "GT", "HU", "LB", "PL", "NI"), 28),
        **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
        **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
        **dict.fromkeys(("MT", "SC"), 31),
        "LC": 32,
        "RU": 33,
    }
)
_SSN_NEVER_ISSUED: Final = frozenset({b"078051120", b"219099999", b"123456789", b"987654320"})
"""Printed on sample cards and forms, so in half of all documentation."""
_PLACEHOLDER: Final = re.compile(
    rb"(?i)example|sample|dummy|placeholder|your[_-]?|xxxx|redacted|12345678|abcdefgh|\.\."
)


def luhn(digits: bytes) -> bool:
    """Whether ASCII ``digits`` satisfy ISO/IEC 7812-1 annex B."""
    total = sum(digits[-1::-2]) - 48 * len(digits[-1::-2])
    total += sum(_LUHN_DOUBLED[digit - 48] for digit in digits[-2::-2])
    return total % 10 == 0


def is_card_number(digits: bytes) -> bool:
    """12 to 19 ``digits`` of an issuer's range, with a right check digit, not all alike."""
    return _CARD_ISSUERS.fullmatch(digits) is not None and luhn(digits) and len(set(digits)) > 1


def carve_cards(run: bytes) -> list[tuple[int, int]]:
    """Card numbers in a run of digit groups, which may hold neighbouring numbers as well."""
    groups = _Groups(run)
    found: list[tuple[int, int]] = []
    first = 0
    while first < len(groups.spans):
        last = groups.card_from(first)
        if last is None:
            first += 1
            continue
        found.append((groups.spans[first][0], groups.spans[last][1]))
        first = last + 1
    return found


class _Groups:
    """The groups of digits in a run, and the digits without what stands between them."""

    def __init__(self, run: bytes) -> None:
        self._run = run
        self.spans = [match.span() for match in _DIGITS.finditer(run)]
        self._digits = run.translate(None, _NOT_DIGITS)
        self._offsets = [0, *accumulate(end - start for start, end in self.spans)]

    def card_from(self, first: int) -> int | None:
        """Index of the last group of the card number that begins with group ``first``."""
        begin = self._offsets[first]
        leading = self._digits[begin : begin + 4]
        if leading[:1] in b"178" and leading != b"1800":
            return None
        shortest = bisect_left(self._offsets, begin + 12)
        for end in range(shortest, len(self._offsets)):
            digits = self._digits[begin : self._offsets[end]]
            if len(digits) > 19:
                return None
            if is_card_number(digits) and self._is_printed(first, end - 1):
                return end - 1
        return None

    def _is_printed(self, first: int, last: int) -> bool:
        """Whether groups ``first``..``last`` are written as one number, and end there."""
        spans = self.spans[first : last + 1]
        if len(spans) == 1:
            before = self._run[spans[0][0] - 1 : spans[0][0]] if spans[0][0] else b""
            after = self._run[spans[0][1] : spans[0][1] + 1]
            return not (before and before in _GLUE) and not (after and after in _GLUE)
        between = {self._run[a[1] : b[0]] for a, b in pairwise(spans)}
        lengths = tuple(end - start for start, end in spans)
        return len(between) == 1 and (lengths in _CARD_GROUPS or max(lengths) == 1)


def carve_ibans(run: bytes) -> list[tuple[int, int]]:
    """The IBAN at the start of ``run``, as long as its country says."""
    compact = bytearray()
    for offset, value in enumerate(run):
        if value not in b" -":
            compact.append(value)
        if len(compact) == 2 and bytes(compact).upper().decode("ascii") not in IBAN_LENGTHS:
            return []
        if len(compact) >= 15 and len(compact) == IBAN_LENGTHS[compact[:2].upper().decode()]:
            following = run[offset + 1 : offset + 2]
            whole = not following.isalnum()
            return [(0, offset + 1)] if whole and is_iban(bytes(compact)) else []
    return []


def is_iban(compact: bytes) -> bool:
    """ISO 13616-1: the rearranged characters, letters as 10 to 35, leave 1 modulo 97."""
    text = (compact[4:] + compact[:4]).decode("ascii")
    return int("".join(str(int(character, 36)) for character in text)) % 97 == 1


def is_us_ssn(candidate: bytes) -> bool:
    """A number that may have been issued."""
    digits = candidate.translate(None, _NOT_DIGITS)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    possible = area not in (b"000", b"666") and area < b"900" and group != b"00"
    return possible and serial != b"0000" and digits not in _SSN_NEVER_ISSUED


def is_public_ip(candidate: bytes) -> bool:
    """An address that can lead to somebody: not private, loopback, documentation, netmask."""
    try:
        address = ipaddress.ip_address(candidate.decode("ascii"))
    except ValueError:
        return False
    return _leads_somewhere(address, is_whole=candidate.count(b":") == 7)


def is_other_ip(candidate: bytes) -> bool:
    """A private, documentation or multicast address, or a netmask; not loopback, not zero."""
    try:
        address = ipaddress.ip_address(candidate.decode("ascii"))
    except ValueError:
        return False
    reserved = address.is_private or address.is_multicast or address.is_link_local
    return reserved and not (address.is_loopback or address.is_unspecified)


def _leads_somewhere(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, *, is_whole: bool
) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        # Outside what is assigned; in its short form more often code (a::b) than an address.
        return is_whole and address.is_global
    return address.is_global and not address.is_multicast


_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")


def is_phone(candidate: bytes) -> bool:
    """7 to 15 digits before an extension (ITU-T E.164), not a date and not a repeated digit."""
    number = re.split(rb"(?i)\s?(?:x|ext)", candidate)[0]
    digits = number.translate(None, _NOT_DIGITS)
    if not 7 <= len(digits) <= 15 or len(set(digits)) < 3:
        return False
    return _DATE.fullmatch(number) is None


_DATE: Final = re.compile(
    rb"(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ][0-3]?\d|[0-3]?\d[-./ ][01]?\d[-./ ](?:19|20)\d\d"
)


def is_jwt(candidate: bytes) -> bool:
    """The first part is a JSON object with ``alg``."""
    try:
        header = msgspec.json.decode(_unbase64(candidate.split(b".")[0]))
    except (ValueError, msgspec.DecodeError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def is_not_placeholder(candidate: bytes) -> bool:
    """Does not say of itself that it is an example."""
    return _PLACEHOLDER.search(candidate) is None


def entropy_bits(candidate: bytes) -> float:
    """Shannon entropy per byte."""
    counts = Counter(candidate)
    size = len(candidate)
    return -sum(n / size * math.log2(n / size) for n in counts.values())


def looks_random(candidate: bytes) -> bool:
    """At least 3 bits per byte: keys and digests do, words and runs of one letter do not."""
    return entropy_bits(candidate) >= 3.0


def looks_like_secret_value(candidate: bytes) -> bool:
    """The value behind ``=`` or ``:`` mixes letters and digits as no word or path does."""
    value = re.split(rb"[:=]\s{0,4}[\"'`]?", candidate, maxsplit=1)[-1].rstrip(b"\"'`")
    mixed = re.search(rb"\d", value) is not None and re.search(rb"[A-Za-z]", value) is not None
    return mixed and entropy_bits(value) >= 3.5 and is_not_placeholder(value)


def _unbase64(part: bytes) -> bytes:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_")
    except binascii.Error as error:
        raise ValueError(str(error)) from None


CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "us_ssn": is_us_ssn,
        "public_ip": is_public_ip,
        "phone": is_phone,
        "jwt": is_jwt,
        "other_ip": is_other_ip,
        "random": looks_random,
        "not_placeholder": is_not_placeholder,
        "secret_value": looks_like_secret_value,
    }
)
CARVERS: Final[Mapping[str, Carver]] = MappingProxyType(
    {"cards": carve_cards, "ibans": carve_ibans}
)
