"""Enrols instances and certifies their keys."""

from __future__ import annotations
