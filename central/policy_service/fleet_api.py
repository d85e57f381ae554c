"""The policy service's paths about the fleet: reports of daemons, and what they say together.

Owns: methods, paths, parameters and status codes. Refuses: everything else. Looking at the fleet
shows nothing of any call, so no look is recorded.
"""

from __future__ import annotations

from typing import Final

from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath

from central import web
from central.described import ENVELOPE, JSON, described, number, one_of
from central.errors import Refused
from central.policy_service.fleet import STANDINGS, Convergence, Fleet
from central.policy_service.reports import Call
from central.policy_service.service import PolicyService
from gateway import limits
from gateway.policy_report import REPORT_BYTES_MAX

_LISTED: Final = 200
_REPORT: Final = Schema(
    type=OpenAPIType.OBJECT,
    required=["report", "certificate"],
    properties={"report": Schema(type=OpenAPIType.OBJECT), "certificate": ENVELOPE},
)


@post(
    "/v1/policy/{policy_scope:str}/reports",
    status_code=204,
    request_max_body_size=REPORT_BYTES_MAX,
    operation_class=described("document_invalid", caller="daemon", body=(JSON, _REPORT)),
)
async def report(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> None:
    """What a daemon has in force, and what it refused. The certificate of its key lies beside."""
    call = Call(
        path=web.path_as_sent(request),
        body=await request.body(),
        signed=web.signed_header(request),
    )
    await policy_service.take_report(web.segment(policy_scope), call)


@get(
    "/v1/policy/{policy_scope:str}/fleet",
    operation_class=described(
        "not_found",
        "bad_filter",
        caller="person",
        noted=False,
        query={"only": one_of(*STANDINGS), "limit": number(limits.FLEET_PAGE_MAX)},
    ),
)
async def fleet(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Fleet:
    """Which instance runs which version, who is behind or silent, and how long it took."""
    scope = web.segment(policy_scope)
    policy_service.operator(request.headers.get("authorization"), scope)
    given = parameters(request, {"only", "limit"})
    only = next((one for one in STANDINGS if one == given.get("only")), None)
    if only is None and "only" in given:
        raise Refused("bad_filter", f"only is one of {', '.join(STANDINGS)}")
    most = whole_number(given, "limit", limits.FLEET_PAGE_MAX, _LISTED)
    return await policy_service.fleet(scope, only, most)


@get(
    "/v1/policy/{policy_scope:str}/convergence",
    operation_class=described(
        "not_found",
        "bad_filter",
        "too_busy",
        caller="person",
        noted=False,
        query={
            "version": number(limits.JSON_INTEGER_MAX),
            "percent": number(100),
            "wait": number(limits.POLICY_WAIT_SECONDS_MAX),
        },
    ),
)
async def convergence(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Convergence:
    """How many of those that report have a version (or a later one). Waits up to ``wait`` seconds
    until ``percent`` % of them have it."""
    scope = web.segment(policy_scope)
    policy_service.operator(request.headers.get("authorization"), scope)
    given = parameters(request, {"version", "percent", "wait"})
    version = None
    if "version" in given:
        version = whole_number(given, "version", limits.JSON_INTEGER_MAX, 0)
    percent = whole_number(given, "percent", 100, 100)
    wait_seconds = whole_number(given, "wait", limits.POLICY_WAIT_SECONDS_MAX, 0)
    return await policy_service.convergence(scope, version, percent, wait_seconds)


def parameters(request: web.HttpRequest, known: set[str]) -> dict[str, str]:
    """The query, each name once. Raises Refused (``bad_filter``)."""
    pairs = list(request.query_params.multi_items())
    given = dict(pairs)
    if len(given) != len(pairs) or given.keys() - known:
        raise Refused("bad_filter", f"takes {', '.join(sorted(known))}, each once")
    return given


def whole_number(given: dict[str, str], name: str, most: int, default: int) -> int:
    """The parameter ``name``, 0 to ``most``. Raises Refused (``bad_filter``)."""
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= most):
        raise Refused("bad_filter", f"{name} is a whole number up to {most}")
    return int(text)


def percent_of(request: web.HttpRequest, name: str) -> int | None:
    """The one parameter of a query, a percentage, or None. Raises Refused (``bad_filter``)."""
    given = parameters(request, {name})
    return whole_number(given, name, 100, 0) if given else None


HANDLERS: Final[list[HTTPRouteHandler]] = [report, fleet, convergence]
