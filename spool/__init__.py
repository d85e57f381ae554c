"""The on-disk record buffer: durable before the answer, shipped afterwards."""

from __future__ import annotations
