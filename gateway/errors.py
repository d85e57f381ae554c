"""Every code that Gatepost answers with, and the exceptions that carry one.

Owns: the closed table of refusal codes (status, kind, whether a retry can help) and one
exception tree. Refuses: formatting answers (``refusal.py`` does) and carrying request
content; a message here says what was wrong and where, never what the caller sent.

A policy *denial* is a value (``decide.Denial``), not an exception: an error is the absence of
a decision, and fails closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

CodeKind = Literal["turn_away", "ruling", "upstream"]
"""``turn_away``: fixed body, no record of its own. ``ruling``: recorded before it is given.
``upstream``: given after a ruling; stands in the completion record."""


class Code(msgspec.Struct, frozen=True):
    """One stable refusal code.

    ``retryable`` is whether the same call may succeed later without being changed; where it is
    false the answer carries ``x-should-retry: false``. ``retry_after_seconds`` is the value of
    ``Retry-After``, or None for no such header.
    """

    status: int
    kind: CodeKind
    retryable: bool
    message: str
    retry_after_seconds: int | None = None


def _turn_away(status: int, message: str, *, retry_after_seconds: int | None = None) -> Code:
    retryable = status in (408, 429, 503)
    return Code(status, "turn_away", retryable, message, retry_after_seconds)


def _ruling(status: int, message: str, *, retryable: bool = False) -> Code:
    retry_after_seconds = 5 if status == 503 and retryable else None
    return Code(status, "ruling", retryable, message, retry_after_seconds)


CODES: Final[Mapping[str, Code]] = MappingProxyType(
    {
        # -- turn-aways: no ruling is possible; counted by code and listener -----------------
        "malformed_request": _turn_away(400, "the request head is not valid HTTP/1.1"),
        "ambiguous_framing": _turn_away(400, "the request framing can be read in two ways"),
        "unknown_route": _turn_away(404, "no route is configured for this path"),
        "method_not_allowed": _turn_away(405, "this route does not take this method"),
        "too_slow": _turn_away(408, "the request did not arrive in time"),
        "body_too_large": _turn_away(413, "the request body is larger than this route takes"),
        "content_encoding_unsupported": _turn_away(
            415, "request bodies must have no content encoding"
        ),
        "foreign_host": _turn_away(421, "the Host or Origin is not one of this listener's"),
        "identity_rate_limited": _turn_away(
            429, "too many failed identity checks from this caller", retry_after_seconds=1
        ),
        "too_many_denials": _turn_away(
            429, "this agent is being denied too often", retry_after_seconds=1
        ),
        "head_too_large": _turn_away(431, "the request head is too large"),
        "internal_error": Code(
            500, "turn_away", False, "Gatepost failed on this call; nothing was decided"
        ),
        "unsupported_protocol": _turn_away(501, "Upgrade, CONNECT and gRPC are not supported"),
        "spool_full": _turn_away(503, "the record spool is full", retry_after_seconds=5),
        "disk_failed": _turn_away(
            503, "the record could not be made durable", retry_after_seconds=5
        ),
        "no_key": _turn_away(503, "no usable signing key", retry_after_seconds=5),
        "draining": _turn_away(503, "the gateway is stopping", retry_after_seconds=1),
        "too_busy": _turn_away(503, "too many calls are in flight", retry_after_seconds=1),
        # -- rulings on identity -------------------------------------------------------------
        "token_missing": _ruling(401, "a delegation token is required"),
        "token_malformed": _ruling(401, "the delegation token cannot be read"),
        "token_alg_not_allowed": _ruling(401, "the token's algorithm is not allowed"),
        "token_key_unknown": _ruling(401, "the token's key is not known"),
        "token_signature_invalid": _ruling(401, "the token's signature is not valid"),
        "token_expired": _ruling(401, "the token has expired"),
        "token_not_yet_valid": _ruling(401, "the token is not valid yet"),
        "token_lifetime_too_long": _ruling(401, "the token lives longer than is allowed"),
        "token_issuer_unknown": _ruling(401, "the token's issuer is not known"),
        "token_audience_mismatch": _ruling(401, "the token is not meant for this gateway"),
        "token_revoked": _ruling(401, "the token was revoked"),
        "actor_mismatch": _ruling(403, "the token was given to another agent"),
        "peer_not_allowed": _ruling(403, "this caller may not use this listener"),
        "scope_insufficient": _ruling(403, "the token's scopes do not cover this call"),
        "assurance_too_low": _ruling(403, "this call needs a verified person"),
        "identity_keys_unavailable": _ruling(
            503, "the keys that verify tokens are not available", retryable=True
        ),
        # -- rulings on the body -------------------------------------------------------------
        "unreadable_body": _ruling(400, "the request body is not what this route takes"),
        "duplicate_keys": _ruling(400, "a JSON object in the body has the same key twice"),
        "identity_ambiguous": _ruling(400, "the request carries more than one identity"),
        "value_too_long": _ruling(400, "a value that must be recorded whole is too long"),
        # -- rulings by policy ---------------------------------------------------------------
        "denied": _ruling(403, "the policy does not allow this call"),
        "approval_required": _ruling(403, "the policy asks for an approval of this call"),
        "obligation_unsupported": _ruling(403, "an obligation of the policy cannot be met"),
        "policy_unavailable": _ruling(503, "no verified policy is loaded", retryable=True),
        "policy_expired": _ruling(503, "the policy is too old to be used", retryable=True),
        "policy_locked": _ruling(503, "the policy owner has stopped all calls", retryable=True),
        # -- after a ruling ------------------------------------------------------------------
        "upstream_unreachable": Code(502, "upstream", True, "the upstream could not be reached"),
        "upstream_redirect": Code(502, "upstream", False, "the upstream answered with a redirect"),
        "upstream_invalid": Code(502, "upstream", False, "the upstream's answer is not valid"),
        "upstream_timeout": Code(504, "upstream", True, "the upstream did not answer in time"),
    }
)

RULING_ON_KNOWN_ROUTE: Final = frozenset({"body_too_large", "content_encoding_unsupported"})
"""Turn-away codes that are rulings, and so recorded, once head and route were understood."""


UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for foreign bytes: not the wanted JSON, not UTF-8, nested too deeply."""


class GatepostError(Exception):
    """Something that ends a call with a stable code.

    ``code`` is a key of ``CODES``. ``detail`` says where and what to do, for logs and for the
    caller; it never holds request content. Fails closed wherever it is caught.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        if code not in CODES:
            raise ValueError(f"unknown refusal code {code!r}; add it to gateway.errors.CODES")
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail

    @property
    def spec(self) -> Code:
        """Status, kind and message of this error's code."""
        return CODES[self.code]


class TurnAway(GatepostError):
    """No ruling is possible: the peer's bytes or our own condition rule it out.

    ``allow``: the methods that the path takes, for ``method_not_allowed``.
    """

    def __init__(self, code: str, detail: str = "", *, allow: tuple[str, ...] = ()) -> None:
        super().__init__(code, detail)
        self.allow = allow


class RequestRefused(GatepostError):
    """Head and route were understood, and the call is refused by a ruling: it is recorded."""


class IdentityRejected(RequestRefused):
    """The caller or its token was not accepted (401, 403, or 400 ``identity_ambiguous``)."""


class UpstreamFailed(GatepostError):
    """The upstream could not be reached, timed out, or answered what may not be passed on."""


class DocumentInvalid(Exception):
    """A signed document, or one read from disk or network, is not acceptable.

    ``reason`` is a stable word (``signature``, ``threshold``, ``rollback`` …), ``detail`` says
    what was wrong and where. Raised by verifiers; translated at the edge that asked.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ConfigInvalid(Exception):
    """The configuration cannot be used; the message names file, path and remedy."""


class ListenFailed(Exception):
    """A listener could not be made; the message names the address and what to do."""
