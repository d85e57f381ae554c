"""Waiting until a version has reached the fleet, with a bar.

Owns: the loop of long polls and its end. Refuses: measuring (the policy service does).
"""

from __future__ import annotations

from typing import Final

from central.policy_service.fleet import Convergence
from gatepost.policy_service import ScopeClient
from gatepost.terminal import progress_bar
from gateway.io.clock import SystemClock

_POLL_SECONDS: Final = 5
"""A look at the bar that often; the service answers at once when enough have it."""


def wait_until_reached(
    client: ScopeClient, version: int, percent: int, seconds: float
) -> Convergence:
    """Wait until ``percent`` % of those that report have ``version``, ``seconds`` at most.

    Returns the last word on it; ``reached`` says whether. Raises InputOutputError.
    """
    clock = SystemClock()
    ends_us = clock.mono_us() + round(seconds * 1e6)
    with progress_bar(f"version {version} reaches the fleet") as told:
        while True:
            left = max(0, min(_POLL_SECONDS, round((ends_us - clock.mono_us()) / 1e6)))
            query = {"version": version, "percent": percent, "wait": left}
            found = client.read("convergence", Convergence, query)
            told(found.have, found.of)
            if found.reached or clock.mono_us() >= ends_us:
                return found
