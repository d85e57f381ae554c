"""A policy as its authors keep it: files, their merging, and every mistake with its place.

Owns: merging the files of one policy, reading the result as a ``Policy``, and finding the place
of what ``table.py`` refuses. Refuses: the disk, and rules of its own: what compiles here is what
a daemon compiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from gateway.comparison import ConditionInvalid, Scope
from gateway.condition import compile_condition
from gateway.errors import DocumentInvalid
from gateway.inputs import suggestion
from gateway.policy import (
    Grant,
    Policy,
    Restriction,
    SampleInput,
    SelfTest,
    decode_policy,
    json_text,
)
from gateway.table import Table, compile_policy, scope_of
from gateway.target import TargetInvalid, compile_target
from gateway.yaml_text import Fault, Path, Place, SourceInvalid, read_tree

_AT: Final = re.compile(r" - at `(?:key in )?\$?([^`]*)`")
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_QUOTED: Final = re.compile(r"'([^']*)'")
_LISTS: Final = frozenset(
    {"grants", "restrictions", "tests", "recordable", "hosted_tools", "references"}
)
_MAPPINGS: Final = frozenset({"groups", "levels", "record_commit", "time_zones"})


class _Tests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of tests that are kept beside the policy and do not travel with it."""

    tests: list[SelfTest]


class PolicySource(msgspec.Struct, frozen=True):
    """A compiled policy and where its parts stand. ``digest``: of the bundle that it came in; None
    for a policy as its author writes it."""

    policy: Policy
    table: Table
    places: dict[Path, Place]
    digest: str | None = None

    def place(self, path: Path) -> Place:
        """Where ``path`` stands, or the nearest thing around it."""
        return _nearest(self.places, path)

    def rule_place(self, rule_id: str) -> Place:
        """Where the rule begins."""
        for member, rules in _rules(self.policy):
            for index, rule in enumerate(rules):
                if rule.id == rule_id:
                    return self.place((member, index))
        return self.place(())


def read_policy(files: Sequence[tuple[str, bytes]]) -> PolicySource:
    """The policy in ``files`` (name, content), which together hold one document.

    Lists are joined in the order of the files; a name in a mapping, a setting and a rule's id
    stand once. Raises SourceInvalid with all mistakes of the first step that finds any.
    """
    value, places = _merged(files)
    policy = _decoded(value, places)
    faults = list(_rule_faults(policy, places))
    if faults:
        raise SourceInvalid(*faults)
    try:
        table = compile_policy(policy)
    except DocumentInvalid as error:
        raise SourceInvalid(_setting_fault(error, policy, places)) from error
    return PolicySource(policy, table, places)


def read_tests(file: str, data: bytes) -> list[SelfTest]:
    """The tests of a file that has the one member ``tests``. Raises SourceInvalid."""
    tree = read_tree(file, data)
    try:
        return msgspec.json.decode(json_text(tree.value), type=_Tests).tests
    except msgspec.ValidationError as error:
        raise SourceInvalid(_shape_fault(str(error), tree.places, _Tests)) from error


def read_call(file: str, data: bytes) -> SampleInput:
    """The call of a file that holds what a test's ``input`` holds. Raises SourceInvalid."""
    tree = read_tree(file, data)
    try:
        return msgspec.json.decode(json_text(tree.value), type=SampleInput)
    except msgspec.ValidationError as error:
        raise SourceInvalid(_shape_fault(str(error), tree.places, SampleInput)) from error


def _merged(files: Sequence[tuple[str, bytes]]) -> tuple[dict[str, object], dict[Path, Place]]:
    merged: dict[str, object] = {}
    places: dict[Path, Place] = {}
    for file, data in files:
        tree = read_tree(file, data)
        if not isinstance(tree.value, dict):
            raise SourceInvalid(Fault(tree.places[()], "a policy is an object with members"))
        places.setdefault((), tree.places[()])
        offsets: dict[str, int] = {}
        for member, value in tree.value.items():
            offsets[member] = _join(merged, member, value, tree.places, places)
        for path, place in tree.places.items():
            if len(path) > 1 and isinstance(path[1], int):
                path = (path[0], path[1] + offsets[str(path[0])], *path[2:])
            places.setdefault(path, place)
    return merged, places


def _join(
    merged: dict[str, object],
    member: str,
    value: object,
    own: dict[Path, Place],
    places: dict[Path, Place],
) -> int:
    """Add ``member`` to ``merged``; returns by how much its elements move."""
    before = merged.get(member)
    if member not in merged:
        merged[member] = value
    elif member in _LISTS and isinstance(before, list) and isinstance(value, list):
        merged[member] = [*before, *value]
        return len(before)
    elif member in _MAPPINGS and isinstance(before, dict) and isinstance(value, dict):
        for name in value:
            if name in before:
                raise _twice(own[(member, name)], f"{member}.{name}", places[(member, name)])
        merged[member] = {**before, **value}
    else:
        raise _twice(own[(member,)], member, places[(member,)])
    return 0


def _twice(place: Place, what: str, before: Place) -> SourceInvalid:
    return SourceInvalid(Fault(place, f"{what!r} stands twice; first in {before}"))


def _decoded(value: dict[str, object], places: dict[Path, Place]) -> Policy:
    try:
        return decode_policy(json_text(value))
    except DocumentInvalid as error:
        raise SourceInvalid(_shape_fault(error.detail, places, Policy)) from error


def _shape_fault(detail: str, places: dict[Path, Place], top: type[msgspec.Struct]) -> Fault:
    """The place and words of an error of the decoder, which names a path."""
    at = _AT.search(detail)
    path: Path = ()
    if at is not None:
        path = tuple(int(index) if index else name for name, index in _STEP.findall(at[1]))
    said = _AT.sub("", detail).removeprefix("policy: ")
    unknown = _UNKNOWN.search(said)
    if unknown is not None:
        said = f"unknown member {unknown[1]!r}{suggestion(unknown[1], _members_at(path, top))}"
        path = (*path, unknown[1])
    elif path:
        said = f"{'.'.join(map(str, path))}: {said}"
    return Fault(_nearest(places, path), said)


def _members_at(path: Path, top: type[msgspec.Struct]) -> Iterator[str]:
    """The members of the type that stands at ``path`` in a document of type ``top``."""
    found: msgspec.inspect.Type = msgspec.inspect.type_info(top)
    for step in path:
        found = _below(found, step)
    if isinstance(struct := _struct(found), msgspec.inspect.StructType):
        yield from (field.name for field in struct.fields)


def _below(found: msgspec.inspect.Type, step: str | int) -> msgspec.inspect.Type:
    found = _struct(found)
    if isinstance(found, msgspec.inspect.ListType):
        return found.item_type
    if isinstance(found, msgspec.inspect.DictType):
        return found.value_type
    if isinstance(found, msgspec.inspect.StructType):
        return next((f.type for f in found.fields if f.name == step), found)
    return found


def _struct(found: msgspec.inspect.Type) -> msgspec.inspect.Type:
    if isinstance(found, msgspec.inspect.UnionType):
        return next(
            (one for one in found.types if not isinstance(one, msgspec.inspect.NoneType)), found
        )
    return found


def _rules(policy: Policy) -> tuple[tuple[str, Sequence[Grant | Restriction]], ...]:
    return ("restrictions", policy.restrictions), ("grants", policy.grants)


def _rule_faults(policy: Policy, places: dict[Path, Place]) -> Iterator[Fault]:
    try:
        scope = scope_of(policy)
    except DocumentInvalid as error:
        yield _setting_fault(error, policy, places)
        return
    first: dict[str, Place] = {}
    for member, rules in _rules(policy):
        for index, rule in enumerate(rules):
            path: Path = (member, index)
            place = _nearest(places, (*path, "id"))
            if rule.id in first:
                yield Fault(place, f"rule id {rule.id!r} stands twice; first in {first[rule.id]}")
            first.setdefault(rule.id, place)
            for where, said in _faults_of(rule, path, policy, scope):
                yield Fault(_nearest(places, where), f"rule {rule.id!r}: {said}")


def _faults_of(
    rule: Grant | Restriction, path: Path, policy: Policy, scope: Scope
) -> Iterator[tuple[Path, str]]:
    try:
        compile_target(rule, policy.groups)
    except TargetInvalid as error:
        yield _target_path(rule, path, str(error)), str(error)
    if rule.when is not None:
        found = list(_condition_faults(rule.when, (*path, "when"), scope))
        yield from found
        if not found:
            # Bounds on the whole: depth and number.
            scope.begin_rule()
            try:
                compile_condition(rule.when, scope)
            except ConditionInvalid as error:
                yield (*path, "when"), str(error)


def _target_path(rule: Grant | Restriction, path: Path, said: str) -> Path:
    member = said.split(":")[0].split(" ")[0]
    entries = getattr(rule, member, None)
    if not isinstance(entries, list):
        return path
    quoted = _QUOTED.search(said)
    named = {"" if quoted is None else quoted[1], "@" + quoted[1] if quoted else ""}
    for index, entry in enumerate(entries):
        if entry in named:
            return (*path, member, index)
    return (*path, member)


def _condition_faults(document: object, path: Path, scope: Scope) -> Iterator[tuple[Path, str]]:
    """The mistakes in each comparison of ``document``, not only the first."""
    if isinstance(document, dict) and len(document) == 1:
        ((operator, operand),) = document.items()
        below = (*path, operator)
        if operator in ("all", "any") and isinstance(operand, list) and operand:
            for index, part in enumerate(operand):
                yield from _condition_faults(part, (*below, index), scope)
            return
        if operator == "not":
            yield from _condition_faults(operand, below, scope)
            return
        path = below
    scope.begin_rule()
    try:
        compile_condition(document, scope)
    except ConditionInvalid as error:
        yield path, str(error)


def _setting_fault(error: DocumentInvalid, policy: Policy, places: dict[Path, Place]) -> Fault:
    """The place of an error that names a rule, or begins with a member's name."""
    said = error.detail
    quoted = _QUOTED.search(said)
    path: Path = tuple(re.split(r"[:\s]", said, maxsplit=1)[0].split("."))
    if said.startswith("rule ") and quoted is not None:
        path = next(
            (
                (member, index, "id")
                for member, rules in _rules(policy)
                for index, rule in enumerate(rules)
                if rule.id == quoted[1]
            ),
            (),
        )
    elif said.startswith("group ") and quoted is not None:
        path = ("groups", quoted[1])
    elif quoted is not None and path == ("recordable",) and quoted[1] in policy.recordable:
        path = ("recordable", policy.recordable.index(quoted[1]))
    elif quoted is not None and path[0] in _MAPPINGS:
        path = (*path, quoted[1])
    return Fault(_nearest(places, path), said)


def _nearest(places: dict[Path, Place], path: Path) -> Place:
    while path and path not in places:
        path = path[:-1]
    return places[path]
