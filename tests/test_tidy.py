"""Style as a test: what reviewers would otherwise have to say again and again.

Each rule names the file and line that breaks it. The exceptions are lists in this file, each with
its reason; an entry that no longer matches anything fails too, so that they cannot outlive it.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("gateway", "policy_cache", "spool", "sidecar", "central", "gatepost")
DOCUMENTED = ("gateway", "policy_cache", "spool")

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

BROAD_EXCEPTS: dict[str, str] = {
    "central/record_store/witnesses.py": "the boundary of one round: a fault never ends the store",
    "gateway/exchange.py": "the boundary of one call: a fault of ours must not look like an answer",
    "gateway/io/serve.py": "the boundary of one connection: a bad one never ends a listener",
    "gateway/forward.py": "the boundary of one forwarded call: its answer must not end cleanly",
    "gateway/ruling.py": "the boundary of changing a body: a fault refuses the call, in a record",
    "gatepost/demo_clients.py": "whatever an SDK raises is a row of the table",
}
"""Where `except Exception` is a real boundary, and why."""

PART_BASES = frozenset({"_Part", "_Record", "Document"})
"""Parts of records and documents: their member names and the format page are the text."""

SLEEPS = frozenset({"time.sleep", "anyio.sleep", "asyncio.sleep", "sleep"})
SLEEPS_ALLOWED: dict[str, str] = {
    "tests/sim/": "the simulated world's sleep is virtual time",
    "tests/integration/waiting.py": "waits for other processes, by asking until a deadline",
}

IMPORTERS: dict[str, tuple[str, ...]] = {
    "nacl": ("gateway/seal.py",),
    "h11": ("gateway/http1.py", "gateway/body.py", "gateway/io/", "gatepost/far_end/"),
    "hyperscan": ("gateway/classify/",),
    "joserfc": ("gateway/", "sidecar/", "gatepost/"),
    "tenacity": ("policy_cache/", "spool/"),
    "watchfiles": ("sidecar/directory_changes.py",),
    "platformdirs": ("sidecar/", "central/", "gatepost/"),
    "prometheus_client": ("sidecar/", "central/"),
    "litestar": ("central/",),
    "uvicorn": ("central/", "gatepost/"),
    "click": ("gatepost/",),
    "rich": ("gatepost/",),
    "openai": ("gatepost/",),
    "anthropic": ("gatepost/",),
    "mcp": ("gatepost/",),
    "httpx": ("gatepost/",),
}
"""Which part may import a third-party library, so that there is one place to replace it."""


@cache
def _tracked() -> tuple[str, ...]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the list of tracked files is not known")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return tuple(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def _python(*packages: str) -> list[str]:
    return [
        name
        for name in _tracked()
        if name.endswith(".py")
        and (not packages or name.startswith(tuple(p + "/" for p in packages)))
    ]


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def _functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _imports(name: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return _name(node.value) if isinstance(node, ast.Subscript) else ""


def _none(found: Iterable[str]) -> None:
    """Fail with every finding on a line of its own."""
    lines = list(found)
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def test_no_file_is_too_long_to_read() -> None:
    lengths = {name: len((ROOT / name).read_bytes().splitlines()) for name in _python()}
    _none(f"{name}: {n} lines" for name, n in lengths.items() if n > FILE_LINES_MAX)


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name in _python()
        for node in _functions(name)
        if (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    _none(long)


def test_every_module_says_what_it_owns() -> None:
    silent = [name for name in _python(*PRODUCT) if not ast.get_docstring(_tree(name))]
    _none(silent)


def test_public_functions_and_classes_are_documented() -> None:
    silent = []
    for name in _python(*DOCUMENTED):
        for node in _tree(name).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            part = isinstance(node, ast.ClassDef) and PART_BASES & {_name(b) for b in node.bases}
            if not (node.name.startswith("_") or part or ast.get_docstring(node)):
                silent.append(f"{name}:{node.lineno} {node.name}")
    _none(silent)


def test_annotations_are_text_everywhere() -> None:
    wanted = "from __future__ import annotations"
    # A module that is only its docstring has nothing to annotate.
    speaking = (name for name in _python() if len(_tree(name).body) > 1)
    _none(n for n in speaking if wanted not in (ROOT / n).read_text(encoding="utf-8"))


def test_a_broad_except_stands_only_at_a_named_boundary() -> None:
    found = {
        name: f"{name}:{node.lineno}"
        for name in _python(*PRODUCT)
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _passes_on(node)
    }
    _none(place for name, place in found.items() if name not in BROAD_EXCEPTS)
    _none(f"{name}: no longer needed" for name in BROAD_EXCEPTS if name not in found)


def _passes_on(handler: ast.ExceptHandler) -> bool:
    """Whether the handler only cleans up: its last word is a bare ``raise``."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    every = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(_name(one) in ("Exception", "BaseException") for one in every)


def test_no_mock_library_is_used() -> None:
    used = [
        f"{name}:{line}"
        for name in _python()
        for line, module in _imports(name)
        if module.startswith(("unittest", "mock", "pytest_mock"))
    ]
    _none(used)


def test_no_test_sleeps() -> None:
    sleeping = [
        f"{name}:{node.lineno}"
        for name in _python("tests")
        if not name.startswith(tuple(SLEEPS_ALLOWED))
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.Call) and _name(node.func) in SLEEPS
    ]
    _none(sleeping)


def test_each_library_is_imported_only_where_it_belongs() -> None:
    stray = []
    for name in _python(*PRODUCT):
        for line, module in _imports(name):
            allowed = IMPORTERS.get(module.partition(".")[0])
            if allowed is not None and not name.startswith(allowed):
                stray.append(f"{name}:{line} {module}")
    _none(stray)


def test_imports_are_absolute_and_named() -> None:
    bad = [
        f"{name}:{node.lineno}"
        for name in _python()
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.ImportFrom)
        and (node.level or any(alias.name == "*" for alias in node.names))
    ]
    _none(bad)


def test_no_test_directory_is_a_package() -> None:
    _none(name for name in _python("tests") if name.endswith("__init__.py"))


def _texts() -> Iterator[tuple[str, str]]:
    for name in _tracked():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data[:8192]:
            yield name, data.decode("utf-8", errors="replace")


def test_no_tracked_file_holds_a_path_of_one_machine() -> None:
    # A path is one where nothing that continues a URL or a longer path stands before it.
    homes = r"/(?:home|Users)/[a-z][\w-]+/|/root/\."
    here = re.escape(str(ROOT)) if len(ROOT.parts) > 2 else r"(?!)"
    wanted = re.compile(rf"(?<![\w./-])(?:{homes}|{here}\b)")
    found = [f"{name}: {hit[0]}" for name, text in _texts() if (hit := wanted.search(text))]
    _none(found)


def test_no_tracked_file_names_a_registry() -> None:
    # Written apart, because this file is tracked too.
    hosts = (
        "pypi org",
        "pythonhosted org",
        "npmjs org",
        "docker io",
        "ghcr io",
        "quay io",
        "gcr io",
    )
    names = "|".join(host.replace(" ", r"\.") for host in hosts)
    wanted = re.compile(rf"\b(?:{names})\b")
    found = [f"{name}: {hit[0]}" for name, text in _texts() if (hit := wanted.search(text))]
    _none(found)
