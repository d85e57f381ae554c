"""What the policy cache must be told.

Owns: the settings, checked once. Refuses: files and environment (``sidecar.config`` reads them).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gateway.errors import ConfigInvalid
from gateway.limits import REFRESH_SECONDS_MAX, REFRESH_SECONDS_MIN

_SCOPE: Final = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}")


class CacheConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``root_fingerprint``: ``sha256:<hex>`` of root 1's payload, the one thing that is pinned.

    ``directory``: where the last good policy is kept, private to one process at a time.
    ``own_version``: this program's, as ``0.1.0``. ``threads``: whether a large bundle may be
    verified in a worker thread. ``placement``: this daemon's name among those of the scope, the
    same after each restart; None takes no candidate. ``require_offline_root``: nothing is accepted
    under a root whose keys one operator holds.
    """

    scope: str
    root_fingerprint: str
    directory: str
    own_version: str
    refresh_seconds_min: float = REFRESH_SECONDS_MIN
    refresh_seconds_max: float = REFRESH_SECONDS_MAX
    threads: bool = True
    placement: str | None = None
    require_offline_root: bool = False

    def __post_init__(self) -> None:
        if _SCOPE.fullmatch(self.scope) is None:
            raise ConfigInvalid(
                f"policy scope {self.scope!r}: parts of [a-z0-9._-], joined by '/', "
                "as in acme/prod/eu"
            )
        if _FINGERPRINT.fullmatch(self.root_fingerprint) is None:
            raise ConfigInvalid(
                f"root fingerprint {self.root_fingerprint!r}: wanted sha256: and 64 hex digits"
            )
        if not 0 < self.refresh_seconds_min <= self.refresh_seconds_max:
            raise ConfigInvalid("policy refresh: the minimum is above the maximum, or not positive")
