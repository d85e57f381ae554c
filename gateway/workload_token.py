"""What a platform's token says about a workload: Kubernetes service accounts and SPIFFE.

Owns: the claims of a projected service-account token and of a JWT-SVID, their audience and times.
Refuses: signatures and keys (``token.py``), and who a workload may be (``central.issuer``). A
message names a claim and never repeats its value.

Sources: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin (bound tokens,
private claims in ``kubernetes.io``); SPIFFE JWT-SVID specification, sections 2 and 3; SPIFFE-ID
specification, section 2.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gateway import limits
from gateway.attestation import ENROL_AUDIENCE
from gateway.call import Json
from gateway.claims import string_claim, time_claim
from gateway.errors import IdentityRejected
from gateway.token import Claims, Token

ALGORITHMS: Final = ("RS256", "ES256")

_SKEW_US: Final = limits.ATTESTATION_SKEW_SECONDS * 1_000_000
_TYPES: Final = frozenset({None, "JWT", "JOSE"})
"""JWT-SVID section 2.3; the API server writes none."""
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
"""Names of namespaces (RFC 1123 label) and of service accounts and pods (subdomain)."""
_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SPIFFE_ID: Final = re.compile(r"spiffe://([a-z0-9._-]+)((?:/[A-Za-z0-9._-]+)+)")


class ServiceAccount(msgspec.Struct, frozen=True):
    """A pod as its cluster names it; ``subject``: ``system:serviceaccount:<namespace>:<name>``."""

    namespace: str
    name: str
    pod: str
    pod_uid: str
    subject: str


class SpiffeId(msgspec.Struct, frozen=True):
    """``spiffe://<trust domain><path>``; ``path`` begins with a slash."""

    text: str
    trust_domain: str
    path: str


def check_token(found: Token, now_us: int) -> None:
    """Hold type, audience and times of a platform's token against ours.

    The audience must be ours alone: whoever else takes the token could enrol with it. Raises
    IdentityRejected: ``token_audience_mismatch``, ``token_expired``, ``token_not_yet_valid``,
    ``token_malformed``.
    """
    claims = found.claims
    if found.typ not in _TYPES:
        raise _malformed("typ is that of another kind of token")
    audience = claims.get("aud")
    if audience not in (ENROL_AUDIENCE, [ENROL_AUDIENCE]):
        raise IdentityRejected("token_audience_mismatch", f"aud is not {ENROL_AUDIENCE} alone")
    if now_us >= time_claim(claims, "exp") + _SKEW_US:
        raise IdentityRejected("token_expired", "exp has passed")
    for name in ("nbf", "iat"):
        if name in claims and now_us < time_claim(claims, name) - _SKEW_US:
            raise IdentityRejected("token_not_yet_valid", f"{name} has not come")


def read_service_account(claims: Claims) -> ServiceAccount:
    """The pod of a projected token. Raises IdentityRejected (``token_malformed``).

    A token that is not bound to a pod attests no start: anybody with the service account has one.
    """
    bound = _object(claims, "kubernetes.io")
    pod, account = _object(bound, "pod"), _object(bound, "serviceaccount")
    found = ServiceAccount(
        namespace=_fitting(bound, "namespace", _LABEL),
        name=_fitting(account, "name", _LABEL),
        pod=_fitting(pod, "name", _LABEL),
        pod_uid=_fitting(pod, "uid", _UID),
        subject=_short(string_claim(claims, "sub"), "sub"),
    )
    if found.subject != f"system:serviceaccount:{found.namespace}:{found.name}":
        raise _malformed("sub is not the service account that kubernetes.io names")
    return found


def read_spiffe_id(claims: Claims) -> SpiffeId:
    """The SPIFFE id in ``sub``. Raises IdentityRejected (``token_malformed``)."""
    text = _short(string_claim(claims, "sub"), "sub")
    parts = _SPIFFE_ID.fullmatch(text)
    if parts is None or {".", ".."} & set(parts[2].split("/")):
        raise _malformed("sub is not a SPIFFE id with a path")
    return SpiffeId(text, parts[1], parts[2])


def _object(claims: Claims, name: str) -> dict[str, Json]:
    value = claims.get(name)
    if not isinstance(value, dict):
        raise _malformed(f"{name} is missing or not an object")
    return value


def _fitting(claims: Claims, name: str, form: re.Pattern[str]) -> str:
    value = string_claim(claims, name)
    if form.fullmatch(value) is None:
        raise _malformed(f"{name} has not the form that the platform gives it")
    return value


def _short(value: str, name: str) -> str:
    if len(value.encode("utf-8", "surrogatepass")) > limits.ATTESTATION_BYTES_MAX:
        raise _malformed(f"{name} is longer than {limits.ATTESTATION_BYTES_MAX} bytes")
    return value


def _malformed(detail: str) -> IdentityRejected:
    return IdentityRejected("token_malformed", detail)
