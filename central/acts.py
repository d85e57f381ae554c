"""What a person does at a central service: the form in which it becomes an ``admin`` record.

Owns: ``Act``, its bounds, and turning it into drafts. Refuses: keeping them (``register.py`` does,
in a chain of the service's own) and judging who may act (``people.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec

from central.errors import Refused
from gateway import limits, record
from gateway.cutting import json_bytes

WHY_HEADER: Final = "Gatepost-Why"
"""In it a person may say what they look for, or on whose order."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """``who``: a person's name; ``what``: a dotted word; ``why``: their reason, or None.

    ``parameters``: as they were asked; ``range``: what the act reaches over (times of decision,
    ``from/to``), or None for no such bound.
    """

    tenant: str
    region: str
    who: str
    what: str
    why: str | None = None
    parameters: dict[str, str] = {}
    range: str | None = None


Note = Callable[[Act], Awaitable[None]]
"""Makes an act durable; only then is it done, or answered. Raises Refused."""


def check(act: Act) -> None:
    """Raise Refused (``malformed_request``) for what no record has room for."""
    texts = {"the name": act.who, "what": act.what, WHY_HEADER: act.why, "the range": act.range}
    for name, text in texts.items():
        if text is not None and json_bytes(text) > limits.ADMIN_TEXT_BYTES_MAX:
            raise Refused(
                "malformed_request", f"{name} has over {limits.ADMIN_TEXT_BYTES_MAX} bytes"
            )
    for name, value in act.parameters.items():
        if (
            json_bytes(name) > limits.NAME_BYTES_MAX
            or json_bytes(value) > limits.ADMIN_PARAMETER_BYTES_MAX
        ):
            raise Refused(
                "malformed_request",
                f"a parameter has over {limits.ADMIN_PARAMETER_BYTES_MAX} bytes",
            )


def drafts(act: Act, draw_id: Callable[[], str]) -> Iterator[record.Admin]:
    """The records of ``act``: one, and further ones where its parameters are many."""
    pairs = iter(sorted(act.parameters.items()))
    first = True
    while (some := dict(itertools.islice(pairs, limits.ADMIN_PARAMETERS_MAX))) or first:
        first = False
        yield record.Admin(
            v=record.VERSION,
            kind="admin",
            id=draw_id(),
            tenant=act.tenant,
            region=act.region,
            chain=record.UNCHAINED,
            who=act.who,
            what=act.what,
            why=act.why,
            parameters=some,
            range=act.range,
        )
