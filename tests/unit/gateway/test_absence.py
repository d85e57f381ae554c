"""Reasons of nulls: what identity knows stands, and everything else has a reason of its own."""

from __future__ import annotations

import msgspec

from gateway.absence import absences
from gateway.call import Absence
from gateway.record import Agent, Clock, Data, Model, Person, Policy, UpstreamRef

PERSON = Person("p", "i", "t", "delegated")
AGENT = Agent("a", "uds_uid", "n", "v", "s")
DATA = Data("internal", [], "full", "base@1")
POLICY = Policy("s", 1, "d", "fresh", 0, "table/1", "allow")
FAR = UpstreamRef("u", "eu", "key")
MODEL = Model("p", "m", "chat", "r", [FAR], "t", "s", "1", [], [])
CLOCK = Clock("synchronised", 1, 1, "b")


def found(*given: Absence, read: bool = True, **changes: object) -> dict[str, str]:
    """Path → reason, after members named ``<field>__<member>`` were made null or replaced."""
    fields: dict[str, msgspec.Struct] = {
        "person": PERSON,
        "agent": AGENT,
        "data": DATA,
        "policy": POLICY,
        "model": MODEL,
        "clock": CLOCK,
    }
    for name, value in changes.items():
        field, _, member = name.partition("__")
        fields[field] = msgspec.structs.replace(fields[field], **{member: value})
    made = absences(given, read=read, **fields)  # type: ignore[arg-type]  # each of its own type
    assert len({one.path for one in made}) == len(made)
    return {one.path: one.reason for one in made}


def test_where_nothing_is_null_nothing_is_explained() -> None:
    assert found(Absence("person.id", "token_rejected")) == {}


def test_what_identity_knows_stands() -> None:
    given = Absence("person.id", "no_delegation_token")
    assert found(given, person__id=None) == {"person.id": "no_delegation_token"}


def test_what_nobody_explained_was_not_stated() -> None:
    assert found(agent__name=None, person__iss=None) == {
        "person.iss": "not_stated",
        "agent.name": "not_stated",
    }


def test_what_could_not_be_read_is_told_from_what_does_not_apply() -> None:
    asked = found(model__requested=None)
    unread = found(read=False, model__requested=None)
    assert asked == {"model.requested": "not_applicable"}
    assert unread == {"model.requested": "not_read"}


def test_an_upstream_without_a_credential_is_explained_once() -> None:
    bare = UpstreamRef("u", "eu", None)
    assert found(model__upstreams=[FAR, bare, bare]) == {
        "model.upstreams.credential_id": "not_applicable"
    }


def test_without_a_policy_all_of_it_is_absent() -> None:
    empty = Policy(None, None, None, "empty", None, None, None)
    made = absences(
        (),
        person=PERSON,
        agent=AGENT,
        data=DATA,
        policy=empty,
        model=MODEL,
        clock=CLOCK,
        read=True,
    )
    assert {one.path: one.reason for one in made} == {
        **{f"policy.{name}": "no_policy" for name in ("scope", "version", "digest", "age_ms")},
        "policy.engine": "no_policy",
        "policy.shadow": "not_applicable",
    }


def test_lists_of_reasons_are_not_shared() -> None:
    empty = Data(None, [], None, None)
    arguments = {"person": PERSON, "agent": AGENT, "policy": POLICY, "model": MODEL}
    one = absences((), data=empty, clock=CLOCK, read=True, **arguments)  # type: ignore[arg-type]  # as named
    one.clear()
    assert len(absences((), data=empty, clock=CLOCK, read=True, **arguments)) == 3  # type: ignore[arg-type]  # as named
