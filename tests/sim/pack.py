"""Rule pack and policies of simulated daemons: really loaded and compiled, once in each process.

A life of a daemon lasts for a few calls, and most of the CPU of a start went into reading the pack
and compiling the policy that the one before had. Nothing of either is simulated, neither keeps
anything of one call for the next, and so lives may share them. Signatures, digests and self-tests
of a policy are checked at every start as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from gateway.classify.classifier import Classifier
from gateway.policy import Policy
from gateway.table import Table, compile_policy
from policy_cache import trusted
from sidecar import call_path
from sidecar.classifying import load_classifier
from sidecar.config import Classification

_LOAD: Final = "load_classifier"
_COMPILE: Final = "compile_policy"
_loaded: dict[Classification, Classifier] = {}
_compiled: dict[bytes, Table] = {}


async def _load_once(settings: Classification, *, threads: bool) -> Classifier:
    # Where compiled packs are kept makes no difference to what is loaded.
    key = msgspec.structs.replace(settings, cache_directory=None)
    if key not in _loaded:
        _loaded[key] = await load_classifier(settings, threads=threads)
    return _loaded[key]


def _compile_once(policy: Policy) -> Table:
    key = msgspec.json.encode(policy)
    if key not in _compiled:
        _compiled[key] = compile_policy(policy)
    return _compiled[key]


@contextmanager
def shared_packs() -> Iterator[None]:
    """While this lasts, a pack or policy that was there before is not loaded or compiled again."""
    assert getattr(call_path, _LOAD) is load_classifier
    assert getattr(trusted, _COMPILE) is compile_policy
    setattr(call_path, _LOAD, _load_once)
    setattr(trusted, _COMPILE, _compile_once)
    try:
        yield
    finally:
        setattr(call_path, _LOAD, load_classifier)
        setattr(trusted, _COMPILE, compile_policy)
