"""A mirror's paths: those of the policy service, with the same answers where it has any.

Owns: methods, paths and status codes. Every path of the policy service stands
here: what a mirror cannot do is refused with the name of who can. Refuses: everything else.
"""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from central import web
from central.described import ENVELOPE, JSON, described
from central.policy_documents import answer_document, answer_head, digest_named
from central.policy_mirror.service import PolicyMirror
from central.policy_service import api as policy_api
from gateway.policy_report import REPORT_BYTES_MAX


@get(
    "/v1/policy/{policy_scope:str}/head",
    operation_class=described(
        "not_found", "mirror_empty", answer=(JSON, ENVELOPE), statuses=(304,)
    ),
)
async def head(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_mirror: NamedDependency[PolicyMirror],
) -> Response[bytes]:
    """The newest verified head, also one that has expired: its signed expiry is what counts.
    Understands ``If-None-Match`` and ``Prefer: wait=N``."""
    return await answer_head(request, policy_scope, policy_mirror.head_after)


@get(
    "/v1/policy/root/{version:int}",
    operation_class=described("not_found", "mirror_empty", answer=(JSON, ENVELOPE)),
)
async def root(
    version: FromPath[int], policy_mirror: NamedDependency[PolicyMirror]
) -> Response[bytes]:
    """Root ``version``, as its DSSE envelope."""
    return answer_document(policy_mirror.root(version))


@get(
    "/v1/policy/blobs/sha256/{digest:str}",
    operation_class=described("not_found", answer=(JSON, ENVELOPE)),
)
async def blob(
    digest: FromPath[str], policy_mirror: NamedDependency[PolicyMirror]
) -> Response[bytes]:
    """The DSSE envelope of the bundle whose payload has this SHA-256, in hex."""
    return answer_document(await policy_mirror.bundle(digest_named(digest)))


@post(
    "/v1/policy/{policy_scope:str}/reports",
    status_code=200,
    request_max_body_size=REPORT_BYTES_MAX,
    include_in_schema=False,
)
async def report(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_mirror: NamedDependency[PolicyMirror],
) -> Response[bytes]:
    """A daemon's report, for the upstream; the answer is the upstream's."""
    answer = await policy_mirror.pass_on(
        web.segment(policy_scope),
        web.path_as_sent(request),
        await request.body(),
        web.signed_header(request),
    )
    kept = {"Retry-After": wait} if (wait := answer.headers.get("retry-after")) else {}
    return web.answer(answer.body, status=answer.status, headers=kept)


@get("/readyz", include_in_schema=False)
async def readyz(policy_mirror: NamedDependency[PolicyMirror]) -> Response[bytes]:
    """Ready once one verified head of each scope is held; every alarm beside it."""
    state = policy_mirror.state()
    return web.answer(msgspec.json.encode(state), status=200 if state.ready else 503)


async def _refuse(policy_mirror: NamedDependency[PolicyMirror]) -> None:
    """Takes a key or a person, which a mirror does not have."""
    raise policy_mirror.refuse()


_SERVED: Final[list[HTTPRouteHandler]] = [head, root, blob, report]


def _refusals() -> list[HTTPRouteHandler]:
    """A refusal for each other path of the policy service, whatever paths that has."""
    served = {(path, method) for one in _SERVED for path, method in _places(one)}
    rest = {place for one in policy_api.HANDLERS for place in _places(one) if place not in served}
    return [
        HTTPRouteHandler(
            path, http_method=[HttpMethod(method)], status_code=200, include_in_schema=False
        )(_refuse)
        for path, method in sorted(rest)
    ]


def _places(handler: HTTPRouteHandler) -> list[tuple[str, str]]:
    return [
        (path, str(method))
        for path in handler.paths
        for method in handler.http_methods
        if method in ("GET", "POST", "PUT", "DELETE", "PATCH")
    ]


HANDLERS: Final[list[HTTPRouteHandler]] = [*_SERVED, *_refusals(), readyz]
