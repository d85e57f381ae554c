"""A person who acts on a scope.

Owns: that they are known before anything else of a request is read, and recorded before anything
is done. Refuses: what is done.
"""

from __future__ import annotations

from collections.abc import Mapping

from central import acts, web
from central.policy_service.service import PolicyService
from gateway import seal


class Acting:
    """``person`` may act on ``scope``. Raises Refused (``token_…``, ``role_insufficient``,
    ``not_found``)."""

    def __init__(self, request: web.HttpRequest, policy_scope: str, service: PolicyService) -> None:
        self.scope = web.segment(policy_scope)
        self.person = service.operator(request.headers.get("authorization"), self.scope)
        self._why = request.headers.get(acts.WHY_HEADER)
        self._service = service

    async def record(
        self,
        what: str,
        body: bytes | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        """``body``: of it, its SHA-256 is recorded."""
        noted = dict(parameters or {})
        if body is not None:
            noted["body"] = seal.sha256_text(body)
        await self._service.record(self.person.name, self.scope, what, self._why, noted)
