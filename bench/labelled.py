"""A labelled set that generates itself: the same seed gives the same texts everywhere.

Values are made by their own rules (check digits computed here, not by the code that is measured),
put into templates, and written in ways that hide them. No value belongs to anybody: card numbers
are random, hosts end in ``.test``, keys are random letters.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator
from urllib.parse import quote

from bench.corpora import Document

DECIDABLE = {
    "CREDIT_CARD": "restricted",
    "US_SSN": "restricted",
    "IBAN_CODE": "confidential",
    "EMAIL_ADDRESS": "confidential",
    "IP_ADDRESS": "confidential",
    "PHONE_NUMBER": "confidential",
    "GITHUB_TOKEN": "restricted",
    "AWS_KEY": "restricted",
    "PRIVATE_KEY": "restricted",
}
"""Entities that rules decide, and the least level of a text that holds one."""

_TEXT = (
    "the team reviewed a plan and asked for more detail before the next release while support "
    "wrote down what customers said about price delivery quality and the new colour of the "
    "dashboard so that nobody has to guess which part of the report is still open"
)
_WORDS = _TEXT.split()
_TEMPLATES = (
    "Please update the record: {}.",
    "{}",
    "The customer wrote that {} is no longer right, could you check it today?",
    '{{"note": "changed", "value": "{}"}}',
    "name,value\nsample,{}\nend,0",
    "Before: {}\nAfter: unknown",
    "[{}](https://docs.corp.test/page)",
)
_NEGATIVES = (
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 fixed the parser",
    "id 550e8400-e29b-41d4-a716-446655440000 at 2024-05-17T11:22:33.123456Z",
    "sha512-Nq3JmVqHkTnGfQ2pW8xZ1cR5vB7yL0dK4sA6uE9iO3tM+hJ/gXwCbFzPlSrDeYQ==",
    "released 10.4.2, 2.31.1 and 1.22.0 on 2024-01-02 03:04:05",
    "ISBN 978-3-16-148410-0, order 20240517-000123456, total 1,234,567.89",
    "for i in range(10): matrix[i][j] = 0.5234123412341234 * weights[i]",
    "listen on 127.0.0.1:8080 and 192.168.1.20, mask 255.255.255.0",
    "invoice 4111 1111 1111 1112 was refused (wrong check digit)",
    "@app.get('/v1/users/{user_id}') def read(user_id: int) -> User: ...",
    "std::vector<std::string>::iterator at 12:34:56, MAC 00:1a:2b:3c:4d:5e",
    "scores 91 85 77 64 1021 990 3304 17 20 4455 in columns 1 to 12",
    "export API_KEY=${API_KEY} && password: <your password here>",
)


def documents(count: int, seed: int = 1) -> list[Document]:
    """``count`` texts, three quarters of them with one value in them."""
    chance = random.Random(seed)
    made: list[Document] = []
    makers = list(MAKERS.items())
    for index in range(count):
        if index % 4 == 3:
            made.append(Document(chance.choice(_NEGATIVES) + " " + _sentence(chance), ()))
            continue
        entity, make = makers[index % len(makers)]
        made.append(_document(chance, entity, make(chance)))
    return made


def _document(chance: random.Random, entity: str, value: str) -> Document:
    template = chance.choice(_TEMPLATES)
    if entity == "PHONE_NUMBER":
        template = "Phone: {}"
    before = _sentence(chance) + " "
    text = before + template.format(value)
    start = text.index(value, len(before))
    return Document(text, ((entity, start, start + len(value)),))


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(chance.randrange(4, 14))) + "."


# -- values -----------------------------------------------------------------------------------


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choice("0123456789") for _ in range(count))


def _luhn_digit(digits: str) -> str:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card(chance: random.Random) -> str:
    prefix, length = chance.choice(
        (("4", 16), ("4", 13), ("4", 19), ("51", 16), ("2221", 16), ("34", 15), ("36", 14))
    )
    body = prefix + _digits(chance, length - len(prefix) - 1)
    digits = body + _luhn_digit(body)
    if length == 16 and chance.random() < 0.5:
        separator = chance.choice(" -")
        return separator.join(digits[i : i + 4] for i in range(0, 16, 4))
    return digits


def iban(chance: random.Random) -> str:
    country, bank, length = chance.choice(
        (("DE", "", 18), ("GB", "WEST", 14), ("FR", "", 23), ("NL", "ABNA", 10), ("NO", "", 11))
    )
    account = bank + _digits(chance, length)
    number = "".join(str(int(character, 36)) for character in account + country + "00")
    compact = f"{country}{98 - int(number) % 97:02}{account}"
    if chance.random() < 0.5:
        return " ".join(compact[i : i + 4] for i in range(0, len(compact), 4))
    return compact


def us_ssn(chance: random.Random) -> str:
    area = chance.choice([n for n in range(1, 900) if n != 666])
    return f"{area:03}-{chance.randrange(1, 100):02}-{chance.randrange(1, 10_000):04}"


def email(chance: random.Random) -> str:
    name = chance.choice(("jane.doe", "o'brien", "x+tag", "max_m", "a", "Li.Wei-2"))
    return f"{name}@{chance.choice(('corp', 'mail.corp', 'a-b.co'))}.test"


def ip_address(chance: random.Random) -> str:
    return f"{chance.choice((5, 86, 104, 151, 212))}." + ".".join(
        str(chance.randrange(1, 255)) for _ in range(3)
    )


def phone(chance: random.Random) -> str:
    form = chance.choice(("+49 30 #######", "+1-#2#-555-####", "0### ### ####", "(6##) 555-####"))
    return "".join(_digits(chance, 1) if character == "#" else character for character in form)


def _random_text(chance: random.Random, alphabet: str, count: int) -> str:
    return "".join(chance.choice(alphabet) for _ in range(count))


def github_token(chance: random.Random) -> str:
    return "gh" + "p_" + _random_text(chance, string.ascii_letters + string.digits, 36)


def aws_key(chance: random.Random) -> str:
    return "AK" + "IA" + _random_text(chance, string.ascii_uppercase + "234567", 16)


def private_key(chance: random.Random) -> str:
    alphabet = string.ascii_letters + string.digits + "+/"
    lines = "\n".join(_random_text(chance, alphabet, 64) for _ in range(4))
    kind = chance.choice(("RSA ", "EC ", "", "OPENSSH "))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "CREDIT_CARD": card,
    "IBAN_CODE": iban,
    "US_SSN": us_ssn,
    "EMAIL_ADDRESS": email,
    "IP_ADDRESS": ip_address,
    "PHONE_NUMBER": phone,
    "GITHUB_TOKEN": github_token,
    "AWS_KEY": aws_key,
    "PRIVATE_KEY": private_key,
}


# -- hidden forms -----------------------------------------------------------------------------


def _between(mark: str) -> Callable[[str], str]:
    return mark.join


def _shifted(digit: int, small: int, capital: int) -> Callable[[str], str]:
    """Digits and letters moved to other places of Unicode; 0 leaves a kind as it is."""

    def shift(value: str) -> str:
        made = []
        for character in value:
            base = 0
            if character in string.digits and digit:
                base = digit - ord("0")
            elif character in string.ascii_lowercase and small:
                base = small - ord("a")
            elif character in string.ascii_uppercase and capital:
                base = capital - ord("A")
            made.append(chr(ord(character) + base))
        return "".join(made)

    return shift


def _homoglyphs(value: str) -> str:
    return value.translate(str.maketrans("aeopcxAEOPCX", "аеорсхАЕОРСХ"))


def _base64(value: str) -> str:
    return base64.b64encode(f"value is {value} thank you".encode()).decode()


def _wrapped(value: str) -> str:
    return base64.encodebytes(f"{'padding ' * 20}{value} {'more ' * 9}".encode()).decode()


DISGUISES: dict[str, Callable[[str], str]] = {
    "zero width space": _between("\u200b"),
    "soft hyphen": _between("\u00ad"),
    "word joiner": _between("\u2060"),
    "direction override": lambda value: f"\u202d{value[:5]}\u202c{value[5:]}",
    "tag characters": _between("\U000e0041"),
    "combining marks": _between("\u0336"),
    "control characters": _between("\x01"),
    "NUL": _between("\0"),
    "full width": _shifted(0xFF10, 0xFF41, 0xFF21),
    "Arabic-Indic digits": _shifted(0x0660, 0, 0),
    "mathematical": _shifted(0x1D7CE, 0x1D41A, 0x1D400),
    "Cyrillic look-alikes": _homoglyphs,
    "percent": lambda value: quote(value, safe=""),
    "percent of all": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
    "double percent": lambda value: quote("".join(f"%{b:02X}" for b in value.encode())),
    "HTML entities": lambda value: "".join(f"&#{ord(character)};" for character in value),
    "JSON escapes": lambda value: "".join(f"\\u{ord(character):04x}" for character in value),
    "base64": _base64,
    "base64url": lambda value: _base64(value).replace("+", "-").replace("/", "_").rstrip("="),
    "base64 in base64": lambda value: _base64(_base64(value)),
    "base64 wrapped": _wrapped,
    "hex": lambda value: f"value is {value}, thanks".encode().hex(),
}


def disguised(count: int = 45, seed: int = 2) -> Iterator[tuple[str, list[Document]]]:
    """Each hidden form with ``count`` texts that hold one value each."""
    makers = [(entity, make) for entity, make in MAKERS.items() if entity != "PHONE_NUMBER"]
    for name, hide in DISGUISES.items():
        chance = random.Random(seed)
        made: list[Document] = []
        for index in range(count):
            entity, make = makers[index % len(makers)]
            value = make(chance)
            text = f"{_sentence(chance)} {hide(value)} {_sentence(chance)}"
            made.append(Document(text, ((entity, 0, len(text)),)))
        yield name, made


# -- texts for time ---------------------------------------------------------------------------


def prose(chance: random.Random, size: int) -> str:
    """About ``size`` characters without any finding."""
    parts: list[str] = []
    total = 0
    while total < size:
        parts.append(_sentence(chance))
        total += len(parts[-1]) + 1
    return " ".join(parts)[:size]


def dense_prose(chance: random.Random, size: int) -> str:
    """The same with a value after every third sentence or so."""
    parts: list[str] = []
    total = 0
    makers = [make for entity, make in MAKERS.items() if entity != "PRIVATE_KEY"]
    while total < size:
        parts.append(_sentence(chance))
        if chance.random() < 0.3:
            parts.append(chance.choice(makers)(chance))
        total += len(parts[-1]) + 1
    return " ".join(parts)[:size]


def adversarial(size: int) -> Iterator[tuple[str, str]]:
    """Texts made to be slow."""
    chance = random.Random(3)
    letters = string.ascii_letters + string.digits
    yield "digits", _digits(chance, size)
    yield "digit groups", " ".join(_digits(chance, 4) for _ in range(size // 5))
    yield "single digits", " ".join(_digits(chance, size // 2))
    yield "base64 noise", _random_text(chance, letters + "+/", size)
    yield (
        "hex with colons",
        ":".join(_random_text(chance, "0123456789abcdef", 2) for _ in range(size // 3)),
    )
    yield "at signs", "a@" * (size // 2)
    yield "e-mail heads", "a.b-c@d." * (size // 8)
    yield "key headers", ("-----BEGIN " + "PRIVATE KEY-----") * (size // 27)
    yield "IBAN heads", "DE12 " * (size // 5)
    yield "JWT heads", "eyJaaaaaaaaaa.eyJ" * (size // 17)
    yield "key=value", "password: aaaaaaaaaaaa1 " * (size // 24)
    yield "percents", "%41%40%42." * (size // 10)
    yield "Cyrillic", "привет как дела " * (size // 16)
    yield "zero width", "4\u200b" * (size // 2)
    yield "dots", "1.2.3." * (size // 6)
    yield "URL heads", "a://b:c" * (size // 7)
    yield "plus and digits", "+1 23 45 67 " * (size // 12)
