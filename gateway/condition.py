"""Conditions of ``table/1``: three-valued, without loops, regular expressions, clock or chance.

A condition is TRUE, FALSE or UNKNOWN (Kleene's strong logic). What UNKNOWN then means is the
rule's matter: it makes a restriction apply and a grant not apply.

Owns: a condition document's form, the connectives and the bounds on depth and number; its
compiled form is a function of ``Inputs``. Refuses: rules, effects and reading anything but
``Inputs``; the comparisons are in ``comparison.py``.
"""

from __future__ import annotations

from gateway.comparison import (
    COMPARISONS,
    Condition,
    ConditionInvalid,
    Scope,
    list_operand,
)
from gateway.inputs import Inputs, suggestion
from gateway.limits import POLICY_CONDITION_DEPTH_MAX as _DEPTH_MAX
from gateway.limits import POLICY_CONDITIONS_PER_RULE_MAX as _CONDITIONS_MAX
from gateway.truth import TRUE, UNKNOWN, Truth, all_of, any_of, negation_of

OPERATORS = ("all", "any", "not", *COMPARISONS)
_COMPARISONS = frozenset(COMPARISONS)


def always(_: Inputs) -> Truth:
    """The condition of a rule that states none."""
    return TRUE


def never_known(_: Inputs) -> Truth:
    """The condition of a rule of which it is not known whether it is about the call."""
    return UNKNOWN


def compile_condition(document: object, scope: Scope, depth: int = 1) -> Condition:
    """``document`` (one-member objects ``{operator: operand}``) as a function of ``Inputs``.

    Raises ConditionInvalid for an unknown operator or path, a constant of the wrong kind, and
    beyond ``limits.POLICY_CONDITION_DEPTH_MAX`` and ``POLICY_CONDITIONS_PER_RULE_MAX``.
    """
    if depth > _DEPTH_MAX:
        raise ConditionInvalid(f"is deeper than {_DEPTH_MAX} levels")
    scope.count += 1
    if scope.count > _CONDITIONS_MAX:
        raise ConditionInvalid(f"has more than {_CONDITIONS_MAX} conditions; split the rule")
    if not isinstance(document, dict) or len(document) != 1:
        raise ConditionInvalid("a condition is an object with one member, its operator")
    ((operator, operand),) = document.items()
    if operator in _COMPARISONS:
        return scope.comparison(operator, operand)
    if operator in ("all", "any"):
        parts = list_operand(operator, operand)
        compiled = [compile_condition(part, scope, depth + 1) for part in parts]
        return all_of(compiled) if operator == "all" else any_of(compiled)
    if operator == "not":
        return negation_of(compile_condition(operand, scope, depth + 1))
    raise ConditionInvalid(f"unknown operator {operator!r}{suggestion(operator, OPERATORS)}")
