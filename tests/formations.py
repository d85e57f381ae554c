"""Hypothesis strategies for any Struct, drawn from its annotations, so that new members are too."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from gateway import limits

StructT = TypeVar("StructT", bound=msgspec.Struct)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
INTEGERS = st.integers(-limits.JSON_INTEGER_MAX, limits.JSON_INTEGER_MAX)


def structs(
    kind: type[StructT], fixed: dict[str, object] | None = None
) -> st.SearchStrategy[StructT]:
    """Any value of ``kind``, whatever its members' meaning; ``fixed`` members as given."""
    return _struct(inspect.type_info(kind), fixed or {}).map(
        lambda value: msgspec.convert(value, kind)
    )


def _struct(info: inspect.Type, fixed: dict[str, object]) -> st.SearchStrategy[object]:
    assert isinstance(info, inspect.StructType)
    return st.fixed_dictionaries(
        {
            field.encode_name: st.just(fixed[field.name])
            if field.name in fixed
            else _values(field.type)
            for field in info.fields
        }
    )


def _values(info: inspect.Type) -> st.SearchStrategy[object]:
    if isinstance(info, inspect.StructType):
        return _struct(info, {})
    if isinstance(info, inspect.UnionType):
        return st.one_of([_values(one) for one in info.types])
    if isinstance(info, inspect.ListType):
        return st.lists(_values(info.item_type), max_size=3)
    if isinstance(info, inspect.DictType):
        return st.dictionaries(TEXTS, _values(info.value_type), max_size=3)
    if isinstance(info, inspect.IntType) and info.ge is not None:
        return st.integers(info.ge, info.le)
    scalars: dict[type[inspect.Type], st.SearchStrategy[object]] = {
        inspect.StrType: TEXTS,
        inspect.IntType: INTEGERS,
        inspect.BoolType: st.booleans(),
        inspect.NoneType: st.none(),
    }
    return scalars[type(info)]
