"""All patterns over a whole text in one pass, on hyperscan.

Owns: compiling patterns, the compiled database's cache, scanning with bounded results. Refuses:
deciding anything (an end offset is only a place to look), and any database that did not come from
its own compiler or the private cache of this process's user. The only importer of hyperscan.

hyperscan is imported when a scanner is made, so that verifiers and command lines that never scan
do not need it. It releases the GIL while scanning; each scan takes a scratch space of its own, so
scans may run in several threads at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple, Protocol

from gateway import limits
from gateway.errors import ConfigInvalid


class Pattern(NamedTuple):
    """``once``: report the first hit only, for patterns that only say that something occurs."""

    expression: str
    caseless: bool = False
    once: bool = False


class Scan(NamedTuple):
    """``hits``: (index of the pattern, end offset), in order of offset. ``saturated``: there were
    more than SCAN_EVENTS_MAX, and what lies behind the last was not looked at."""

    hits: list[tuple[int, int]]
    saturated: bool


class DatabaseCache(Protocol):
    """Keeps compiled databases, in a place that only this process's user can write."""

    def read(self, key: str) -> bytes | None:
        """What was written under ``key``, or None: a cache may lose anything at any time."""

    def write(self, key: str, database: bytes) -> None:
        """Keep ``database``. Never raises: a cache that cannot write keeps nothing."""


class Scanner:
    """A compiled set of patterns."""

    __slots__ = ("_database", "_engine", "_scratches")

    def __init__(self, engine: ModuleType, database: object) -> None:
        """Use ``compile_scanner`` or ``load_scanner``."""
        self._engine = engine
        self._database = database
        # A stack: list.append and list.pop are atomic, and each scan pops one for itself.
        self._scratches: list[object] = []

    def scan(self, text: bytes) -> Scan:
        """Where the patterns end in ``text``. A fault of the engine raises, it is never empty."""
        hits: list[tuple[int, int]] = []
        scratches = self._scratches
        scratch = scratches.pop() if scratches else self._engine.Scratch(self._database)
        try:
            self._database.scan(  # type: ignore[attr-defined]  # hyperscan has no usable types
                text, _collect, context=hits, scratch=scratch
            )
        except self._engine.ScanTerminated:
            return Scan(hits, saturated=True)
        finally:
            scratches.append(scratch)
        return Scan(hits, saturated=False)

    def dump(self) -> bytes:
        """The database, for a ``DatabaseCache``; only this library version and CPU can load it."""
        dumped: bytes = self._engine.dumpb(self._database)
        return dumped


def _collect(
    pattern: int, _start: int, end: int, _flags: int, hits: list[tuple[int, int]]
) -> bool | None:
    hits.append((pattern, end))
    return True if len(hits) >= limits.SCAN_EVENTS_MAX else None


def compile_scanner(patterns: Sequence[Pattern]) -> Scanner:
    """Compile ``patterns`` (some tens of milliseconds per hundred) and prove that it scans.

    Raises ConfigInvalid: for a pattern that hyperscan cannot compile, naming it, and where the
    library is missing or does not run on this CPU.
    """
    engine = _engine()
    database = _compile(engine, patterns)
    return Scanner(engine, database)


def load_scanner(dumped: bytes) -> Scanner | None:
    """The scanner in ``dumped``, or None if it is not for this library and CPU."""
    engine = _engine()
    try:
        database = engine.loadb(dumped, engine.HS_MODE_BLOCK)
        scanner = Scanner(engine, database)
        scanner.scan(b"")
    except engine.error:
        return None
    return scanner


def engine_identity() -> str:
    """Hex digest of what a compiled database depends on: binding, library version, CPU features.

    Compiles and runs one small pattern: the self-test of the engine on this CPU.
    """
    engine = _engine()
    probe = _compile(engine, [Pattern("gate(?:post|way)")])
    hits = Scanner(engine, probe).scan(b"a gatepost at a gateway").hits
    if hits != [(0, 10), (0, 23)]:
        raise ConfigInvalid("hyperscan gives wrong results on this CPU; it cannot be used")
    described = f"{engine.__version__}\0{probe.info()!r}"  # type: ignore[attr-defined]  # as above
    return hashlib.sha256(described.encode()).hexdigest()


def _engine() -> ModuleType:
    try:
        import hyperscan  # a CPU or platform without it must not break what never scans
    except ImportError as error:
        raise ConfigInvalid(
            f"the scanning library hyperscan cannot be loaded ({error}); "
            "install the hyperscan wheel for this platform"
        ) from None
    module: ModuleType = hyperscan
    return module


def _compile(engine: ModuleType, patterns: Sequence[Pattern]) -> object:
    flags = [
        (engine.HS_FLAG_CASELESS if pattern.caseless else 0)
        | (engine.HS_FLAG_SINGLEMATCH if pattern.once else 0)
        for pattern in patterns
    ]
    database: object = engine.Database(mode=engine.HS_MODE_BLOCK)
    try:
        database.compile(  # type: ignore[attr-defined]  # as above
            expressions=[pattern.expression.encode() for pattern in patterns],
            ids=list(range(len(patterns))),
            elements=len(patterns),
            flags=flags,
        )
    except engine.ArchitectureError:
        raise ConfigInvalid("hyperscan does not run on this CPU (it needs SSSE3 or NEON)") from None
    except engine.error as error:
        raise ConfigInvalid(
            f"a pattern does not compile: {_culprit(engine, patterns, error)}"
        ) from None
    return database


def _culprit(engine: ModuleType, patterns: Sequence[Pattern], error: Exception) -> str:
    """Find the pattern: hyperscan does not say which one failed."""
    for pattern in patterns:
        single = engine.Database(mode=engine.HS_MODE_BLOCK)
        try:
            single.compile(
                expressions=[pattern.expression.encode()], ids=[0], elements=1, flags=[0]
            )
        except engine.error as reason:
            return f"{pattern.expression!r}: {reason}"
    return str(error)
