"""What a user installs is what was tested: pinned, hashed, and bound to no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements/build.lock", "requirements/dev.lock", "requirements/runtime.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==[^ \\]+")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins(lock: str) -> dict[str, str]:
    """Normalised name → its whole entry."""
    entries: dict[str, str] = {}
    name = None
    for line in (ROOT / lock).read_text().splitlines():
        pin = _PIN.match(line)
        if pin:
            name = _normal(pin[1])
        if name is not None:
            entries[name] = entries.get(name, "") + line + "\n"
    return entries


def _names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", text) for text in requirements)
    return {_normal(match[0]) for match in found if match} - {"gatepost"}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_of_a_lock_carries_hashes(lock: str) -> None:
    pins = _pins(lock)
    assert len(pins) > 5
    assert [name for name, entry in pins.items() if not _HASH.search(entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", text, re.M)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_installs_only_hashed_pins(lock: str) -> None:
    for line in (ROOT / lock).read_text().splitlines():
        known = line.startswith(("    --hash=", "    #", "#")) or _PIN.match(line) or not line
        assert known, f"{lock}: {line!r} is neither a pin nor a hash"


def test_the_development_lock_covers_every_declared_dependency() -> None:
    declared = _names(PROJECT["dependencies"]) | _names(GROUPS["dev"])
    for extra in PROJECT["optional-dependencies"].values():
        declared |= _names(extra)
    assert declared - set(_pins("requirements/dev.lock")) == set(), "run `make lock`"


def test_the_runtime_lock_covers_the_daemon_and_the_central_services() -> None:
    declared = _names(PROJECT["dependencies"])
    declared |= _names(PROJECT["optional-dependencies"]["central"])
    assert declared - set(_pins("requirements/runtime.lock")) == set(), "run `make lock`"


def test_the_build_lock_covers_what_makes_the_wheel() -> None:
    assert _names(GROUPS["build"]) - set(_pins("requirements/build.lock")) == set()


@pytest.mark.parametrize("lock", ["requirements/build.lock", "requirements/runtime.lock"])
def test_what_is_shipped_was_tested_in_the_same_version(lock: str) -> None:
    tested = _pins("requirements/dev.lock")
    for name, entry in _pins(lock).items():
        assert name in tested
        # The version alone: what only tools of development need may stand there for more platforms.
        assert entry.split()[0] == tested[name].split()[0]


def test_the_licence_is_the_whole_apache_text() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0"


def test_every_package_says_that_it_is_typed() -> None:
    for package in ("gateway", "policy_cache", "spool", "sidecar", "central", "gatepost"):
        assert (ROOT / package / "py.typed").exists(), package
