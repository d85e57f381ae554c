"""The claims of a verified token, read strictly.

Owns: types and ranges of claims, dotted claim paths, ``aud``, times, the chain of actors.
Refuses: signatures (``token.py``), and who is trusted for what (``identity.py``). A message here
names a claim and never repeats its value.

Sources: RFC 7519 section 4.1, RFC 8693 section 4.1, RFC 7515 section 4.1.9 (``typ``).
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from gateway import limits
from gateway.call import Json
from gateway.errors import IdentityRejected
from gateway.identity_config import IssuerConfig
from gateway.token import Claims, Token

_SECONDS_MAX: Final = 253_402_300_799
"""The last second of the year 9999: what a record's timestamp can say."""
_MICROSECONDS: Final = 1_000_000
_RIGHTS_MAX: Final = 1_024
"""More would not fit a token of TOKEN_BYTES_MAX in earnest."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a token of an issuer says. Times in microseconds; ``actors``: outermost first."""

    subject: str
    token_id: str
    expires_us: int
    not_before_us: int | None
    issued_us: int
    roles: frozenset[str]
    scopes: frozenset[str]
    actors: tuple[str, ...]

    def check_time(self, now_us: int, skew_us: int) -> None:
        """Raises ``token_expired`` at ``exp`` + skew, ``token_not_yet_valid`` before nbf - skew.

        ``iat`` in the future counts as not yet valid: such a token was made on another clock.
        """
        if now_us >= self.expires_us + skew_us:
            raise IdentityRejected("token_expired", "exp has passed")
        if self.not_before_us is not None and now_us < self.not_before_us - skew_us:
            raise IdentityRejected("token_not_yet_valid", "nbf has not come")
        if now_us < self.issued_us - skew_us:
            raise IdentityRejected("token_not_yet_valid", "iat has not come")

    def check_lifetime(self, seconds_max: int) -> None:
        """Raises ``token_lifetime_too_long``: a long-lived token is a password."""
        if self.expires_us - self.issued_us > seconds_max * _MICROSECONDS:
            raise IdentityRejected(
                "token_lifetime_too_long", f"it lives longer than {seconds_max} seconds"
            )


def read_claims(claims: Claims, issuer: IssuerConfig, text: str) -> Verified:
    """The claims that matter. Raises ``token_malformed``, naming the claim.

    ``text`` is the token: its digest stands for a missing ``jti``.
    """
    for path in issuer.require:
        if look_up(claims, path) is None:
            raise _malformed(f"the required claim {path} is missing")
    subject = string_claim(claims, "sub")
    token_id = claims.get("jti")
    if token_id is None:
        token_id = "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:32]
    elif not isinstance(token_id, str) or not token_id:
        raise _malformed("jti is not a string")
    return Verified(
        subject=subject,
        token_id=token_id,
        expires_us=time_claim(claims, "exp"),
        not_before_us=time_claim(claims, "nbf") if "nbf" in claims else None,
        issued_us=time_claim(claims, "iat"),
        roles=_words(claims, issuer.roles_claim),
        scopes=_scopes(claims, issuer.scopes_claim),
        actors=_actors(claims),
    )


def check_typ(token: Token, issuer: IssuerConfig) -> None:
    """Hold the ``typ`` header against the issuer's list: an ID token is not an access token."""
    if not issuer.typ:
        return
    accepted = {_media_type(typ) for typ in issuer.typ}
    if token.typ is None or _media_type(token.typ) not in accepted:
        raise _malformed(f"typ is not one of {', '.join(issuer.typ)}")


def check_audience(claims: Claims, audience: tuple[str, ...]) -> None:
    """``aud`` must hold one of ``audience`` exactly. Raises ``token_audience_mismatch``."""
    stated = claims.get("aud")
    values = [stated] if isinstance(stated, str) else stated
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _malformed("aud is not a string or a list of strings")
    if not any(value in audience for value in values):
        raise IdentityRejected("token_audience_mismatch", "aud does not name this gateway")


def look_up(claims: Claims, path: str) -> Json:
    """The claim called ``path``, else what the dotted path leads to; None if there is neither.

    The whole name comes first, because collision-resistant claim names are URLs with dots.
    """
    if path in claims:
        return claims[path]
    value: Json = claims
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _media_type(typ: str) -> str:
    return typ.lower().removeprefix("application/")


def string_claim(claims: Claims, name: str) -> str:
    """A claim that must be there and have text. Raises ``token_malformed``."""
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise _malformed(f"{name} is missing or not a string")
    return value


def time_claim(claims: Claims, name: str) -> int:
    """A NumericDate in microseconds. Fractions are allowed (RFC 7519 section 2).

    Raises ``token_malformed``.
    """
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _malformed(f"{name} is missing or not a number")
    if not 0 <= value <= _SECONDS_MAX:
        raise _malformed(f"{name} is out of range")
    return int(value * _MICROSECONDS)


def _words(claims: Claims, path: str) -> frozenset[str]:
    value = look_up(claims, path)
    if value is None:
        return frozenset()
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or len(words) > _RIGHTS_MAX:
        raise _malformed(f"{path} is neither a list of strings nor a string of words")
    strings = frozenset(word for word in words if isinstance(word, str) and word)
    if len(strings) != len({str(word) for word in words}):
        raise _malformed(f"{path} holds something that is not a string")
    return strings


def _scopes(claims: Claims, path: str) -> frozenset[str]:
    """``scp`` is what Entra and Okta call ``scope``."""
    if path == "scope" and "scope" not in claims:
        path = "scp"
    return _words(claims, path)


def _actors(claims: Claims) -> tuple[str, ...]:
    """Subjects of ``act``, the current actor first. Only it decides; the rest is history."""
    actors: list[str] = []
    claim = claims.get("act")
    while claim is not None:
        if len(actors) == limits.ACTOR_DEPTH_MAX:
            raise _malformed(f"act is nested deeper than {limits.ACTOR_DEPTH_MAX}")
        if not isinstance(claim, dict):
            raise _malformed("act is not an object")
        actors.append(string_claim(claim, "sub"))
        claim = claim.get("act")
    return tuple(actors)


def _malformed(detail: str) -> IdentityRejected:
    return IdentityRejected("token_malformed", detail)
