"""Text segments in, one Label out."""

from __future__ import annotations
