"""The issuer's paths.

Owns: methods, paths, sizes and status codes. Refuses: everything else (``service.py``).
"""

from __future__ import annotations

from typing import Final

from litestar import post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from central import web
from central.issuer.attestors import HostAnswer
from central.issuer.service import Issuer
from gateway import limits
from gateway.attestation import EnrolAnswer, HostRegistration, NonceAnswer


@post("/v1/enrol/nonce", status_code=200, request_max_body_size=limits.ENROL_BYTES_MAX)
async def nonce(issuer: NamedDependency[Issuer]) -> NonceAnswer:
    """A nonce for one enrolment, and the issuer's clock."""
    return await issuer.nonce()


@post("/v1/enrol", status_code=201, request_max_body_size=limits.ENROL_BYTES_MAX)
async def enrol(request: web.HttpRequest, issuer: NamedDependency[Issuer]) -> EnrolAnswer:
    """Certify an instance key: the body is the DSSE envelope of an ``enrol`` document."""
    return await issuer.enrol(await request.body())


@post("/v1/hosts", status_code=201, request_max_body_size=limits.ENROL_BYTES_MAX)
async def register_host(request: web.HttpRequest, issuer: NamedDependency[Issuer]) -> HostAnswer:
    """Register a host key with a one-time token."""
    body = web.decode_body(await request.body(), HostRegistration)
    return await issuer.register_host(body)


HANDLERS: Final[list[HTTPRouteHandler]] = [nonce, enrol, register_host]
