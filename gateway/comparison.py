"""The comparisons of conditions: one path against a constant.

A missing value, a null or a value of the wrong type gives UNKNOWN; nothing is converted, and a
boolean is no number. A constant that its path can never have is an error at load.

Owns: each operator's check of its operand and its compiled form. Refuses: connectives
(``condition.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from gateway.glob import any_matcher, is_exact, matcher
from gateway.inputs import (
    ARGUMENTS,
    CLOSED,
    DERIVED,
    INDEX,
    PATHS,
    Inputs,
    Kind,
    parse_argument_path,
    suggestion,
)
from gateway.timestamp import time_micros
from gateway.truth import FALSE, NOT, TRUE, UNKNOWN, Truth, all_of, any_of
from gateway.vocabulary import LEVEL_RANK
from gateway.zone import Zone, minute_of_day

Condition = Callable[[Inputs], Truth]
Predicate = Callable[[object], Truth]
"""Judges a value that is known (never None)."""

COMPARISONS: Final = (
    "eq",
    "ne",
    "in",
    "not_in",
    "has",
    "has_any",
    "has_all",
    "lt",
    "le",
    "gt",
    "ge",
    "at_most",
    "at_least",
    "matches",
    "exists",
    "time_between",
)
_ORDER: Final[Mapping[str, Callable[[object, object], bool]]] = {
    "lt": lambda have, bound: have < bound,  # type: ignore[operator]  # both are numbers by then
    "le": lambda have, bound: have <= bound,  # type: ignore[operator]  # as above
    "gt": lambda have, bound: have > bound,  # type: ignore[operator]  # as above
    "ge": lambda have, bound: have >= bound,  # type: ignore[operator]  # as above
}


class ConditionInvalid(Exception):
    """A condition document cannot be used; the text says what and where inside it."""


class Scope:
    """What the conditions of one bundle may name: its level names, time zones and groups.

    For the rule being compiled, ``paths`` collects the paths that it reads and ``count`` its
    conditions. Rules of one bundle repeat comparisons; each is compiled once.
    """

    def __init__(
        self,
        levels: Mapping[str, str],
        zones: Mapping[str, Zone],
        groups: Mapping[str, Sequence[str]],
    ) -> None:
        self.levels = {level: level for level in LEVEL_RANK} | dict(levels)
        self.zones = zones
        self.groups = groups
        self.paths: set[str] = set()
        self.count = 0
        self._compiled: dict[tuple[str, str], tuple[Condition, str]] = {}
        self._facts: dict[frozenset[str], frozenset[str]] = {}

    def begin_rule(self) -> None:
        """Forget the paths and the count of the rule before."""
        self.paths = set()
        self.count = 0

    def fact_paths(self) -> frozenset[str]:
        """Those of ``paths`` whose values are facts of a record when they are read."""
        paths = frozenset(self.paths)
        known = self._facts.get(paths)
        if known is None:
            known = self._facts[paths] = frozenset(
                path for path in paths if kind_of(path) == "argument" or path in DERIVED
            )
        return known

    def comparison(self, operator: str, operand: object) -> Condition:
        """``{operator: operand}`` compiled. Raises ConditionInvalid."""
        # By its text: 1, 1.0 and true are equal keys in Python and different constants here.
        key = (operator, repr(operand))
        known = self._compiled.get(key)
        if known is None:
            known = self._compiled[key] = _compile(operator, operand, self)
        condition, path = known
        self.paths.add(path)
        return condition


def _compile(operator: str, operand: object, scope: Scope) -> tuple[Condition, str]:
    if operator == "exists":
        path = _path(operator, operand)
        return _exists(path), path
    if operator == "time_between":
        return _time_between(operand, scope), "time"
    if not isinstance(operand, list) or len(operand) != 2:
        raise ConditionInvalid(f"{operator!r} takes [path, value]")
    path = _path(operator, operand[0])
    return _against_constant(operator, path, operand[1], scope), path


def _listed(operator: str, operand: object, scope: Scope) -> list[object]:
    """The constants of an operator that takes several: a list, or a group by ``@name``.

    A group stands in the place of the list, never in it: names may begin with ``@`` themselves.
    """
    if not isinstance(operand, str) or not operand.startswith("@"):
        return list_operand(operator, operand)
    name = operand[1:]
    if name not in scope.groups:
        raise ConditionInvalid(f"no group {name!r}{suggestion(name, scope.groups)}")
    for entry in scope.groups[name]:
        if not is_exact(entry):
            raise ConditionInvalid(
                f"group {name!r} holds the pattern {entry!r}; a condition compares whole texts"
            )
    return list(scope.groups[name])


def _against_constant(operator: str, path: str, constant: object, scope: Scope) -> Condition:
    kind = kind_of(path)
    if operator in ("has", "has_any", "has_all"):
        return _has(operator, path, constant, scope)
    if kind == "texts":
        raise ConditionInvalid(f"{path!r} is a list: use has, has_any or has_all, not {operator!r}")
    if operator in ("at_most", "at_least"):
        return _of_text(path, _levels(operator, path, constant, scope), negated=False)
    if operator in _ORDER:
        return _of_value(path, _number_bound(operator, path, constant))
    if kind == "time":
        raise ConditionInvalid(f"'time' takes lt, le, gt, ge or time_between, not {operator!r}")
    if operator == "matches":
        return _of_value(path, _matches(path, constant))
    wanted = [constant] if operator in ("eq", "ne") else _listed(operator, constant, scope)
    constants = [_constant(path, item, scope) for item in wanted]
    negated = operator in ("ne", "not_in")
    if kind != "argument":
        return _of_text(path, frozenset(map(str, constants)), negated=negated)
    member = _member(constants)
    return _of_value(path, _not_member(member) if negated else member)


def _of_text(path: str, texts: frozenset[str], *, negated: bool) -> Condition:
    # The commonest comparison of all, so it is one function and not a getter and a predicate.
    index = INDEX[path]
    inside, outside = (FALSE, TRUE) if negated else (TRUE, FALSE)

    def of_text(inputs: Inputs) -> Truth:
        value = inputs.known[index]
        if value is None:
            return UNKNOWN
        return inside if value in texts else outside

    return of_text


def _constant(path: str, value: object, scope: Scope) -> object:
    # The value as conditions compare it; raises for one that this path can never have.
    kind = kind_of(path)
    if kind == "level":
        return _level(path, value, scope)
    if isinstance(value, str):
        closed = CLOSED.get(path)
        if closed is not None and value not in closed:
            raise ConditionInvalid(
                f"{path!r} never has the value {value!r}{suggestion(value, closed)}"
            )
        return value
    if kind != "argument":
        raise ConditionInvalid(f"{path!r} is a text; {value!r} can never equal it")
    if isinstance(value, bool):
        return value
    number = as_number(value)
    if number is None:
        raise ConditionInvalid(f"a constant is a text, a number or a boolean, not {value!r}")
    return number


def _level(path: str, value: object, scope: Scope) -> str:
    if path != "data.level":
        raise ConditionInvalid(f"{path!r} is not a level; only 'data.level' is")
    if not isinstance(value, str) or value not in scope.levels:
        known = suggestion(value, scope.levels) if isinstance(value, str) else ""
        raise ConditionInvalid(f"unknown level {value!r}{known}")
    return scope.levels[value]


def as_number(value: object) -> int | Decimal | None:
    """``value`` as an exact number, or None where it is none. A boolean is none.

    A float is taken as its shortest decimal text, which is what its sender wrote wherever that
    had at most 15 digits; infinities and NaN are no numbers.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        value = Decimal(repr(value))
    return value if isinstance(value, Decimal) and value.is_finite() else None


def _member(wanted: list[object]) -> Predicate:
    texts = frozenset(item for item in wanted if isinstance(item, str))
    booleans = frozenset(item for item in wanted if isinstance(item, bool))
    numbers = frozenset(as_number(item) for item in wanted) - {None}

    def member(value: object) -> Truth:
        if isinstance(value, str):
            return UNKNOWN if not texts else TRUE if value in texts else FALSE
        if isinstance(value, bool):
            return UNKNOWN if not booleans else TRUE if value in booleans else FALSE
        number = as_number(value)
        if number is None or not numbers:
            return UNKNOWN
        return TRUE if number in numbers else FALSE

    return member


def _not_member(member: Predicate) -> Predicate:
    return lambda value: NOT[member(value)]


def _number_bound(operator: str, path: str, constant: object) -> Predicate:
    compare = _ORDER[operator]
    if kind_of(path) == "time":
        bound: object = _time(constant)
        return lambda value: TRUE if compare(value, bound) else FALSE
    if kind_of(path) != "argument":
        raise ConditionInvalid(f"{path!r} is not a number: {operator!r} does not apply to it")
    limit = as_number(constant)
    if limit is None:
        raise ConditionInvalid(f"{operator!r} takes a number, not {constant!r}")

    def bounded(value: object) -> Truth:
        number = as_number(value)
        if number is None:
            return UNKNOWN
        return TRUE if compare(number, limit) else FALSE

    return bounded


def _time(constant: object) -> int:
    if not isinstance(constant, str):
        raise ConditionInvalid(f"a time is a text, not {constant!r}")
    try:
        return time_micros(constant)
    except ValueError as error:
        raise ConditionInvalid(str(error)) from error


def _levels(operator: str, path: str, constant: object, scope: Scope) -> frozenset[str]:
    bound = LEVEL_RANK[_level(path, constant, scope)]
    if operator == "at_most":
        return frozenset(level for level, rank in LEVEL_RANK.items() if rank <= bound)
    return frozenset(level for level, rank in LEVEL_RANK.items() if rank >= bound)


def _matches(path: str, constant: object) -> Predicate:
    if not isinstance(constant, str):
        raise ConditionInvalid(f"'matches' takes a text with '*', not {constant!r}")
    if kind_of(path) not in ("text", "argument"):
        raise ConditionInvalid(f"'matches' does not apply to {path!r}")
    glob = matcher(constant)

    def matches(value: object) -> Truth:
        if not isinstance(value, str):
            return UNKNOWN
        return TRUE if glob(value) else FALSE

    return matches


def _has(operator: str, path: str, constant: object, scope: Scope) -> Condition:
    kind = kind_of(path)
    if kind not in ("texts", "argument"):
        raise ConditionInvalid(f"{operator!r} takes a list path; {path!r} is a {kind}")
    wanted = [constant] if operator == "has" else _listed(operator, constant, scope)
    connect = all_of if operator == "has_all" else any_of
    if kind == "argument":
        return connect([_of_value(path, _list_member(_argument_constant(w))) for w in wanted])
    for item in wanted:
        if not isinstance(item, str):
            raise ConditionInvalid(f"{path!r} holds texts; {item!r} is never among them")
    if path == "data.categories":
        return connect([_category(str(item)) for item in wanted])
    if operator == "has_any":
        return _of_value(path, _any_text([str(item) for item in wanted]))
    return connect([_of_value(path, _any_text([str(item)])) for item in wanted])


def _argument_constant(value: object) -> object:
    if isinstance(value, str | bool):
        return value
    number = as_number(value)
    if number is None:
        raise ConditionInvalid(f"a constant is a text, a number or a boolean, not {value!r}")
    return number


def _list_member(wanted: object) -> Predicate:
    member = _member([wanted])

    def holds(value: object) -> Truth:
        if not isinstance(value, list):
            return UNKNOWN
        result = FALSE
        for item in value:
            truth = member(item)
            if truth == TRUE:
                return TRUE
            result = max(result, truth)
        return result

    return holds


def _any_text(wanted: list[str]) -> Predicate:
    if len(wanted) == 1 and is_exact(wanted[0]):
        only = wanted[0]
        return lambda value: TRUE if only in value else FALSE  # type: ignore[operator]  # a tuple
    matches = any_matcher(wanted)
    return lambda value: TRUE if any(map(matches, value)) else FALSE  # type: ignore[call-overload]  # a tuple


def _category(wanted: str) -> Condition:
    found = _of_value("data.categories", _any_text([wanted]))

    def has_category(inputs: Inputs) -> Truth:
        truth = found(inputs)
        if truth == FALSE and not inputs.scanned_whole:
            return UNKNOWN
        return truth

    return has_category


def list_operand(operator: str, operand: object) -> list[object]:
    """``operand`` as a list that is not empty. Raises ConditionInvalid."""
    if not isinstance(operand, list) or not operand:
        raise ConditionInvalid(f"{operator!r} takes a list that is not empty")
    return operand


def _path(operator: str, path: object) -> str:
    if not isinstance(path, str):
        raise ConditionInvalid(f"{operator!r} takes a path as its first value")
    if path.startswith(ARGUMENTS):
        try:
            parse_argument_path(path)
        except ValueError as error:
            raise ConditionInvalid(f"path {path!r} {error}") from error
    elif path not in PATHS:
        raise ConditionInvalid(f"unknown path {path!r}{suggestion(path, PATHS)}")
    return path


def kind_of(path: str) -> Kind:
    """The kind of value that stands at a valid ``path``."""
    return PATHS.get(path, "argument")


def _of_value(path: str, predicate: Predicate) -> Condition:
    # Two shapes instead of one getter: the look-up of a known path is the hot path of every rule.
    if path.startswith(ARGUMENTS):
        steps = parse_argument_path(path)

        def of_argument(inputs: Inputs) -> Truth:
            value = inputs.argument(path, steps)
            return UNKNOWN if value is None else predicate(value)

        return of_argument
    if path in DERIVED:

        def of_derived(inputs: Inputs) -> Truth:
            value = inputs.derived(path)
            return UNKNOWN if value is None else predicate(value)

        return of_derived
    index = INDEX[path]

    def of_known(inputs: Inputs) -> Truth:
        value = inputs.known[index]
        return UNKNOWN if value is None else predicate(value)

    return of_known


def _exists(path: str) -> Condition:
    if path.startswith(ARGUMENTS):
        steps = parse_argument_path(path)

        def argument_exists(inputs: Inputs) -> Truth:
            if inputs.argument(path, steps) is not None:
                return TRUE
            # Arguments that nobody could read may hold anything.
            return UNKNOWN if inputs.args is None else FALSE

        return argument_exists
    if path in DERIVED:
        raise ConditionInvalid(f"{path!r} always exists")
    index = INDEX[path]
    return lambda inputs: FALSE if inputs.known[index] is None else TRUE


def _time_between(operand: object, scope: Scope) -> Condition:
    items = list_operand("time_between", operand)
    if len(items) not in (2, 3) or not all(isinstance(item, str) for item in items):
        raise ConditionInvalid('\'time_between\' takes ["HH:MM", "HH:MM"] and a zone if not UTC')
    first, last = (_minutes(str(item)) for item in items[:2])
    zone = None
    if len(items) == 3:
        zone = scope.zones.get(str(items[2]))
        if zone is None:
            known = suggestion(str(items[2]), scope.zones)
            raise ConditionInvalid(f"no transition table for time zone {items[2]!r}{known}")
    if first == last:
        raise ConditionInvalid("'time_between' with equal times is empty or the whole day")

    def between(inputs: Inputs) -> Truth:
        now_us = inputs.derived("time")
        minute = minute_of_day(now_us, zone) if isinstance(now_us, int) else None
        if minute is None:
            return UNKNOWN
        inside = first <= minute < last if first < last else minute >= first or minute < last
        return TRUE if inside else FALSE

    return between


def _minutes(text: str) -> int:
    hours, colon, minutes = text.partition(":")
    plain = text.isascii() and hours.isdigit() and minutes.isdigit()
    if not (colon and plain and len(text) == 5 and int(hours) < 24 and int(minutes) < 60):
        raise ConditionInvalid(f"{text!r} is not a time of day HH:MM")
    return int(hours) * 60 + int(minutes)
