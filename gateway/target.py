"""Which calls a rule is about: operations, models or tools, routes and agents.

Targets are three-valued as conditions are: a model call without a readable model may be any
model, so a restriction on models is UNKNOWN for it, not FALSE. A rule on models is FALSE for tool
calls and the reverse.

Owns: reading a rule's target lists and matching a call's names against them. Refuses: the
rule's condition and its effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from gateway.glob import any_matcher, is_exact, matcher
from gateway.inputs import Inputs, suggestion
from gateway.policy import Grant, Restriction
from gateway.truth import FALSE, TRUE, UNKNOWN, Truth, both
from gateway.vocabulary import OPERATIONS

TOOL_OPERATIONS: Final = frozenset(
    {
        "tool_call",
        "tool_list",
        "tool_session",
        "tool_notification",
        "resource_read",
        "resource_list",
        "prompt_get",
        "prompt_list",
        "completion_list",
        "http_call",
    }
)
"""Operations that go to a tool server. Of them ``tool_call`` and ``http_call`` run a tool; the
others are matched by the server part alone."""
_WITHOUT_MODEL: Final = TOOL_OPERATIONS | {"file", "models"}
MODEL_OPERATIONS: Final = OPERATIONS - _WITHOUT_MODEL
"""Operations that a model answers; ``unknown`` is one of them and may also be a tool's."""
_RUNS_TOOL: Final = frozenset({"tool_call", "http_call", "unknown"})

Names = Callable[[str], bool]


class TargetInvalid(Exception):
    """A rule's targets cannot be used; the text names the member and the entry."""


class Named(msgspec.Struct, frozen=True):
    """The names of a call that targets look at; None where unknown."""

    operation: str
    model: str | None
    server: str | None
    tool: str | None
    route: str | None
    agent: str | None


def named(inputs: Inputs) -> Named:
    """The names of the call that ``inputs`` describe."""
    return Named(
        operation=inputs.text("model.operation") or "unknown",
        model=inputs.text("model.requested"),
        server=inputs.text("model.tool_server"),
        tool=inputs.text("model.tool"),
        route=inputs.text("model.route"),
        agent=inputs.text("agent.id"),
    )


class Target(msgspec.Struct, frozen=True):
    """The compiled target lists of one rule; None matches all.

    ``exact``: every model, or bare tool name, that can match, where the patterns allow a finite
    list; the index of ``table.py`` is built on it.
    """

    operations: frozenset[str]
    models: Names | None
    tools: ToolNames | None
    routes: Names | None
    agents: Names | None
    exact: frozenset[str] | None


class ToolNames(msgspec.Struct, frozen=True):
    """``pairs``: (server, tool) patterns, server None for any server."""

    pairs: tuple[tuple[Names | None, Names], ...]

    def match(self, name: Named) -> Truth:
        """Whether one of the pairs names the call's tool; UNKNOWN where a needed name is."""
        if name.operation not in TOOL_OPERATIONS and name.operation != "unknown":
            return FALSE
        runs_tool = name.operation in _RUNS_TOOL
        result = FALSE
        for server, tool in self.pairs:
            truth = both(_server_truth(server, name), _tool_truth(tool, name, runs_tool))
            if truth == TRUE:
                return TRUE
            result = max(result, truth)
        return result


def _server_truth(server: Names | None, name: Named) -> Truth:
    if server is None:
        return TRUE
    if name.server is None:
        return UNKNOWN
    return TRUE if server(name.server) else FALSE


def _tool_truth(tool: Names, name: Named, runs_tool: bool) -> Truth:
    if name.tool is not None:
        return TRUE if tool(name.tool) else FALSE
    if runs_tool:
        return UNKNOWN
    # Listing, sessions and resources have no tool: only a pattern for all of a server's fits.
    return TRUE if tool("") else FALSE


def compile_target(rule: Grant | Restriction, groups: Mapping[str, list[str]]) -> Target:
    """The targets of ``rule``, groups expanded. Raises TargetInvalid."""
    operations = _operations(tuple(_expand("actions", rule.actions, groups)))
    models = None if rule.models is None else _expand("models", rule.models, groups)
    tools = None if rule.tools is None else _expand("tools", rule.tools, groups)
    if models is not None and tools is not None:
        raise TargetInvalid("has models and tools: no call has both; write two rules")
    if models is not None and not operations & MODEL_OPERATIONS:
        raise TargetInvalid("has models, but none of its actions is a model's: it never matches")
    if tools is not None and not operations & (TOOL_OPERATIONS | {"unknown"}):
        raise TargetInvalid("has tools, but none of its actions is a tool's: it never matches")
    return Target(
        operations=operations,
        models=None if models is None else any_matcher(models),
        tools=None if tools is None else ToolNames(tuple(_tool_pair(tool) for tool in tools)),
        routes=_matcher_of("routes", rule.routes, groups),
        agents=_matcher_of("agents", rule.agents, groups),
        exact=_exact(models, tools),
    )


def _expand(member: str, entries: list[str], groups: Mapping[str, list[str]]) -> list[str]:
    if not entries:
        raise TargetInvalid(f"{member} is empty: it never matches; leave it out to match all")
    expanded: list[str] = []
    for entry in entries:
        if not entry:
            raise TargetInvalid(f"{member} holds an empty text")
        if not entry.startswith("@"):
            expanded.append(entry)
        elif entry[1:] in groups:
            expanded += groups[entry[1:]]
        else:
            raise TargetInvalid(f"{member}: no group {entry[1:]!r}{suggestion(entry[1:], groups)}")
    return expanded


def _matcher_of(
    member: str, entries: list[str] | None, groups: Mapping[str, list[str]]
) -> Names | None:
    return None if entries is None else any_matcher(_expand(member, entries, groups))


@lru_cache(maxsize=256)
def _operations(patterns: tuple[str, ...]) -> frozenset[str]:
    found: set[str] = set()
    for pattern in patterns:
        matched = set(filter(matcher(pattern), OPERATIONS))
        if not matched:
            raise TargetInvalid(
                f"actions: {pattern!r} is no operation{suggestion(pattern, OPERATIONS)}"
            )
        found |= matched
    return frozenset(found)


def _tool_pair(pattern: str) -> tuple[Names | None, Names]:
    # Server names hold no slash, so the first one parts server from tool in pattern and name
    # alike: no tool can be named so that it passes for one of another server.
    server, slash, tool = pattern.partition("/")
    return (matcher(server), matcher(tool)) if slash else (None, matcher(pattern))


def _exact(models: list[str] | None, tools: list[str] | None) -> frozenset[str] | None:
    if models is not None:
        return frozenset(models) if all(map(is_exact, models)) else None
    if tools is None:
        return None
    names = [tool.partition("/")[2] if "/" in tool else tool for tool in tools]
    # An empty tool name matches calls that run no tool; the index cannot hold those.
    return frozenset(names) if all(name and is_exact(name) for name in names) else None


def match_target(target: Target, name: Named) -> Truth:
    """Whether a rule's targets name the call: TRUE, FALSE, or UNKNOWN where a name is missing."""
    result = TRUE
    if name.operation not in target.operations:
        # A call whose kind nobody could tell may be any kind.
        if name.operation != "unknown":
            return FALSE
        result = UNKNOWN
    if target.models is not None:
        if name.operation not in MODEL_OPERATIONS:
            return FALSE
        result = both(result, _truth(target.models, name.model))
    if target.tools is not None:
        result = both(result, target.tools.match(name))
    if target.routes is not None:
        result = both(result, _truth(target.routes, name.route))
    if target.agents is not None:
        result = both(result, _truth(target.agents, name.agent))
    return result


def _truth(matches: Names, name: str | None) -> Truth:
    if name is None:
        return UNKNOWN
    return TRUE if matches(name) else FALSE
