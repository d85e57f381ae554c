"""The admission policies, evaluated as the API server would: their own CEL, over whole pods.

Owns: match conditions, variables, validations and mutations of a rendered policy; an expression
that errs refuses the pod. Refuses: the API server's type checker, its cost limits and its defaults,
which no library here has; k8s/README.md says so.

`Object{…}` and `JSONPatch{…}` are types of the API server's: here each is the map of its fields,
and what comes out is held against the published schemas.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from typing import Any, Final

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError

from tests.k8s.renders import Manifest

_TYPE: Final = re.compile(r"\b(Object(?:\.[A-Za-z]+)*|JSONPatch)\{")
_MERGED_BY: Final = {"containers": "name", "env": "name", "volumeMounts": "mountPath"}
_ENVIRONMENT: Final = celpy.Environment()


class Request:
    """What is asked of the API server. ``parameters``: of the ConfigMap that the binding names."""

    def __init__(
        self, pod: Manifest, parameters: dict[str, str], *, old: Manifest | None = None
    ) -> None:
        self.pod = pod
        self.names: dict[str, Any] = {
            "object": pod,
            "oldObject": old,
            "params": {"data": parameters},
            "request": {"operation": "CREATE" if old is None else "UPDATE"},
        }


class Policy:
    """A policy of either kind, from its rendered document."""

    def __init__(self, document: Manifest) -> None:
        self._spec = document["spec"]
        self.conditions = {one["name"]: one["expression"] for one in self._spec["matchConditions"]}
        self.messages = [one["message"] for one in self._spec.get("validations", [])]

    def matches(self, request: Request) -> set[str]:
        """The names of the match conditions that hold."""
        return {
            name for name, text in self.conditions.items() if _evaluate(text, request.names) is True
        }

    def applies(self, request: Request) -> bool:
        return self.matches(request) == set(self.conditions)

    def refusals(self, request: Request, about: str = "") -> list[str]:
        """Messages of the validations that do not hold, or err; empty where all hold.

        ``about``: only those whose message has this text; evaluating is slow.
        """
        names: dict[str, Any] = {**request.names, "variables": {}}
        for variable in self._spec["variables"]:
            names["variables"][variable["name"]] = _evaluate(variable["expression"], names)
        found = []
        for one in self._spec["validations"]:
            if about not in one["message"]:
                continue
            try:
                holds = _evaluate(one["expression"], names)
            except CELEvalError:
                holds = False
            if holds is not True:
                found.append(one["message"])
        return found

    def mutated(self, request: Request) -> Manifest:
        """The pod after the mutations, each of which sees what those before it made."""
        pod = copy.deepcopy(request.pod)
        for mutation in self._spec["mutations"]:
            names = {**request.names, "object": pod}
            if mutation["patchType"] == "JSONPatch":
                for patch in _evaluate(mutation["jsonPatch"]["expression"], names):
                    _add(pod, patch["path"], patch["value"])
            else:
                made = _evaluate(mutation["applyConfiguration"]["expression"], names)
                pod = _merged(pod, made)
        return pod


@cache
def _compiled(text: str) -> tuple[celpy.Runner, frozenset[str]]:
    """The program, and the names in it that make typed values; dotted ones are made plain."""
    types = frozenset(found.replace(".", "_") for found in _TYPE.findall(text))
    text = _TYPE.sub(lambda found: found[1].replace(".", "_") + "{", text)
    return _ENVIRONMENT.program(_ENVIRONMENT.compile(text)), types


def _evaluate(text: str, names: dict[str, Any]) -> Any:
    program, types = _compiled(text)
    activation: dict[str, Any] = dict.fromkeys(types, celtypes.MessageType)
    activation |= {name: json_to_cel(value) for name, value in names.items()}
    return _plain(program.evaluate(activation))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, celtypes.BoolType):
        return bool(value)
    return int(value) if isinstance(value, int) else str(value)


def _add(pod: Manifest, path: str, value: Any) -> None:
    """RFC 6902 `add`, the only operation there is. Raises KeyError where there is no parent."""
    *above, last = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    place: Any = pod
    for part in above:
        place = place[part]
    if isinstance(place, list):
        place.insert(len(place) if last == "-" else int(last), copy.deepcopy(value))
    else:
        place[last] = copy.deepcopy(value)


def _merged(held: Any, made: Any, member: str = "") -> Any:
    """Server-side apply: maps merge, lists with a key merge by it, all else is replaced."""
    if isinstance(held, dict) and isinstance(made, dict):
        merged = {key: _merged(held.get(key), item, key) for key, item in made.items()}
        return {**held, **merged}
    key = _MERGED_BY.get(member)
    if not isinstance(held, list) or key is None:
        return made
    new = {item[key]: item for item in made}
    kept = [_merged(item, new.pop(item[key], {})) for item in held]
    return kept + list(new.values())
