"""What central services answer when they do not do what was asked.

Owns: the table of codes and the one exception that carries one. Refuses: HTTP (``web.py``
writes the answer) and quoting what the caller sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec


class Code(msgspec.Struct, frozen=True):
    """``retryable``: whether the same request may succeed later, unchanged."""

    status: int
    retryable: bool
    message: str


CODES: Final[Mapping[str, Code]] = MappingProxyType(
    {
        "malformed_request": Code(400, False, "the request is not what this path takes"),
        "bad_filter": Code(400, False, "a filter is not known or cannot be read"),
        "bad_cursor": Code(400, False, "the cursor is not one of ours for this query"),
        "region_required": Code(400, False, "this tenant has several regions; name one"),
        "token_missing": Code(401, False, "a bearer token is required"),
        "token_unknown": Code(401, False, "the bearer token is not known"),
        "request_unsigned": Code(401, False, "the call needs a Gatepost-Signed header"),
        "request_signature": Code(401, False, "the Gatepost-Signed header does not fit the call"),
        "attestation_invalid": Code(403, False, "the attestation does not prove who asks"),
        "role_insufficient": Code(403, False, "this token's role may not do that"),
        "wrong_tenant": Code(403, False, "this tenant or region is not configured here"),
        "key_revoked": Code(403, False, "this key was taken back by a revocation"),
        "certificate_expired": Code(403, False, "the sender's certificate is not valid now"),
        "not_entitled": Code(403, False, "the certificate does not cover this"),
        "topology_not_allowed": Code(403, False, "this workload may not have that topology"),
        "instance_taken": Code(403, False, "this instance or key belongs to another attestation"),
        "same_person": Code(403, False, "another person than its author must approve this"),
        "not_found": Code(404, False, "there is nothing here that you may see"),
        "method_not_allowed": Code(405, False, "this path does not take this method"),
        "instance_conflict": Code(409, False, "a newer instance took this one's place"),
        "base_changed": Code(409, False, "another bundle is in force than was compared with"),
        "version_exists": Code(409, False, "this version was published with other bytes"),
        "version_not_newer": Code(409, False, "the version is not above the published one"),
        "canary_running": Code(409, False, "a canary runs; promote or withdraw it first"),
        "no_canary": Code(409, False, "no canary runs in this scope"),
        "certificate_unknown": Code(412, True, "post the sender's certificate, then repeat"),
        "body_too_large": Code(413, False, "the body is larger than this path takes"),
        "content_encoding_unsupported": Code(415, False, "only gzip is understood here"),
        "mirror_only": Code(421, False, "this is a mirror, without keys and people of its own"),
        "document_invalid": Code(422, False, "a signed document is not acceptable"),
        "key_unknown": Code(422, False, "no log here knows this key"),
        "nonce_unknown": Code(422, True, "the nonce is spent, expired or not ours; ask for one"),
        "key_refused": Code(422, False, "this key cannot be certified"),
        "internal_error": Code(500, True, "the service failed on this request"),
        "digests_not_configured": Code(501, False, "no issuer with digest keys is configured"),
        "attestation_not_configured": Code(501, False, "this attestation type is not configured"),
        "too_busy": Code(503, True, "too many requests of this kind are open"),
        "digests_unavailable": Code(503, True, "the issuer that keeps digest keys does not answer"),
        "attestation_keys_unavailable": Code(503, True, "a platform's keys cannot be read"),
        "mirror_empty": Code(503, True, "this mirror has verified nothing of that scope yet"),
        "mirror_unreachable": Code(503, True, "what this mirror follows does not answer"),
        "storage_failed": Code(503, True, "the request could not be made durable"),
    }
)


class Refused(Exception):
    """A request that is answered with ``code``; ``detail`` says what and where, for the caller."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.spec = CODES[code]
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
