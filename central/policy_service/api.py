"""The policy service's paths.

Owns: methods, paths and status codes. Refuses: everything else. A scope is
one percent-encoded segment. Heads, roots and blobs need no token: each is signed, and a plain
directory of the same files serves a fleet as well.
"""

from __future__ import annotations

from typing import Final

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from central import web
from central.described import ENVELOPE, JSON, described, fields_of, number
from central.policy_documents import answer_document, answer_head, digest_named
from central.policy_service import canary_api, fleet_api
from central.policy_service.acting import Acting
from central.policy_service.catalogue import Published
from central.policy_service.proposals import Proposal, Verdict
from central.policy_service.publish_log import Publication
from central.policy_service.service import PolicyService
from gateway import limits
from gateway.documents import Lock

_BODY_BYTES_MAX: Final = 2 * limits.POLICY_BUNDLE_BYTES_MAX
"""The payload's bound, with room for base64 and signatures."""


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
    acting = Acting(request, policy_scope, policy_service)
    percent = fleet_api.percent_of(request, "canary")
    body = await request.body()
    what = "policy.publish" if percent is None else "policy.canary_publish"
    await acting.record(what, body)
    return await policy_service.publish(acting.person, acting.scope, body, percent)


@get(
    "/v1/policy/{policy_scope:str}/pending", operation_class=described("not_found", caller="person")
)
async def pending(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> list[Proposal]:
    """What waits for another person's approval, and what each would change."""
    acting = Acting(request, policy_scope, policy_service)
    await acting.record("policy.pending")
    return await policy_service.proposals(acting.scope)


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
    acting = Acting(request, policy_scope, policy_service)
    body = await request.body()
    verdict = web.decode_body(body, Verdict)
    await acting.record(f"policy.{verdict.verdict}", body)
    return await policy_service.judge(acting.person, acting.scope, verdict)


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
    acting = Acting(request, policy_scope, policy_service)
    body = await request.body()
    wanted = web.decode_body(body, Lock)
    await acting.record("policy.lock", body)
    head = await policy_service.set_lock(acting.person, acting.scope, wanted)
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
    acting = Acting(request, policy_scope, policy_service)
    await acting.record("policy.unlock")
    head = await policy_service.set_lock(acting.person, acting.scope, None)
    return web.answer(head.envelope, headers={"ETag": head.etag})


@get("/v1/policy/{policy_scope:str}/log", operation_class=described("not_found", caller="person"))
async def publications(
    request: web.HttpRequest,
    policy_scope: FromPath[str],
    policy_service: NamedDependency[PolicyService],
) -> list[Publication]:
    """Who published, approved, locked and unlocked what, and when; oldest first."""
    acting = Acting(request, policy_scope, policy_service)
    await acting.record("policy.log")
    return await policy_service.publications(acting.scope)


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
    return await answer_head(request, policy_scope, policy_service.head_after)


@get(
    "/v1/policy/root/{version:int}",
    operation_class=described("not_found", answer=(JSON, ENVELOPE)),
)
async def root(
    version: FromPath[int], policy_service: NamedDependency[PolicyService]
) -> Response[bytes]:
    """Root ``version``, as its DSSE envelope."""
    return answer_document(policy_service.root(version))


@get(
    "/v1/policy/blobs/sha256/{digest:str}",
    operation_class=described("not_found", answer=(JSON, ENVELOPE)),
)
async def blob(
    digest: FromPath[str], policy_service: NamedDependency[PolicyService]
) -> Response[bytes]:
    """The DSSE envelope of the bundle whose payload has this SHA-256, in hex."""
    return answer_document(await policy_service.blob(digest_named(digest)))


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
