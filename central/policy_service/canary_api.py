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

from central import acts, web
from central.described import JSON, described, fields_of
from central.people import Person
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
    wanted = web.decode_body(await request.body(), Percentage)
    person, scope = await _recorded(
        request, policy_scope, policy_service, "policy.canary", {"percent": str(wanted.percent)}
    )
    return await policy_service.set_percent(person, scope, wanted.percent)


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
    person, scope = await _recorded(request, policy_scope, policy_service, "policy.canary_promote")
    return await policy_service.promote(person, scope)


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
    person, scope = await _recorded(request, policy_scope, policy_service, "policy.canary_withdraw")
    return await policy_service.withdraw(person, scope)


async def _recorded(
    request: web.HttpRequest,
    policy_scope: str,
    service: PolicyService,
    what: str,
    parameters: dict[str, str] | None = None,
) -> tuple[Person, str]:
    """Who asks, and the scope; the act is recorded then. Raises Refused."""
    scope = web.segment(policy_scope)
    person = service.operator(request.headers.get("authorization"), scope)
    why = request.headers.get(acts.WHY_HEADER)
    await service.record(person.name, scope, what, why, parameters or {})
    return person, scope


HANDLERS: Final[list[HTTPRouteHandler]] = [change, promote, withdraw]
