"""The command: one module per noun, each imported on use."""

from __future__ import annotations
