"""Keeps published policy and serves it with short-lived signed heads."""

from __future__ import annotations
