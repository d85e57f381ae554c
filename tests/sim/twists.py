"""What is out of the ordinary about a call of a simulated world, and how it is named on the wire.

Owns: the words for it, how often each is drawn, and the trace id that tells everybody which call
they see. Refuses: writing requests (``asking.py``) and saying what should come of them
(``policies.py``).
"""

from __future__ import annotations

import random
from typing import Final, Literal

import msgspec

from tests.sim.faulty import FAULTS
from tests.sim.planted import NOTHING, PLANTED, Planted
from tests.sim.tokens import TOKENS

Door = Literal["unix", "stranger", "tcp", "local"]
"""How a caller is known: its socket and uid, one whose uid may not use the socket, its uid on
loopback TCP, or a local token there, where the kernel can't tell the uid."""
Offered = Literal["", "web_search", "code_interpreter", "teleport", "kept", "foreign", "picture"]
"""What else stands in a prompt: tools that the provider would run, of which policy allows one and
this version does not know one; stored objects, of which policy allows one; a picture."""
Link = Literal["", "good", "forged", "other_body"]
"""A link to the decision of a gateway in front."""

AMOUNT_MAX: Final = 100
"""What policy lets a tool call spend."""

_OFFERS: Final[tuple[Offered, ...]] = (
    *("web_search", "code_interpreter", "teleport", "kept", "foreign", "picture"),
)
_LINKS: Final[tuple[Link, ...]] = ("good", "forged", "other_body")
_PARENT_ID: Final = "5e1f000000000001"


class Twist(msgspec.Struct, frozen=True, kw_only=True):
    """All of one call; the defaults are an ordinary one. ``token``: a key of ``TOKENS``;
    ``fault``: of the body, a key of ``FAULTS``; ``amount`` and ``currency``: of a tool call."""

    token: str = ""
    planted: Planted = NOTHING
    fault: str = ""
    offered: Offered = ""
    link: Link = ""
    amount: int = 1
    currency: str = "EUR"


PLAIN: Final = Twist()


def draw_twist(chance: random.Random) -> Twist:
    """Half of all calls are ordinary; most others are odd in one way, some in several."""
    if chance.random() < 0.5:
        return PLAIN
    twist = PLAIN
    while True:
        twist = msgspec.structs.replace(twist, **_odd(chance))
        if chance.random() < 0.7:
            return twist


def _odd(chance: random.Random) -> dict[str, object]:
    drawn = chance.random()
    if drawn < 0.35:
        return {"token": chance.choice(("good", "cashier", "writer", *TOKENS))}
    if drawn < 0.6:
        return {"planted": PLANTED[chance.choice(tuple(PLANTED))]}
    if drawn < 0.7:
        return {"fault": chance.choice(tuple(FAULTS))}
    if drawn < 0.8:
        return {"offered": chance.choice(_OFFERS)}
    if drawn < 0.85:
        return {"link": chance.choice(_LINKS)}
    return {"amount": chance.choice((AMOUNT_MAX, AMOUNT_MAX + 1)), "currency": chance.choice(_PAID)}


_PAID: Final = ("EUR", "EUR", "USD", "XBT")


# -- names on the wire -----------------------------------------------------------------------


def trace_of(name: str) -> str:
    """The ``traceparent`` of call ``name``: it passes the gateway and stands in the record."""
    return f"00-{name.encode().hex():0<32}-{_PARENT_ID}-01"


def name_of(trace: str | None) -> str | None:
    """The call with this ``traceparent``; None for what no call of an agent has."""
    if trace is None or not trace.endswith(f"-{_PARENT_ID}-01"):
        return None
    return bytes.fromhex(trace[3:35]).rstrip(b"\0").decode()
