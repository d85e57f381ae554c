"""The local, signed, bounded-stale copy of policy."""

from __future__ import annotations
