"""A bundle's own tests: run by its publisher, and by every daemon before it is used.

Owns: turning a self-test's input into ``Inputs`` and comparing the judgement with what the test
expects. Refuses: deciding what happens to a bundle that fails (``policy_cache`` keeps the old).
"""

from __future__ import annotations

import msgspec

from gateway.errors import DocumentInvalid
from gateway.inputs import Inputs
from gateway.judgement import Judgement, judge
from gateway.policy import SampleInput, SelfTest
from gateway.table import Table
from gateway.target import named
from gateway.timestamp import time_micros
from gateway.truth import TRUE, UNKNOWN


class Tested(msgspec.Struct, frozen=True):
    """``problem``: how the judgement differs from what the test expects, empty for not at all.
    ``reached``: ids of the rules that applied, whether they decided or not."""

    problem: str
    judgement: Judgement
    reached: tuple[str, ...]


def run_self_tests(table: Table) -> None:
    """Run every test of ``table``'s policy.

    Raises DocumentInvalid (``selftest``) naming the first test that failed, with what it expected
    and what came out.
    """
    for test in table.policy.tests:
        problem = run_self_test(table, test).problem
        if problem:
            raise DocumentInvalid("selftest", f"test {test.name!r}: {problem}")


def run_self_test(table: Table, test: SelfTest) -> Tested:
    """One test's end. Raises DocumentInvalid (``selftest``) for an unreadable time."""
    inputs = sample_inputs(test.name, test.input)
    judgement, results = judge(table, inputs)
    rules = table.candidates(named(inputs)).rules if results else ()
    # A grant is used where it is true, a restriction where it is true or unknown.
    reached = [
        rule.id
        for rule, truth in zip(rules, results, strict=True)
        if truth == TRUE or (truth == UNKNOWN and rule.effect != "grant")
    ]
    return Tested(_difference(test, judgement), judgement, tuple(reached))


def sample_inputs(name: str, sample: SampleInput) -> Inputs:
    """The inputs a self-test states; what it leaves out is unknown.

    Raises DocumentInvalid (``selftest``) for an unreadable time.
    """
    person, agent, authz = sample.person, sample.agent, sample.authz
    data, model = sample.data, sample.model
    known: list[object] = [
        person.id,
        person.iss,
        person.assurance,
        agent.id,
        agent.attested_by,
        agent.name,
        agent.version,
        agent.session,
        _texts(authz.roles),
        _texts(authz.scopes),
        _texts(authz.delegation),
        data.level,
        _texts(data.categories),
        data.completeness,
        model.provider,
        model.requested,
        model.operation,
        model.route,
        _texts(model.regions),
        model.tool,
        model.tool_server,
        tuple(model.hosted_tools),
        tuple(model.references),
        _time(name, sample.time),
    ]
    return Inputs(known, sample.args)


def _texts(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def _time(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return time_micros(text)
    except ValueError as error:
        raise DocumentInvalid("selftest", f"test {name!r}: {error}") from error


def _difference(test: SelfTest, got: Judgement) -> str:
    want = test.expect
    if got.outcome != want.outcome:
        return f"outcome is {got.outcome!r} ({got.reason}), expected {want.outcome!r}"
    if want.reason is not None and got.reason != want.reason:
        return f"reason is {got.reason!r}, expected {want.reason!r}"
    if want.rules is not None and list(got.rules) != sorted(want.rules):
        return f"rules are {list(got.rules)}, expected {sorted(want.rules)}"
    return ""
