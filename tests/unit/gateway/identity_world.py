"""One configuration, one caller and one good token, which the identity tests change."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from gateway.call import Head, Peer, Principal
from gateway.identity import Identifier, TokenRejected
from gateway.identity_config import IdentityConfig
from tests.unit.gateway import token_factory as make

NOW = 1_800_000_000
AGENT = "billing"
ISSUER = "https://idp.example/realm"
USERS = "https://users.example"
LOCAL = "gpl_0123456789abcdef"


def config(**changes: object) -> IdentityConfig:
    """A configuration as an operator writes it, through the decoder that checks it."""
    issuers = [
        {
            "id": "idp",
            "issuer": ISSUER,
            "kind": "delegation",
            "jwks_file": "idp.json",
            "algorithms": ["ES256", "ES384", "RS256", "PS256", "Ed25519", "EdDSA"],
            "roles_claim": "realm_access.roles",
        },
        {"id": "users", "issuer": USERS, "kind": "user", "jwks_file": "users.json"},
    ]
    document = {
        "audience": ["ai-gateway/prod"],
        "issuers": issuers,
        "agents": [
            {"id": AGENT, "actor_subjects": ["client-7"], "scope_ceiling": ["chat", "search"]},
            {"id": "other"},
        ],
        "tokens": [{"agent": AGENT, "sha256": hashlib.sha256(LOCAL.encode()).hexdigest()}],
        **changes,
    }
    return msgspec.convert(document, IdentityConfig)


KEYS = {
    "idp": make.jwks("ec-1", "ec-2", "p384-1", "rsa-1", "ed-1"),
    "users": make.as_json({"keys": [make.jwk("ec-users", "ec-1")]}),
}


def identifier() -> Identifier:
    return Identifier(config(), KEYS)


def claims(**changes: object) -> dict[str, object]:
    full: dict[str, object] = {
        "iss": ISSUER,
        "sub": "u-42",
        "aud": "ai-gateway/prod",
        "iat": NOW - 60,
        "exp": NOW + 600,
        "jti": "t-1",
        "act": {"sub": AGENT},
        "scope": "chat admin",
        "realm_access": {"roles": ["analyst"]},
        **changes,
    }
    return {name: value for name, value in full.items() if value is not None}


def peer(**changes: object) -> Peer:
    known: dict[str, object] = {
        "listener": "agent",
        "kind": "uds",
        "uid": 10001,
        "agent": AGENT,
        "attested_by": "uds_uid",
        **changes,
    }
    return msgspec.convert(known, Peer)


LOOPBACK = peer(kind="tcp", uid=None, agent=None, attested_by=None)


def head(headers: dict[str, str] | None = None, **values: str) -> Head:
    return Head(
        method="POST",
        target="/openai/v1/chat/completions",
        headers={**(headers or {}), **values},
        content_length=2,
        chunked=False,
        expect_continue=False,
        keep_alive=True,
    )


def delegation(token: str) -> Head:
    return head({"x-gatepost-delegation": token})


def identify(token: str, now: float = NOW, subject: Identifier | None = None) -> Principal:
    return (subject or identifier()).identify(peer(), delegation(token), int(now * 1e6))


def refusal(
    request: Head, caller: Peer | None = None, subject: Identifier | None = None, now: float = NOW
) -> TokenRejected:
    with pytest.raises(TokenRejected) as caught:
        (subject or identifier()).identify(caller or peer(), request, int(now * 1e6))
    return caught.value


def code(token: str, now: float = NOW, subject: Identifier | None = None) -> str:
    return refusal(delegation(token), subject=subject, now=now).code
