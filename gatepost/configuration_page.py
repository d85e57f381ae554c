"""``docs/configuration.md``, generated from the configuration types.

Owns: the page's text. Refuses: facts of its own; what a setting means stands beside its type,
and a test compares the page with what this module makes of it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import inspect as types

from central.config import CentralConfig
from central.policy_mirror.config import MirrorConfig
from central.witness.config import WitnessConfig
from gateway.vocabulary import NAME_PATTERN
from sidecar.config import SidecarConfig
from sidecar.fields import PATH_PATTERN

PAGE: Final = Path("docs/configuration.md")

_BOUNDS: Final = (
    ("ge", "at least {}"),
    ("gt", "above {}"),
    ("le", "at most {}"),
    ("min_length", "{1}: at least {0}"),
    ("max_length", "{1}: at most {0}"),
)
_PATTERNS: Final = {NAME_PATTERN: "a name", PATH_PATTERN: ""}
"""Patterns that are better said in words, or go without saying."""

_HEAD: Final = """# Configuration

Generated from the types by `make docs`; do not edit by hand. Unknown settings are refused, and a
message names the path of the bad one. Secrets never stand in a configuration, only the paths of
the files that hold them. `gatepost check-config FILE` says whether a daemon would work with a
file, and `gatepost init` writes a commented one to start from.

A *name* has 1 to 63 characters of `a-z`, `0-9`, `.`, `_` and `-`, the first of them a letter or a
digit.
"""


def page() -> str:
    """The whole page, in Markdown."""
    parts = [_HEAD]
    for title, config in (
        ("The daemon: `gatepost run --config sidecar.toml`", SidecarConfig),
        ("The central services: `gatepost central --config central.toml`", CentralConfig),
        (
            "A mirror of the policy service: `gatepost central policy --config mirror.toml`",
            MirrorConfig,
        ),
        ("A witness: `gatepost witness --config witness.toml`", WitnessConfig),
    ):
        parts.append(f"## {title}\n")
        parts.extend(_sections(config, "", set()))
    return "\n".join(parts).rstrip() + "\n"


def _sections(struct: type, path: str, seen: set[type], title: str = "Top level") -> Iterator[str]:
    seen.add(struct)
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    yield f"### {title}\n"
    yield (inspect.getdoc(struct) or "").strip().replace("``", "`") + "\n"
    inner: list[tuple[str, type, str]] = []
    rows = []
    for field in info.fields:
        nested = _struct_of(field.type)
        name = f"{path}.{field.encode_name}" if path else field.encode_name
        if nested is not None:
            table = isinstance(_unwrapped(field.type), types.StructType)
            inner.append((name, nested, f"`[{name}]`" if table else f"`[[{name}]]`"))
        rows.append(
            f"| `{field.encode_name}` | {_type_text(field.type)} | {_default(field)} "
            f"| {_description(field.type)} |"
        )
    yield "| setting | type | default | meaning |\n| --- | --- | --- | --- |"
    yield "\n".join(rows) + "\n"
    for name, nested, heading in inner:
        if nested not in seen:
            yield from _sections(nested, name, seen, heading)


def _unwrapped(kind: types.Type) -> types.Type:
    return kind.type if isinstance(kind, types.Metadata) else kind


def _struct_of(kind: types.Type) -> type | None:
    kind = _unwrapped(kind)
    if isinstance(kind, types.StructType):
        return kind.cls
    if isinstance(kind, types.ListType | types.VarTupleType):
        return _struct_of(kind.item_type)
    return None


def _type_text(kind: types.Type) -> str:
    kind = _unwrapped(kind)
    match kind:
        case types.StructType():
            return "table"
        case types.ListType() | types.VarTupleType():
            item = _type_text(kind.item_type)
            return "array of tables" if item == "table" else f"array of {item}"
        case types.UnionType():
            return " or ".join(_type_text(one) for one in kind.types if not _is_null(one))
        case types.LiteralType():
            return " · ".join(f"`{value}`" for value in kind.values)
        case _:
            return type(kind).__name__.removesuffix("Type").lower()


def _is_null(kind: types.Type) -> bool:
    return isinstance(kind, types.NoneType)


def _description(kind: types.Type) -> str:
    parts = []
    if isinstance(kind, types.Metadata):
        extra = kind.extra_json_schema or {}
        parts.append(str(extra.get("description", "")).removesuffix("."))
    inner = _unwrapped(kind)
    for attribute, form in _BOUNDS:
        bound = getattr(inner, attribute, None)
        if bound is not None:
            parts.append(form.format(bound, _unit(inner)))
    pattern = getattr(inner, "pattern", None)
    if pattern is not None:
        parts.append(_PATTERNS.get(pattern, f"matches `{pattern}`"))
    return "; ".join(part for part in parts if part).replace("|", "\\|")


def _unit(kind: types.Type) -> str:
    return "characters" if isinstance(kind, types.StrType) else "entries"


def _default(field: types.Field) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        # A computed default (a home directory, say) would differ from machine to machine.
        return "built in"
    value = field.default
    if isinstance(value, msgspec.Struct):
        return "see below"
    if value is None:
        return "not set"
    return f"`{msgspec.json.encode(value).decode()}`"


def main() -> None:
    """Write the page, or with ``--check`` exit 1 if it is not up to date."""
    text = page()
    if "--check" in sys.argv[1:]:
        raise SystemExit(0 if PAGE.read_text() == text else 1)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
