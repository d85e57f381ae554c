"""Which tokens are trusted, and which agents exist: the ``[identity]`` part of a configuration.

Owns: the configuration types and the rules among their members. Refuses: reading files (the
caller reads ``jwks_file`` and hands the bytes to ``identity.Identifier``) and binding sockets
and uids to agents (the listeners do).

A member that breaks a rule raises ``ValueError``; while msgspec decodes, that becomes a
``ValidationError`` whose message names the path.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from gateway import limits

Algorithm = Literal["ES256", "ES384", "RS256", "PS256", "Ed25519", "EdDSA"]
"""Signature algorithms that may be configured. There is no HMAC and no ``none``. ``Ed25519``
(RFC 9864) and its older name ``EdDSA`` are one algorithm, for Ed25519 keys only."""

IssuerKind = Literal["delegation", "user"]
"""``delegation``: the token names the acting agent in ``act.sub``, which must be the caller.
``user``: the token of a person alone; the agent is known from the connection only."""

Subject = Literal["person", "service"]
"""What ``sub`` is. Only a ``person`` becomes the person of a call."""

_SHA256_HEX_CHARACTERS: Final = 64


class _Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base: an unknown key is an error, because a misspelt bound is no bound."""


class IssuerConfig(_Config, frozen=True, kw_only=True):
    """One issuer of tokens.

    ``issuer`` is compared with ``iss`` exactly: no prefix, no trailing-slash forgiveness.
    ``typ``: accepted values of the ``typ`` header, letter case and ``application/`` aside; an
    empty list accepts any and none. ``require``: claims that must be present, as dotted paths.
    ``roles_claim`` and ``scopes_claim``: a claim's name, or a dotted path into nested objects;
    the value is a list of strings or one string of words.
    """

    id: str
    issuer: str
    kind: IssuerKind
    jwks_file: str
    subject: Subject = "person"
    algorithms: tuple[Algorithm, ...] = ("ES256", "Ed25519")
    typ: tuple[str, ...] = ("at+jwt", "JWT")
    max_lifetime_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 3_600
    require: tuple[str, ...] = ("sub", "aud", "exp", "iat")
    roles_claim: str = "roles"
    scopes_claim: str = "scope"

    def __post_init__(self) -> None:
        if not self.id or not self.issuer:
            raise ValueError("`id` and `issuer` must not be empty")
        if not self.algorithms:
            raise ValueError(f"issuer {self.id!r}: `algorithms` must name at least one")
        if not self.roles_claim or not self.scopes_claim or not all(self.require):
            raise ValueError(f"issuer {self.id!r}: a claim name must not be empty")


class AgentConfig(_Config, frozen=True, kw_only=True):
    """One agent. ``actor_subjects``: further values of ``act.sub`` that mean this agent, beside
    its own id. A ceiling is the most that a token can give: null is no ceiling, ``[]`` is none.
    """

    id: str
    actor_subjects: tuple[str, ...] = ()
    scope_ceiling: tuple[str, ...] | None = None
    role_ceiling: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.id or len(self.id.encode()) > limits.AGENT_ID_BYTES_MAX:
            raise ValueError(f"an agent's `id` has 1 to {limits.AGENT_ID_BYTES_MAX} bytes")


class LocalTokenConfig(_Config, frozen=True, kw_only=True):
    """A local token ``gpl_…`` that binds loopback calls to ``agent``. ``sha256``: lower-case hex
    of the whole token's UTF-8; the token itself stands nowhere in the configuration."""

    agent: str
    sha256: str

    def __post_init__(self) -> None:
        if len(self.sha256) != _SHA256_HEX_CHARACTERS or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError("`sha256` must be 64 lower-case hexadecimal digits")


class RevokedToken(_Config, frozen=True, kw_only=True):
    """What is no longer accepted of ``issuer`` (its configured ``id``): one token by its
    ``token_id`` (``jti``), or every token of one ``subject``."""

    issuer: str
    token_id: str | None = None
    subject: str | None = None

    def __post_init__(self) -> None:
        if (self.token_id is None) == (self.subject is None):
            raise ValueError("a revocation names either `token_id` or `subject`")


class IdentityConfig(_Config, frozen=True, kw_only=True):
    """``audience``: exact values, of which ``aud`` must hold one; mandatory with issuers."""

    audience: tuple[str, ...] = ()
    clock_skew_seconds: Annotated[int, msgspec.Meta(ge=0, le=60)] = 30
    issuers: tuple[IssuerConfig, ...] = ()
    agents: tuple[AgentConfig, ...] = ()
    tokens: tuple[LocalTokenConfig, ...] = ()
    revoked: tuple[RevokedToken, ...] = ()

    def __post_init__(self) -> None:
        if self.issuers and not self.audience:
            raise ValueError(
                "`audience` must not be empty where issuers are configured: "
                "a token made for another service would be accepted"
            )
        if not all(self.audience):
            raise ValueError("`audience` must not hold an empty string")
        _unique("issuers: `id`", [issuer.id for issuer in self.issuers])
        _unique("issuers: `issuer`", [issuer.issuer for issuer in self.issuers])
        _unique("agents: `id`", [agent.id for agent in self.agents])
        _unique("tokens: `sha256`", [token.sha256 for token in self.tokens])
        self._check_references()

    def _check_references(self) -> None:
        agents = {agent.id for agent in self.agents}
        for token in self.tokens:
            if token.agent not in agents:
                raise ValueError(f"tokens: agent {token.agent!r} is not among `agents`")
        issuers = {issuer.id for issuer in self.issuers}
        for revoked in self.revoked:
            if revoked.issuer not in issuers:
                raise ValueError(f"revoked: issuer {revoked.issuer!r} is not among `issuers`")
        owners: dict[str, str] = {}
        for agent in self.agents:
            for subject in (agent.id, *agent.actor_subjects):
                if owners.setdefault(subject, agent.id) != agent.id:
                    raise ValueError(
                        f"agents: actor {subject!r} means both {owners[subject]!r} and {agent.id!r}"
                    )


def _unique(what: str, values: list[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{what} stands twice: {repeated[0]!r}")
