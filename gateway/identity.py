"""For whom and by whom a call is made: the peer and the verified token become a Principal.

The agent comes from the connection alone (its socket, its uid, or a local token where the kernel
cannot tell the uid). A token can name the person and narrow the rights; ``act.sub`` must be the
agent that the connection showed, which is what stops a token from being used in another pod.

Owns: the rules of trust, the claims, the cache of verified tokens. Refuses: clocks (the caller
passes the time), reading files, the rate of failures (``rate.py``, used by the caller), and
whether a principal may do anything (``decide.py``).

Sources: RFC 7519 section 4.1, RFC 8725, RFC 8693 section 4.1 (``act``), RFC 9068 (``at+jwt``).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from gateway import claims as claim
from gateway import limits
from gateway.call import Absence, Head, Peer, Principal
from gateway.claims import Verified
from gateway.errors import ConfigInvalid, IdentityRejected
from gateway.identity_config import AgentConfig, IdentityConfig, IssuerConfig, RevokedToken
from gateway.presented import Product, claimed_product, read_presented
from gateway.token import Keys, Token, read_keys, read_token
from gateway.vocabulary import AbsenceReason, Assurance, AttestedBy

_MICROSECONDS: Final = 1_000_000
_CACHE_MICROSECONDS: Final = limits.TOKEN_CACHE_SECONDS_MAX * _MICROSECONDS


class TokenRejected(IdentityRejected):
    """An identity refusal with what is known all the same, so that it can be recorded.

    ``principal``: the agent if the connection shows one; the person is null, with the reason
    ``token_rejected`` (a token was offered) or ``no_delegation_token``.
    """

    def __init__(self, code: str, detail: str, principal: Principal) -> None:
        super().__init__(code, detail)
        self.principal = principal


class _Agent(NamedTuple):
    id: str
    attested_by: AttestedBy


class _CacheKey(NamedTuple):
    """The whole token's digest: a key made of a part of it lets one token pass for another."""

    token_sha256: bytes
    agent: _Agent
    product: Product


class _CacheEntry(NamedTuple):
    principal: Principal
    verified: Verified
    checked_us: int


class Identifier:
    """Makes Principals under one configuration and one state of keys and revocations.

    A change of either makes a new Identifier, so no verification outlives what it rested on:
    its trust epoch is the object itself. Use from one thread (the cache is not locked).
    """

    def __init__(self, config: IdentityConfig, keys: Mapping[str, bytes]) -> None:
        """``keys``: issuer id → bytes of its JWK set. An issuer without an entry answers
        ``identity_keys_unavailable``. Raises ConfigInvalid for a set that cannot be used.
        """
        known = {issuer.id: issuer for issuer in config.issuers}
        for issuer_id in keys:
            if issuer_id not in known:
                raise ConfigInvalid(f"identity: keys for issuer {issuer_id!r}, not configured")
        self._config = config
        self._jwks = dict(keys)
        self._issuers = {issuer.issuer: issuer for issuer in config.issuers}
        self._keys: dict[str, Keys] = {
            issuer_id: read_keys(jwks, known[issuer_id].algorithms, known[issuer_id].jwks_file)
            for issuer_id, jwks in keys.items()
        }
        self._agents = {agent.id: agent for agent in config.agents}
        self._local_tokens = {bytes.fromhex(t.sha256): t.agent for t in config.tokens}
        self._revoked = frozenset(
            (revoked.issuer, revoked.token_id, revoked.subject) for revoked in config.revoked
        )
        self._skew_us = config.clock_skew_seconds * _MICROSECONDS
        self._cache: OrderedDict[_CacheKey, _CacheEntry] = OrderedDict()

    def with_keys(self, keys: Mapping[str, bytes]) -> Identifier:
        """The same with other keys and an empty cache. An issuer not in ``keys`` keeps its own.

        Raises ConfigInvalid, and then this Identifier stays the one to use.
        """
        return Identifier(self._config, {**self._jwks, **keys})

    def with_revoked(self, revoked: Sequence[RevokedToken]) -> Identifier:
        """The same with another list of revocations and an empty cache."""
        config = msgspec.structs.replace(self._config, revoked=tuple(revoked))
        return Identifier(config, self._jwks)

    def identify(self, peer: Peer, head: Head, now_us: int) -> Principal:
        """The principal of a call that came from ``peer`` at ``now_us`` (UTC, microseconds).

        Raises TokenRejected with one of the identity codes of ``errors.CODES``.
        """
        agent = None
        if peer.agent is not None and peer.attested_by is not None:
            agent = _Agent(peer.agent, peer.attested_by)
        product = claimed_product(head)
        person_reason: AbsenceReason = "token_rejected"
        try:
            presented = read_presented(head)
            if presented.delegation is None:
                person_reason = "no_delegation_token"
            agent = self._bind(agent, peer, presented.local)
            if presented.delegation is None:
                return _with_product(_workload(agent, person_reason), product)
            return self._verified(presented.delegation, agent, product, now_us)
        except IdentityRejected as error:
            partial = _with_product(_workload(agent, person_reason), product)
            raise TokenRejected(error.code, error.detail, partial) from None

    def _bind(self, agent: _Agent | None, peer: Peer, local: str | None) -> _Agent:
        """The agent by the connection, else by a local token on loopback without a uid."""
        by_token = None
        if local is not None:
            by_token = self._local_tokens.get(hashlib.sha256(local.encode()).digest())
        if agent is not None:
            if by_token is not None and by_token != agent.id:
                raise IdentityRejected(
                    "identity_ambiguous", "the local token is bound to another agent"
                )
            return agent
        if peer.kind != "tcp" or peer.uid is not None:
            raise IdentityRejected(
                "peer_not_allowed", f"no agent is bound to this caller on {peer.listener}"
            )
        if local is None:
            raise IdentityRejected(
                "token_missing", f"listener {peer.listener} needs a local token (gpl_…)"
            )
        if by_token is None:
            raise IdentityRejected("token_key_unknown", "the local token is not configured")
        return _Agent(by_token, "local_token")

    def _verified(self, text: str, agent: _Agent, product: Product, now_us: int) -> Principal:
        key = _CacheKey(hashlib.sha256(text.encode()).digest(), agent, product)
        entry = self._cache.get(key)
        if entry is not None and 0 <= now_us - entry.checked_us < _CACHE_MICROSECONDS:
            entry.verified.check_time(now_us, self._skew_us)
            self._cache.move_to_end(key)
            return entry.principal
        principal, verified = self._verify(text, agent, now_us)
        principal = _with_product(principal, product)
        self._cache[key] = _CacheEntry(principal, verified, now_us)
        self._cache.move_to_end(key)
        if len(self._cache) > limits.TOKEN_CACHE_ENTRIES_MAX:
            self._cache.popitem(last=False)
        return principal

    def _verify(self, text: str, agent: _Agent, now_us: int) -> tuple[Principal, Verified]:
        token = read_token(text)
        issuer = self._issuer_of(token)
        if token.algorithm not in issuer.algorithms:
            raise IdentityRejected(
                "token_alg_not_allowed", f"issuer {issuer.id} does not allow this algorithm"
            )
        keys = self._keys.get(issuer.id)
        if keys is None:
            raise IdentityRejected(
                "identity_keys_unavailable", f"no keys are loaded for issuer {issuer.id}"
            )
        keys.verify(token)
        claim.check_typ(token, issuer)
        verified = claim.read_claims(token.claims, issuer, text)
        claim.check_audience(token.claims, self._config.audience)
        verified.check_time(now_us, self._skew_us)
        verified.check_lifetime(issuer.max_lifetime_seconds)
        self._check_revoked(issuer, verified)
        settings = self._agents.get(agent.id) or AgentConfig(id=agent.id)
        _check_actor(issuer, verified, settings)
        return _principal(issuer, verified, agent, settings), verified

    def _issuer_of(self, token: Token) -> IssuerConfig:
        """The issuer that the token names, unverified: it chooses keys, it grants nothing."""
        named = token.claims.get("iss")
        if not isinstance(named, str):
            raise IdentityRejected("token_malformed", "iss is missing or not a string")
        issuer = self._issuers.get(named)
        if issuer is None:
            raise IdentityRejected("token_issuer_unknown", "iss is not a configured issuer")
        return issuer

    def _check_revoked(self, issuer: IssuerConfig, verified: Verified) -> None:
        by_token = (issuer.id, verified.token_id, None)
        by_subject = (issuer.id, None, verified.subject)
        if by_token in self._revoked or by_subject in self._revoked:
            raise IdentityRejected("token_revoked", f"revoked for issuer {issuer.id}")


def _check_actor(issuer: IssuerConfig, verified: Verified, agent: AgentConfig) -> None:
    if not verified.actors:
        if issuer.kind == "delegation":
            raise IdentityRejected("actor_mismatch", "a delegation token must name act.sub")
        return
    if verified.actors[0] != agent.id and verified.actors[0] not in agent.actor_subjects:
        raise IdentityRejected("actor_mismatch", "act.sub is not the agent of this connection")


def _principal(
    issuer: IssuerConfig, verified: Verified, agent: _Agent, settings: AgentConfig
) -> Principal:
    is_person = issuer.subject == "person"
    assurance: Assurance = "workload"
    if is_person:
        assurance = "delegated" if issuer.kind == "delegation" else "user_token"
    absent: tuple[Absence, ...] = (Absence("agent.session", "not_stated"),)
    if not is_person:
        absent = (
            Absence("person.id", "not_applicable"),
            Absence("person.iss", "not_applicable"),
            *absent,
        )
    return Principal(
        person_id=verified.subject if is_person else None,
        person_iss=issuer.issuer if is_person else None,
        token_id=verified.token_id,
        assurance=assurance,
        agent_id=agent.id,
        attested_by=agent.attested_by,
        agent_name=None,
        agent_version=None,
        agent_session=None,
        roles=_narrow(verified.roles, settings.role_ceiling),
        scopes=_narrow(verified.scopes, settings.scope_ceiling),
        delegation=verified.actors,
        absent=absent,
    )


def _workload(agent: _Agent | None, person_reason: AbsenceReason) -> Principal:
    """A call for nobody that is known: the agent alone, or not even that."""
    absent = [Absence(path, person_reason) for path in _PERSON_PATHS]
    if agent is None:
        absent += [Absence("agent.id", "not_bound"), Absence("agent.attested_by", "not_bound")]
    absent.append(Absence("agent.session", "not_stated"))
    return Principal(
        person_id=None,
        person_iss=None,
        token_id=None,
        assurance="workload" if agent else "none",
        agent_id=agent.id if agent else None,
        attested_by=agent.attested_by if agent else None,
        agent_name=None,
        agent_version=None,
        agent_session=None,
        roles=(),
        scopes=(),
        delegation=(),
        absent=tuple(absent),
    )


_PERSON_PATHS: Final = ("person.id", "person.iss", "person.token_id")


def _with_product(principal: Principal, product: Product) -> Principal:
    name, version = product
    absent = principal.absent
    if name is None:
        absent = (*absent, _NO_NAME)
    if version is None:
        absent = (*absent, _NO_VERSION)
    return _replace(principal, agent_name=name, agent_version=version, absent=absent)


_NO_NAME: Final = Absence("agent.name", "not_stated")
_NO_VERSION: Final = Absence("agent.version", "not_stated")
_replace: Final[Callable[..., Principal]] = msgspec.structs.replace


def _narrow(given: frozenset[str], ceiling: tuple[str, ...] | None) -> tuple[str, ...]:
    """Rights of a token, never more than the agent's ceiling."""
    return tuple(sorted(given if ceiling is None else given.intersection(ceiling)))
