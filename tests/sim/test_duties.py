"""The checker of obligations: it knows what a provider is owed, and notices anything else."""

from __future__ import annotations

import msgspec
import pytest

from tests.sim.duties import BOUNDED, NAMELESS, REDACTED, fault_of, with_more_to_redact
from tests.sim.ledger import Call
from tests.sim.planted import PLANTED
from tests.sim.policies import call_name
from tests.sim.twists import PLAIN


def _call(letter: str, members: dict[str, object], planted: str = "nothing") -> Call:
    twist = msgspec.structs.replace(PLAIN, planted=PLANTED[planted])
    asked = msgspec.json.encode(members)
    return Call(name=call_name(letter, 7), kind="chat", life=1, twist=twist, asked=asked)


def test_a_body_without_obligations_must_arrive_byte_for_byte() -> None:
    call = _call("a", {"model": "m"})
    assert fault_of(call, "chat", call.asked) is None
    assert fault_of(call, "chat", call.asked + b" ") is not None


@pytest.mark.parametrize("name", [name for name, one in PLANTED.items() if one.personal])
def test_what_had_to_be_redacted_must_be_gone_and_nothing_else(name: str) -> None:
    planted = PLANTED[name]
    call = _call(REDACTED, {"say": f"hello {planted.text}"}, name)
    without = call.asked.replace(planted.personal.encode(), planted.redacted.encode())
    assert fault_of(call, "chat", without) is None
    assert "redacted" in (fault_of(call, "chat", call.asked) or "")
    assert fault_of(call, "chat", without.replace(b"hello", b"")) is not None


@pytest.mark.parametrize(("asked", "owed"), [(None, 50), (40, 40), (900, 50)])
def test_a_limit_must_be_the_lower_of_the_two(asked: int | None, owed: int) -> None:
    given = {} if asked is None else {"max_completion_tokens": asked}
    call = _call(BOUNDED, {"model": "m", **given})
    for limit in (40, 50, 900):
        body = msgspec.json.encode({"model": "m", "max_completion_tokens": limit})
        assert (fault_of(call, "chat", body) is None) == (limit == owed)


def test_a_member_that_no_obligation_names_must_stay() -> None:
    call = _call(BOUNDED, {"model": "m"})
    body = msgspec.json.encode({"model": "other", "max_completion_tokens": 50})
    assert fault_of(call, "chat", body) is not None


def test_a_user_must_be_a_pseudonym() -> None:
    call = _call(NAMELESS, {"user": "employee-1"})
    assert fault_of(call, "chat", b'{"user":"user-AbC"}') is None
    assert fault_of(call, "chat", call.asked) is not None
    assert fault_of(call, "chat", b"{}") is not None


def test_half_of_the_calls_with_redaction_hold_something() -> None:
    held = [with_more_to_redact(call_name(REDACTED, one), PLAIN) for one in range(40)]
    assert sum(bool(one.planted.personal) for one in held) == 20
    assert with_more_to_redact(call_name("a", 2), PLAIN) is PLAIN
