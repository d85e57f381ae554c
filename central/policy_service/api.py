"""The policy service's paths.

Owns: methods, paths, conditional requests and status codes. Refuses: everything else. A scope is
one percent-encoded segment. Heads, roots and blobs need no token: each is signed, and a plain
directory of the same files serves a fleet as well.
"""

from __future__ import annotations

import re
from typing import Final

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from central import acts, web
from central.described import ENVELOPE, JSON, described, fields_of, number
from central.errors import Refused
from central.people import Person
from central.policy_service import canary_api, fleet_api
from central.policy_service.catalogue import Published
from central.policy_service.proposals import Proposal, Verdict
from central.policy_service.publish_log import Publication
from central.policy_service.service import PolicyService
from gateway import limits, seal
from gateway.documents import Lock

_BODY_BYTES_MAX: Final = 2 * limits.POLICY_BUNDLE_BYTES_MAX
"""The payload's bound, with room for base64 and signatures."""
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_IMMUTABLE: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


@post(
    "/v1/policy/{policy_scope:str}/bundles",
    status_code=201,
    request_max_body_size=_BODY_BYTES_MAX,
    operation_class=described(
        "not_found",
        "document_invalid",
        "version_exists",
        "version_not_newer",
        "canary_running",
        "bad_filter",
        caller="person",
        body=(JSON, ENVELOPE),
        query={"canary": number(100)},
    ),
)
async def publish(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Published:
    """Publish a signed bundle: the body is its DSSE envelope. Needs an operator's token, and
    another person's approval where it may widen access. With ``canary`` that many percent of the
    daemons take it, and the others keep what is in force."""
    scope = web.segment(policy_scope)
    person = policy_service.operator(request.headers.get("authorization"), scope)
    percent = fleet_api.percent_of(request, "canary")
    body = await request.body()
    what = "policy.publish" if percent is None else "policy.canary_publish"
    await _record(request, policy_service, person, scope, what, body)
    return await policy_service.publish(person, scope, body, percent)


@get(
    "/v1/policy/{policy_scope:str}/pending", operation_class=described("not_found", caller="person")
)
async def pending(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> list[Proposal]:
    """What waits for another person's approval, and what each would change."""
    scope = web.segment(policy_scope)
    person = policy_service.operator(request.headers.get("authorization"), scope)
    await _record(request, policy_service, person, scope, "policy.pending")
    return await policy_service.proposals(scope)


@post(
    "/v1/policy/{policy_scope:str}/approvals",
    status_code=201,
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described(
        "not_found",
        "same_person",
        "base_changed",
        "document_invalid",
        "version_exists",
        "version_not_newer",
        "canary_running",
        caller="person",
        body=(JSON, fields_of(Verdict)),
    ),
)
async def judge(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Published:
    """Approve or reject what waits. The body is ``{digest, base, verdict}``."""
    scope = web.segment(policy_scope)
    person = policy_service.operator(request.headers.get("authorization"), scope)
    body = await request.body()
    verdict = web.decode_body(body, Verdict)
    await _record(request, policy_service, person, scope, f"policy.{verdict.verdict}", body)
    return await policy_service.judge(person, scope, verdict)


@put(
    "/v1/policy/{policy_scope:str}/lock",
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described(
        "not_found", caller="person", body=(JSON, fields_of(Lock)), answer=(JSON, ENVELOPE)
    ),
)
async def lock(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Response[bytes]:
    """Stop every call of the scope with the next head. The body is ``{reason, ticket}``."""
    scope = web.segment(policy_scope)
    person = policy_service.operator(request.headers.get("authorization"), scope)
    body = await request.body()
    wanted = web.decode_body(body, Lock)
    await _record(request, policy_service, person, scope, "policy.lock", body)
    head = await policy_service.set_lock(person, scope, wanted)
    return web.answer(head.envelope, headers={"ETag": head.etag})


@delete(
    "/v1/policy/{policy_scope:str}/lock",
    status_code=200,
    operation_class=described("not_found", caller="person", answer=(JSON, ENVELOPE)),
)
async def unlock(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Response[bytes]:
    """Let calls of the scope go on."""
    scope = web.segment(policy_scope)
    person = policy_service.operator(request.headers.get("authorization"), scope)
    await _record(request, policy_service, person, scope, "policy.unlock")
    head = await policy_service.set_lock(person, scope, None)
    return web.answer(head.envelope, headers={"ETag": head.etag})


@get("/v1/policy/{policy_scope:str}/log", operation_class=described("not_found", caller="person"))
async def publications(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> list[Publication]:
    """Who published, approved, locked and unlocked what, and when; oldest first."""
    scope = web.segment(policy_scope)
    person = policy_service.operator(request.headers.get("authorization"), scope)
    await _record(request, policy_service, person, scope, "policy.log")
    return await policy_service.publications(scope)


@get(
    "/v1/policy/{policy_scope:str}/head",
    operation_class=described("not_found", answer=(JSON, ENVELOPE), statuses=(304,)),
)
async def head(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> Response[bytes]:
    """The signed head. Understands ``If-None-Match`` and ``Prefer: wait=N``."""
    etag = request.headers.get("if-none-match")
    wait_seconds = web.wait_seconds(request)
    found = await policy_service.head_after(web.segment(policy_scope), etag, wait_seconds)
    # Prefer in Vary is how a daemon learns that it may wait here.
    headers = {"ETag": found.etag, "Cache-Control": "no-cache", "Vary": "Prefer"}
    if wait_seconds:
        headers["Preference-Applied"] = f"wait={wait_seconds}"
    if etag == found.etag:
        return web.answer(b"", status=304, headers=headers)
    return web.answer(found.envelope, headers=headers)


@get(
    "/v1/policy/root/{version:int}",
    operation_class=described("not_found", answer=(JSON, ENVELOPE)),
)
async def root(
    version: FromPath[int], policy_service: NamedDependency[PolicyService]
) -> Response[bytes]:
    """Root ``version``, as its DSSE envelope."""
    return web.answer(policy_service.root(version), headers=_IMMUTABLE)


@get(
    "/v1/policy/blobs/sha256/{digest:str}",
    operation_class=described("not_found", answer=(JSON, ENVELOPE)),
)
async def blob(
    digest: FromPath[str], policy_service: NamedDependency[PolicyService]
) -> Response[bytes]:
    """The DSSE envelope of the bundle whose payload has this SHA-256, in hex."""
    if _HEX.fullmatch(digest) is None:
        raise Refused("not_found")
    return web.answer(await policy_service.blob(f"sha256:{digest}"), headers=_IMMUTABLE)


async def _record(
    request: web.HttpRequest,
    service: PolicyService,
    person: Person,
    scope: str,
    what: str,
    body: bytes | None = None,
) -> None:
    """``body``: of it, its SHA-256 is recorded."""
    parameters = {} if body is None else {"body": seal.sha256_text(body)}
    await service.record(person.name, scope, what, request.headers.get(acts.WHY_HEADER), parameters)


HANDLERS: Final[list[HTTPRouteHandler]] = [
    publish,
    pending,
    judge,
    lock,
    unlock,
    publications,
    head,
    root,
    blob,
    *canary_api.HANDLERS,
    *fleet_api.HANDLERS,
]
