"""The daemon process, the same in every topology."""

from __future__ import annotations
