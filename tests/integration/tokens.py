"""An identity provider for tests: good tokens, and each way in which a token can be bad.

Owns: drawing keys and signing claims as asked. Refuses: judging; whatever claims are asked for
are signed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import msgspec
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, OKPKey

from gatepost.stack import AGENT, AUDIENCE, ISSUER

PERSON: Final = "alice@acme.example"
REVOKED_TOKEN: Final = "stolen-1"
KEYLESS_ISSUER: Final = "https://keyless.example"
_KEY_ID: Final = "test-1"
_LIFE_SECONDS: Final = 600


def now_seconds() -> int:
    """Seconds since 1970 as claims hold them."""
    return time.time_ns() // 1_000_000_000


class TokenIssuer:
    """Signs delegation tokens that the daemons of these tests trust."""

    def __init__(self) -> None:
        self._key = OKPKey.generate_key("Ed25519", {"kid": _KEY_ID, "use": "sig"})
        self._numbers = iter(range(1_000_000))

    def write_jwks(self, path: Path) -> Path:
        """Put the public key where a daemon reads it."""
        path.write_bytes(msgspec.json.encode(KeySet([self._key]).as_dict(private=False)))
        return path

    def claims(self, **changed: object) -> dict[str, object]:
        """Claims of a good token; ``changed`` replaces some, None leaves one out."""
        issued = now_seconds()
        good: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": PERSON,
            "act": {"sub": AGENT},
            "iat": issued,
            "exp": issued + _LIFE_SECONDS,
            "jti": f"test-{issued}-{next(self._numbers)}",
            "roles": ["support"],
            "scope": "llm.chat tool.orders",
        }
        return {name: value for name, value in (good | changed).items() if value is not None}

    def token(self, *, kid: str = _KEY_ID, **changed: object) -> str:
        """A signed token."""
        header = {"alg": "Ed25519", "kid": kid, "typ": "JWT"}
        return jwt.encode(header, self.claims(**changed), self._key, algorithms=["Ed25519"])

    def forged(self) -> str:
        """Good claims, the right key id, and somebody else's signature."""
        other = OKPKey.generate_key("Ed25519", {"kid": _KEY_ID})
        header = {"alg": "Ed25519", "kid": _KEY_ID, "typ": "JWT"}
        return jwt.encode(header, self.claims(), other, algorithms=["Ed25519"])

    def symmetric(self) -> str:
        """Signed with HMAC under the public key: the classic confusion of algorithms."""
        public = self._key.as_dict(private=False)["x"]
        secret = OctKey.import_key(str(public))
        header = {"alg": "HS256", "kid": _KEY_ID, "typ": "JWT"}
        return jwt.encode(header, self.claims(), secret, algorithms=["HS256"])
