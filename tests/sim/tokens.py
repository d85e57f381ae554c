"""An identity provider of a simulated world: good delegation tokens, and each kind of bad one.

Keys and claims follow from the call alone, so a seed stays one history. A second key is published
in the middle of a world's life. Tokens are put together by hand, without the library that
reads them. Owns: signing, the key file, and what must come of each token at a given time.
Refuses: asking the product whether a token is good.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from gateway.seal import Signer

ISSUER: Final = "https://idp.example/acme"
KEYLESS: Final = "https://keyless.example"
AUDIENCE: Final = "gatepost-sim"
PERSON: Final = "alice@acme.example"
AGENT: Final = "robot"
REVOKED_TOKEN: Final = "stolen-1"
REVOKED_PERSON: Final = "mallory@acme.example"
LOCAL_TOKEN: Final = "gpl_simulated-local-token"

_KEY: Final = "key-1"
_SECOND: Final = "key-2"
_LIFE_SECONDS: Final = 3_600
_AGE_SECONDS: Final = 600
_SKEW_SECONDS: Final = 30
_READ_SECONDS: Final = 45.0
"""After that a new key file has been read; the daemon looks twice a minute."""
_SLOP_SECONDS: Final = 240.0
"""How long a call may be under way, and how far signed time may lag."""


class Kind(msgspec.Struct, frozen=True):
    """``changed``: claims other than a good token's, None leaves one out; ``code``: of the
    refusal, whatever the time (``early``) or only while the token is valid in time."""

    changed: dict[str, object] = {}
    header: dict[str, object] = {}
    code: str | None = None
    early: bool = False
    shift_seconds: int = 0
    roles: tuple[str, ...] = ("support",)
    scopes: tuple[str, ...] = ("llm.chat",)


_TRUE_HEADER: Final[dict[str, object]] = {"alg": "Ed25519", "kid": _KEY, "typ": "JWT"}

TOKENS: Final = {
    "good": Kind(),
    "cashier": Kind(roles=("cashier", "support")),
    "writer": Kind(scopes=("llm.chat", "write")),
    "second key": Kind(header={"kid": _SECOND}),
    "expired": Kind(shift_seconds=-4 * _LIFE_SECONDS),
    "too early": Kind(shift_seconds=4 * _LIFE_SECONDS),
    "wrong actor": Kind({"act": {"sub": "somebody-else"}}, code="actor_mismatch"),
    "no actor": Kind({"act": None}, code="actor_mismatch"),
    "revoked": Kind({"jti": REVOKED_TOKEN}, code="token_revoked"),
    "revoked person": Kind({"sub": REVOKED_PERSON}, code="token_revoked"),
    "for ever": Kind({"exp": 4_000_000_000}, code="token_lifetime_too_long"),
    "another audience": Kind({"aud": ["other"]}, code="token_audience_mismatch", early=True),
    "another issuer": Kind({"iss": "https://other"}, code="token_issuer_unknown", early=True),
    "no keys": Kind({"iss": KEYLESS}, code="identity_keys_unavailable", early=True),
    "unknown key": Kind(header={"kid": "key-9"}, code="token_key_unknown", early=True),
    "another algorithm": Kind(header={"alg": "EdDSA"}, code="token_alg_not_allowed", early=True),
    "another type": Kind(header={"typ": "dpop+jwt"}, code="token_malformed", early=True),
    "no person": Kind({"sub": None}, code="token_malformed", early=True),
    "bad signature": Kind(code="token_signature_invalid", early=True),
    "no token": Kind(code="token_malformed", early=True),
    "two tokens": Kind(code="identity_ambiguous", early=True),
}
"""What an agent may show, by name."""


_KEYS: Final = {_KEY: Signer(b"1" * 32), _SECOND: Signer(b"2" * 32)}


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Identity(NamedTuple):
    """What a record must say of a caller; ``code`` of a refusal, None where it is accepted."""

    code: str | None
    person: str | None = None
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


class TokenIssuer:
    """``published_at``: loop time from which the second key stood in the key file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.published_at: float | None = None
        self._write([_KEY])

    def publish_second(self, now: float) -> None:
        """Put the second key beside the first, as before a rotation."""
        self.published_at = now
        self._write(list(_KEYS))

    def _write(self, kids: list[str]) -> None:
        keys = [
            {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": _text(_KEYS[kid].public)}
            for kid in kids
        ]
        self.path.write_bytes(msgspec.json.encode({"keys": keys}))

    # -- tokens

    def token(self, name: str, kind_name: str, now_seconds: int) -> str:
        """The token of kind ``kind_name`` that call ``name`` shows; ``now_seconds``: true time."""
        kind = TOKENS[kind_name]
        if kind_name == "no token":
            return "eyJ.not.a"
        # The same for a quarter of an hour: callers keep their tokens, and caches are for that.
        issued = now_seconds // 900 * 900 - _AGE_SECONDS + kind.shift_seconds
        claims: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": PERSON,
            "act": {"sub": AGENT},
            "iat": issued,
            "nbf": issued,
            "exp": issued + _LIFE_SECONDS,
            "roles": list(kind.roles),
            "scope": " ".join(kind.scopes),
        }
        claims = {key: value for key, value in (claims | kind.changed).items() if value is not None}
        header = _TRUE_HEADER | kind.header
        signed = f"{_text(msgspec.json.encode(header))}.{_text(msgspec.json.encode(claims))}"
        signature = _KEYS.get(str(header["kid"]), _KEYS[_KEY]).sign(signed.encode())
        if kind_name == "bad signature":
            signature = signature[::-1]
        return f"{signed}.{_text(signature)}"

    def may_be(
        self, kind_name: str, asked_seconds: float, at: float, wall_us: int
    ) -> list[Identity]:
        """What the daemon may have made of such a token; one of them where it is certain.

        ``asked_seconds``: true time of the call; ``at``: loop time of it; ``wall_us``: the time
        in its record. The daemon goes by the later of its own clock and the newest signed time.
        """
        kind = TOKENS[kind_name]
        if kind.early:
            return [Identity(kind.code)]
        found: list[Identity] = []
        if kind_name == "second key":
            unread = self.published_at is None or at < self.published_at + _READ_SECONDS
            if unread:
                found.append(Identity("token_key_unknown"))
            if self.published_at is None or at + _SLOP_SECONDS < self.published_at:
                return found
        issued = asked_seconds // 900 * 900 - _AGE_SECONDS + kind.shift_seconds
        ends = issued + _LIFE_SECONDS
        if "exp" in kind.changed:
            ends = 4_000_000_000
        least = wall_us / 1e6
        most = max(least, asked_seconds + _SLOP_SECONDS)
        if least < issued - _SKEW_SECONDS:
            found.append(Identity("token_not_yet_valid"))
        if most >= ends + _SKEW_SECONDS:
            found.append(Identity("token_expired"))
        if most >= issued - _SKEW_SECONDS and least < ends + _SKEW_SECONDS:
            accepted = Identity(None, PERSON, kind.roles, kind.scopes)
            found.append(accepted if kind.code is None else Identity(kind.code))
        return found
