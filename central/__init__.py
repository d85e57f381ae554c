"""The shared services: policy service, issuer, record store."""

from __future__ import annotations
