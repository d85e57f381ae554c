"""Verifies, dedupes and keeps records; answers audit queries."""

from __future__ import annotations
