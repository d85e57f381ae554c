"""Data that agents of a simulated world put into their prompts, and what it is.

What a classifier has to find in each text is written down here by hand, so that the checkers do
not ask the product what the product should have found.
"""

from __future__ import annotations

from typing import Final

import msgspec

_INTERNAL: Final = "internal"


class Planted(msgspec.Struct, frozen=True):
    """A text, the level and the categories that a record must say of a call which holds it.

    ``personal``: what of it has to go where data of persons and cards are redacted; ``redacted``:
    what stands there then.
    """

    text: str
    level: str
    categories: tuple[str, ...]
    personal: str = ""
    redacted: str = ""

    @property
    def is_secret(self) -> bool:
        return any(one.startswith("secret.") for one in self.categories)

    @property
    def is_restricted(self) -> bool:
        return self.level == "restricted"


NOTHING: Final = Planted("", _INTERNAL, ())

# Parts, so that no line of this file looks like a live secret to those who look for some.
PLANTED: Final = {
    "nothing": NOTHING,
    "mail": Planted(
        "write to maria.lopez@contoso.org",
        "confidential",
        ("pii.email",),
        "maria.lopez@contoso.org",
        "[pii.email]",
    ),
    "card": Planted(
        "charge 4111 1111 1111 1111 please",
        "restricted",
        ("pci.card",),
        "4111 1111 1111 1111",
        "[pci.card]",
    ),
    "phone": Planted(
        "call +49 30 901820 now", "confidential", ("pii.phone",), "+49 30 901820", "[pii.phone]"
    ),
    "host": Planted(
        "ask 10.1.2.3 and 81.2.69.142",
        "confidential",
        ("net.address", "pii.ip_address"),
        "81.2.69.142",
        "[pii.ip_address]",
    ),
    "ssn": Planted(
        "he is 536-22-8726, ssn", "restricted", ("pii.us_ssn",), "536-22-8726", "[pii.us_ssn]"
    ),
    "aws": Planted("key " + "AKIA" + "Q3EGRZTVNW2LXK4P", "restricted", ("secret.aws",)),
    "github": Planted(
        "key " + "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "restricted", ("secret.github",)
    ),
    "hidden": Planted(
        "cGF5IHdpdGggNDExMSAxMTExIDExMTEgMTExMSB0b2RheQ==",
        "restricted",
        ("pci.card",),
        "cGF5IHdpdGggNDExMSAxMTExIDExMTEgMTExMSB0b2RheQ==",
        "[pci.card]",
    ),
    "wide": Planted(
        "charge ４１１１ １１１１ １１１１ １１１１ please",
        "restricted",
        ("pci.card",),
        "４１１１ １１１１ １１１１ １１１１",
        "[pci.card]",
    ),
    "escaped": Planted(
        "pay &#52;111&#32;1111&#32;1111&#32;1111 today",
        "restricted",
        ("pci.card",),
        "&#52;111&#32;1111&#32;1111&#32;1111",
        "[pci.card]",
    ),
    "percent": Planted(
        "mail maria.lopez%40contoso.org now",
        "confidential",
        ("pii.email",),
        "maria.lopez%40contoso.org",
        "[pii.email]",
    ),
}
