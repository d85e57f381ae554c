"""Provider bodies in, one CallView out."""

from __future__ import annotations
