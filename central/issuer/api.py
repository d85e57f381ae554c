"""The issuer's paths.

Owns: methods, paths, sizes and status codes. Refuses: everything else (``service.py``).
"""

from __future__ import annotations

from typing import Final

from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from central import web
from central.acts import WHY_HEADER
from central.described import ENVELOPE, JSON, TEXT, described, fields_of
from central.issuer.attestors import HostAnswer
from central.issuer.conflicts import Conflict
from central.issuer.digests import DestroyAnswer, DestroyRequest, DigestAnswer, DigestRequest
from central.issuer.service import Issuer
from gateway import limits
from gateway.attestation import EnrolAnswer, HostRegistration, NonceAnswer

_REGISTRATION: Final = ("attestation_invalid", "wrong_tenant", "key_refused", "key_revoked")
_ENROLMENT: Final = (
    *_REGISTRATION,
    "attestation_keys_unavailable",
    "attestation_not_configured",
    "document_invalid",
    "instance_conflict",
    "instance_taken",
    "nonce_unknown",
    "topology_not_allowed",
)


@post(
    "/v1/enrol/nonce",
    status_code=200,
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described("too_busy"),
)
async def nonce(issuer: NamedDependency[Issuer]) -> NonceAnswer:
    """A nonce for one enrolment, and the issuer's clock."""
    return await issuer.nonce()


@post(
    "/v1/enrol",
    status_code=201,
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described(*_ENROLMENT, body=(JSON, ENVELOPE)),
)
async def enrol(request: web.HttpRequest, issuer: NamedDependency[Issuer]) -> EnrolAnswer:
    """Certify an instance key: the body is the DSSE envelope of an ``enrol`` document."""
    return await issuer.enrol(await request.body())


@post(
    "/v1/hosts",
    status_code=201,
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described(
        *_REGISTRATION, "document_invalid", body=(JSON, fields_of(HostRegistration))
    ),
)
async def register_host(request: web.HttpRequest, issuer: NamedDependency[Issuer]) -> HostAnswer:
    """Register a host key with a one-time token."""
    body = web.decode_body(await request.body(), HostRegistration)
    return await issuer.register_host(body)


@post(
    "/v1/digests",
    status_code=200,
    request_max_body_size=limits.DIGEST_REQUEST_BYTES_MAX,
    operation_class=described("not_found", caller="person", body=(JSON, fields_of(DigestRequest))),
)
async def find_digests(request: web.HttpRequest, issuer: NamedDependency[Issuer]) -> DigestAnswer:
    """A text's or body's digest under the key of each candidate instance."""
    asked = web.decode_body(await request.body(), DigestRequest)
    headers = request.headers
    return await issuer.digests_for(headers.get("authorization"), headers.get(WHY_HEADER), asked)


@post(
    "/v1/digest-keys/destroy",
    status_code=200,
    request_max_body_size=limits.ENROL_BYTES_MAX,
    operation_class=described("not_found", caller="person", body=(JSON, fields_of(DestroyRequest))),
)
async def destroy_digest_keys(
    request: web.HttpRequest, issuer: NamedDependency[Issuer]
) -> DestroyAnswer:
    """Destroy digest keys: their instances can no more be searched by content."""
    asked = web.decode_body(await request.body(), DestroyRequest)
    headers = request.headers
    return await issuer.destroy_digest_keys(
        headers.get("authorization"), headers.get(WHY_HEADER), asked
    )


@get(
    "/v1/instance-conflicts",
    operation_class=described(
        "not_found", caller="person", query={"tenant": TEXT}, required=frozenset({"tenant"})
    ),
)
async def instance_conflicts(
    request: web.HttpRequest, issuer: NamedDependency[Issuer], tenant: FromQuery[str]
) -> list[Conflict]:
    """Superseded instances that asked for a certificate, newest first."""
    headers = request.headers
    return await issuer.conflicts(headers.get("authorization"), headers.get(WHY_HEADER), tenant)


HANDLERS: Final[list[HTTPRouteHandler]] = [
    nonce,
    enrol,
    register_host,
    find_digests,
    destroy_digest_keys,
    instance_conflicts,
]
