"""The policy service's paths about a canary that runs.

Owns: methods, paths and status codes. Refuses: everything else; a canary begins with the
publication of its bundle (``api.py``).
"""

from __future__ import annotations

from typing import Final

from litestar import delete, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from central import web
from central.described import JSON, described, fields_of
from central.policy_service.acting import Acting
from central.policy_service.canaries import Percentage
from central.policy_service.catalogue import Published
from central.policy_service.service import PolicyService
from gateway import limits


@put(
    "/v1/policy/{policy_scope:str}/canary",
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described(
        "not_found", "no_canary", caller="person", body=(JSON, fields_of(Percentage))
    ),
)
async def change(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Published:
    """Offer the candidate to more or fewer daemons. The body is ``{percent}``."""
    acting = Acting(request, policy_scope, policy_service)
    wanted = web.decode_body(await request.body(), Percentage)
    await acting.record("policy.canary", parameters={"percent": str(wanted.percent)})
    return await policy_service.set_percent(acting.person, acting.scope, wanted.percent)


@post(
    "/v1/policy/{policy_scope:str}/canary/promotion",
    status_code=201,
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described("not_found", "no_canary", "document_invalid", caller="person"),
)
async def promote(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Published:
    """Put the candidate in force for all. What was approved when it began needs no more."""
    acting = Acting(request, policy_scope, policy_service)
    await acting.record("policy.canary_promote")
    return await policy_service.promote(acting.person, acting.scope)


@delete(
    "/v1/policy/{policy_scope:str}/canary",
    status_code=200,
    operation_class=described("not_found", "no_canary", caller="person"),
)
async def withdraw(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Published:
    """Take the candidate back: every daemon returns to the bundle in force."""
    acting = Acting(request, policy_scope, policy_service)
    await acting.record("policy.canary_withdraw")
    return await policy_service.withdraw(acting.person, acting.scope)


HANDLERS: Final[list[HTTPRouteHandler]] = [change, promote, withdraw]
