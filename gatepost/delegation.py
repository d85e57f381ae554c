"""A stand-in identity provider for demonstrations: one key, one kind of token.

Owns: drawing the key, its JWK set, and signing delegation tokens with it. Refuses: use outside a
demonstration; a real set-up names its own issuer in ``[identity]``.
"""

from __future__ import annotations

import msgspec
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

_LIFE_SECONDS = 600


class DemoIssuer:
    """Signs tokens that say: this person lets this agent act."""

    def __init__(self, issuer: str, audience: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._key = OKPKey.generate_key("Ed25519", {"kid": "demo-1", "use": "sig"})

    def jwks(self) -> bytes:
        """The public key as a JWK set."""
        return msgspec.json.encode(KeySet([self._key]).as_dict(private=False))

    def token(self, person: str, agent: str, now_seconds: int) -> str:
        """A delegation token (RFC 8693 ``act``) for ten minutes."""
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": person,
            "act": {"sub": agent},
            "iat": now_seconds,
            "exp": now_seconds + _LIFE_SECONDS,
            "jti": f"demo-{now_seconds}",
            "roles": ["support"],
            "scope": "llm.chat tool.orders",
        }
        header = {"alg": "Ed25519", "kid": "demo-1", "typ": "JWT"}
        return jwt.encode(header, claims, self._key, algorithms=["Ed25519"])
