"""A mirror of a policy service: verified, kept and served again, without any signing key."""

from __future__ import annotations
