"""Whose report this is: ``Gatepost-Signed`` against the certificate that lies beside the report.

The policy service keeps no certificates and knows no instance. It holds the certificate against
the issuer keys of its own root, the request against the certificate, and the tenant against the
scope. Refuses: knowing of revocations, which are the record store's: a key that was taken back may
report until its certificate ends, and no report changes what is published but by a refusal, which
the bound on canaries counts.
"""

from __future__ import annotations

from typing import Final

import msgspec

from central.config import CentralConfig
from central.errors import Refused
from central.keys import RootFiles
from gateway import seal, signed_request
from gateway.documents import KeyCert
from gateway.errors import DocumentInvalid
from gateway.limits import POLICY_REPORT_SKEW_SECONDS_MAX
from gateway.policy_report import PolicyReport, decode_report
from gateway.timestamp import time_micros

_SLACK_US: Final = 300 * 1_000_000
"""Between the issuer's clock and ours: both are servers, five minutes are ample."""


class Call(msgspec.Struct, frozen=True):
    """One HTTP call as it came. ``path``: percent-encoded, with its query; ``body``: as sent."""

    path: str
    body: bytes
    signed: str | None


class Proven(msgspec.Struct, frozen=True):
    """A report and who made it. ``signed_us``: the sender's clock."""

    report: PolicyReport
    certificate: KeyCert
    signed_us: int


def prove(
    call: Call, scope: str, config: CentralConfig, root_files: RootFiles, now_us: int
) -> Proven:
    """The report in ``call``, and its sender.

    Raises Refused: ``request_unsigned``, ``malformed_request``, ``document_invalid`` (the
    certificate), ``request_signature``, ``not_entitled`` (another instance, tenant or region),
    ``certificate_expired``.
    """
    if call.signed is None:
        raise Refused("request_unsigned")
    try:
        body = decode_report(call.body)
    except DocumentInvalid as error:
        raise Refused("malformed_request", str(error)) from error
    try:
        certificate = seal.open_certificate(body.certificate, root_files.role("issuer").keys)
    except DocumentInvalid as error:
        raise Refused("document_invalid", str(error)) from error
    signed_us = _check_signature(call, certificate, config.audience, now_us)
    _check_entitled(certificate, scope, config)
    begins_us, ends_us = time_micros(certificate.not_before), time_micros(certificate.not_after)
    if not begins_us - _SLACK_US <= now_us < ends_us + _SLACK_US:
        raise Refused("certificate_expired")
    return Proven(body.report, certificate, signed_us)


def _check_signature(call: Call, certificate: KeyCert, audience: str, now_us: int) -> int:
    """The time that was signed."""
    assert call.signed is not None
    try:
        claimed, sealed = signed_request.read_header(call.signed)
        signed_request.check_request(
            claimed,
            sealed,
            seal.public_key(certificate.pub),
            audience=audience,
            method="POST",
            path=call.path,
            body=call.body,
            now_us=now_us,
        )
    except DocumentInvalid as error:
        raise Refused("request_signature", str(error)) from error
    if (claimed.sender.kid, claimed.sender.instance) != (certificate.kid, certificate.instance):
        raise Refused("not_entitled", "the certificate is for another key or instance")
    signed_us = time_micros(claimed.time)
    if abs(signed_us - now_us) > POLICY_REPORT_SKEW_SECONDS_MAX * 1_000_000:
        raise Refused(
            "request_signature", f"it was signed over {POLICY_REPORT_SKEW_SECONDS_MAX} s from now"
        )
    return signed_us


def _check_entitled(certificate: KeyCert, scope: str, config: CentralConfig) -> None:
    tenant = config.tenant_of_scope(scope)
    if tenant != certificate.tenant or certificate.region not in config.regions_of(tenant):
        raise Refused("not_entitled", "the certificate is for another tenant or region")
