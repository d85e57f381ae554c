"""The part of the gateway that touches the world."""

from __future__ import annotations
