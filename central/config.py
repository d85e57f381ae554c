"""The configuration of the central services: one TOML file for any of them or all together.

Owns: the typed shape, its defaults, and every check that needs no other file. Refuses: reading
keys and roots (``keys.py``), opening databases, and guessing: an unknown member is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal, TypeVar

import msgspec
import platformdirs

from central import config_file
from central.workload_config import Cluster, Platform, TrustDomain
from gateway import limits, signed_request, vocabulary
from gateway.errors import ConfigInvalid
from gateway.io.service_address import parse_service_url

_PlatformT = TypeVar("_PlatformT", Cluster, TrustDomain)

ServiceName = Literal["issuer", "policy", "records"]
PersonRole = Literal["auditor", "operator", "admin"]

SERVICES: Final[tuple[ServiceName, ...]] = ("issuer", "policy", "records")
OPERATOR_TENANT: Final = "_operator"
"""Whose acts concern the whole service; as a person's tenant it may act for every tenant."""

_PORT: Final = 4143
_PORTS_ALONE: Final[dict[ServiceName, int]] = {"records": 4144, "issuer": 4145}

_NAME: Final = re.compile(vocabulary.NAME_PATTERN)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NO_TOKEN: Final = "0" * 64
"""Stands in a configuration to start from, for each person who has no token yet."""
_SCOPE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(/[a-z0-9][a-z0-9._-]{0,62}){0,7}")


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown members are refused."""


class Tenant(_Section, frozen=True, kw_only=True):
    """``regions``: where this tenant's instances may be; ``scope``: of its policy, or null.

    ``public_log``: checkpoints and tiles, which hold hashes and times only, are given to anybody.
    """

    name: str
    regions: list[str]
    scope: str | None = None
    public_log: bool = False


class KeyFiles(_Section, frozen=True, kw_only=True):
    """Paths of 0600 files that hold a 32-byte seed or key in base64; only those needed."""

    issuer: str | None = None
    log: str | None = None
    policy_head: str | None = None
    digest_wrap: str | None = None


class PolicySettings(_Section, frozen=True, kw_only=True):
    """``head_lifetime_seconds`` is the outage that the fleet survives on its last good policy.

    ``widening_needs_approval``: whether a bundle that may allow a call more than the one in force
    waits until another person than its publisher approves it. ``silent_seconds``: from when on an
    instance that reports nothing counts as silent, three times the daemons' ``report_seconds``;
    ``forget_seconds``: from when on it is not listed any more. A canary is withdrawn when more
    daemons than ``canary_refusals_max`` refuse it, and more than ``canary_refusals_percent_max`` %
    of those that took or refused it.
    """

    head_lifetime_seconds: int = 4 * 3600
    resign_seconds: int = 60
    refresh_min_seconds: int = 30
    refresh_max_seconds: int = 60
    widening_needs_approval: bool = True
    silent_seconds: int = 900
    forget_seconds: int = 24 * 3600
    canary_refusals_max: Annotated[int, msgspec.Meta(ge=0)] = 2
    canary_refusals_percent_max: Annotated[int, msgspec.Meta(ge=0, le=100)] = 5


class IssuerSettings(_Section, frozen=True, kw_only=True):
    """``uncertified_seconds_max``: how far ``not_before`` may precede ``issued``. ``clusters`` and
    ``trust_domains``: platforms whose tokens attest starts."""

    certificate_seconds: int = limits.CERTIFICATE_SECONDS
    uncertified_seconds_max: int = limits.UNCERTIFIED_SECONDS_MAX
    clusters: Annotated[
        list[Cluster], msgspec.Meta(max_length=limits.ATTESTATION_AUTHORITIES_MAX)
    ] = []
    trust_domains: Annotated[
        list[TrustDomain], msgspec.Meta(max_length=limits.ATTESTATION_AUTHORITIES_MAX)
    ] = []


class Host(_Section, frozen=True, kw_only=True):
    """A host key that may attest starts. ``pub``: base64 of the 32-byte public key."""

    name: str
    tenant: str
    region: str
    pub: str


class OneTimeToken(_Section, frozen=True, kw_only=True):
    """Registers one host key, once. ``sha256``: hex digest of the token's text."""

    name: str
    tenant: str
    region: str
    sha256: str


class PersonToken(_Section, frozen=True, kw_only=True):
    """A person's bearer token. ``sha256``: hex digest; tokens are drawn, so no slow hash."""

    name: str
    tenant: str
    role: PersonRole
    sha256: str


class WitnessSettings(_Section, frozen=True, kw_only=True):
    """Who cosigns the checkpoints of the record store. ``policy``: path of a C2SP tlog-policy: a
    line per witness with its verifier key and submission URL, groups, and the quorum; null asks
    nobody. ``push_seconds``: from one round to the next. ``ca_file``: PEM bundle that replaces the
    system's authorities."""

    policy: str | None = None
    push_seconds: int = 10
    answer_seconds: int = 5
    ca_file: str | None = None


class CentralConfig(_Section, frozen=True, kw_only=True):
    """All of one process. ``roots_directory`` holds ``1.json`` … ``N.json`` (DSSE).

    ``root_fingerprint``: ``sha256:<hex>`` of root 1's payload; null trusts the directory, which
    is the operator's own. ``require_offline_root``: start only if the newest root says that its
    keys are held offline, not if one operator holds them all. ``log_host`` begins every log
    origin. ``operator_region``: where what concerns no tenant is recorded, under the tenant
    ``_operator``. ``issuer_url``: where a
    service gets certificates for its own chains if the issuer is another process, and the record
    store digests for searches: https, or http on this machine. ``issuer_ca_file``: the authorities
    of its https, in PEM, null for the system's. ``record_store_url``: where an issuer or policy
    service that runs apart from the record store sends what people did at it; null keeps that in
    its own database and nowhere else. ``record_store_ca_file``: as ``issuer_ca_file``. ``port``:
    null is 4143, 4144 for the record store alone and 4145 for the issuer alone; 0 picks a free one.
    """

    data_directory: str = msgspec.field(
        default_factory=lambda: platformdirs.user_data_dir("gatepost-central")
    )
    roots_directory: str
    root_fingerprint: str | None = None
    require_offline_root: bool = False
    tenants: list[Tenant]
    services: list[ServiceName] = msgspec.field(default_factory=lambda: list(SERVICES))
    host: str = "127.0.0.1"
    port: int | None = None
    audience: str = signed_request.AUDIENCE
    log_host: str = "localhost"
    operator_region: str = "central"
    issuer_url: str | None = None
    issuer_ca_file: str | None = None
    record_store_url: str | None = None
    record_store_ca_file: str | None = None
    keys: KeyFiles = msgspec.field(default_factory=KeyFiles)
    policy: PolicySettings = msgspec.field(default_factory=PolicySettings)
    issuer: IssuerSettings = msgspec.field(default_factory=IssuerSettings)
    witnesses: WitnessSettings = msgspec.field(default_factory=WitnessSettings)
    hosts: list[Host] = msgspec.field(default_factory=list)
    one_time_tokens: list[OneTimeToken] = msgspec.field(default_factory=list)
    people: list[PersonToken] = msgspec.field(default_factory=list)

    @property
    def listening_port(self) -> int:
        """Where this process listens; 0 for a port that the system picks."""
        alone = _PORTS_ALONE.get(self.services[0]) if len(self.services) == 1 else None
        return (alone or _PORT) if self.port is None else self.port

    @property
    def one_operator(self) -> bool:
        """Whether who runs this process can both certify keys and write the log of what they
        signed: then records are proof against everybody but that operator."""
        return {"issuer", "records"} <= set(self.services)

    def tenant_of_scope(self, scope: str) -> str | None:
        """The tenant whose policy ``scope`` is, or None."""
        return next((t.name for t in self.tenants if t.scope == scope), None)

    def has_place(self, tenant: str, region: str) -> bool:
        """Whether ``tenant`` is configured with ``region``."""
        return any(t.name == tenant and region in t.regions for t in self.tenants)

    def keeps(self, tenant: str, region: str) -> bool:
        """Whether there may be a log of ``tenant`` in ``region``: also that of the operator."""
        if tenant == OPERATOR_TENANT:
            return region == self.operator_region
        return self.has_place(tenant, region)

    def is_public(self, tenant: str, region: str) -> bool:
        """Whether anybody may fetch the log of ``tenant`` in ``region``."""
        return any(t.public_log and t.name == tenant and region in t.regions for t in self.tenants)

    def regions_of(self, tenant: str) -> list[str]:
        """The regions of ``tenant``; empty for one that is not configured."""
        if tenant == OPERATOR_TENANT:
            return [self.operator_region]
        return next((list(t.regions) for t in self.tenants if t.name == tenant), [])


def load(path: str, only: ServiceName | None = None) -> CentralConfig:
    """The configuration in ``path``. Relative paths in it start at its own directory.

    ``only``: the one service that this process is; ``services`` may then be left out.

    Raises ConfigInvalid naming file, member and remedy.
    """
    return parse(config_file.read(path), path, only)


def parse(data: bytes, path: str, only: ServiceName | None = None) -> CentralConfig:
    """The configuration in ``data``, which stands in ``path`` or shall. As ``load``."""
    config = config_file.decode(data, path, CentralConfig)
    if only is not None:
        if config.services not in ([only], list(SERVICES)):
            raise ConfigInvalid(f"{path}: services: this process is {only} alone; leave it out")
        config = msgspec.structs.replace(config, services=[only])
    config = _anchored(config, config_file.anchored_at(path))
    with config_file.named(path):
        check(config)
    return config


def check(config: CentralConfig) -> None:
    """Raise ConfigInvalid for values that cannot work together."""
    if not config.services:
        raise ConfigInvalid(f"services: name at least one of {', '.join(SERVICES)}")
    if not 0 <= config.listening_port <= 65_535:
        raise ConfigInvalid(f"port: {config.port} is not between 0 and 65535")
    _check_keys(config)
    _check_tenants(config)
    if config.issuer_url is not None:
        if "issuer" in config.services:
            raise ConfigInvalid("issuer_url: the issuer runs in this process; leave it out")
        if parse_service_url(config.issuer_url).readable_on_the_way:
            raise ConfigInvalid(
                f"issuer_url: {config.issuer_url!r} is plain HTTP to another machine: who listens "
                "on the way reads tokens of people and what they search for; use https"
            )
    _check_record_store(config)
    if _NAME.fullmatch(config.operator_region) is None:
        raise ConfigInvalid(f"operator_region does not match {vocabulary.NAME_PATTERN}")
    for host in config.hosts:
        _check_place(config, f"hosts {host.name!r}", host.tenant, host.region)
    for token in config.one_time_tokens:
        _check_place(config, f"one_time_tokens {token.name!r}", token.tenant, token.region)
        _check_digest(f"one_time_tokens {token.name!r}", token.sha256)
    _check_people(config)
    _check_workloads(config)
    _check_times(config)


def _check_people(config: CentralConfig) -> None:
    names: dict[str, str] = {}
    for person in config.people:
        _check_digest(f"people {person.name!r}", person.sha256)
        if not config.regions_of(person.tenant):
            raise ConfigInvalid(
                f"people {person.name!r}: tenant {person.tenant!r} is not in tenants"
            )
        if person.sha256 in names and person.sha256 != _NO_TOKEN:
            other = names[person.sha256]
            raise ConfigInvalid(
                f"people {person.name!r}: has the token of {other!r}, and a token is one person's: "
                "give each entry one of its own"
            )
        names[person.sha256] = person.name


def _check_record_store(config: CentralConfig) -> None:
    url = config.record_store_url
    if url is None:
        return
    if "records" in config.services:
        raise ConfigInvalid("record_store_url: the record store runs in this process; leave it out")
    if parse_service_url(url).readable_on_the_way:
        raise ConfigInvalid(
            f"record_store_url: {url!r} is plain HTTP to another machine: who listens on the way "
            "reads what people did; use https"
        )
    if config.issuer_url is None and "issuer" not in config.services:
        raise ConfigInvalid(
            "record_store_url: name issuer_url too: without a certificate the store takes nothing"
        )


def _check_keys(config: CentralConfig) -> None:
    if "issuer" in config.services:
        if not config.one_operator and config.keys.log is not None:
            raise ConfigInvalid(
                "keys.log: an issuer that runs apart from the record store must not hold its key; "
                "take it out of this file, and off this machine"
            )
        return
    for name in ("issuer", "digest_wrap"):
        if getattr(config.keys, name) is not None:
            raise ConfigInvalid(
                f"keys.{name}: no issuer runs in this process, and nobody else may hold its keys; "
                "take it out of this file, and off this machine"
            )


def _check_tenants(config: CentralConfig) -> None:
    if not config.tenants:
        raise ConfigInvalid("tenants: at least one is needed")
    names = [tenant.name for tenant in config.tenants]
    if len(set(names)) != len(names):
        raise ConfigInvalid("tenants: a name stands there twice")
    scopes = [tenant.scope for tenant in config.tenants if tenant.scope is not None]
    if len(set(scopes)) != len(scopes):
        raise ConfigInvalid("tenants: two tenants have the same scope")
    for tenant in config.tenants:
        if not tenant.regions:
            raise ConfigInvalid(f"tenants {tenant.name!r}: regions is empty")
        for word in (tenant.name, *tenant.regions):
            if _NAME.fullmatch(word) is None:
                raise ConfigInvalid(f"tenants: {word!r} does not match {vocabulary.NAME_PATTERN}")
        if tenant.scope is not None and _SCOPE.fullmatch(tenant.scope) is None:
            raise ConfigInvalid(f"tenants {tenant.name!r}: scope {tenant.scope!r} is not a path")


def _check_workloads(config: CentralConfig) -> None:
    issuer = config.issuer
    for what, named in (
        ("clusters: issuer", [one.issuer for one in issuer.clusters]),
        ("trust_domains: name", [one.name for one in issuer.trust_domains]),
    ):
        if len(set(named)) != len(named):
            raise ConfigInvalid(f"issuer.{what} stands there twice")
    platforms: list[Platform] = [*issuer.clusters, *issuer.trust_domains]
    for platform in platforms:
        for place in platform.workloads:
            for region in place.regions:
                _check_place(
                    config, f"issuer: workloads of {platform.name!r}", place.tenant, region
                )


def _check_place(config: CentralConfig, where: str, tenant: str, region: str) -> None:
    if not config.has_place(tenant, region):
        raise ConfigInvalid(f"{where}: tenant {tenant!r} in region {region!r} is not in tenants")


def _check_digest(where: str, digest: str) -> None:
    if _SHA256.fullmatch(digest) is None:
        raise ConfigInvalid(f"{where}: sha256 is 64 lower-case hex digits of the token's SHA-256")


def _check_times(config: CentralConfig) -> None:
    policy, issuer = config.policy, config.issuer
    if not 0 < policy.resign_seconds < policy.head_lifetime_seconds:
        raise ConfigInvalid("policy: resign_seconds must be below head_lifetime_seconds")
    if not 0 < policy.refresh_min_seconds <= policy.refresh_max_seconds:
        raise ConfigInvalid("policy: refresh_min_seconds must not be above refresh_max_seconds")
    if not 0 < policy.silent_seconds <= policy.forget_seconds:
        raise ConfigInvalid("policy: silent_seconds must not be above forget_seconds")
    if not 0 < config.witnesses.answer_seconds <= config.witnesses.push_seconds:
        raise ConfigInvalid("witnesses: answer_seconds must not be above push_seconds")
    if issuer.certificate_seconds < 60 or issuer.uncertified_seconds_max < 0:
        raise ConfigInvalid("issuer: certificate_seconds is at least 60, no time is negative")


def _anchored(config: CentralConfig, path: Callable[[str], str]) -> CentralConfig:
    def optional(text: str | None) -> str | None:
        return None if text is None else path(text)

    keys = {name: optional(value) for name, value in msgspec.structs.asdict(config.keys).items()}

    def anchored(platform: _PlatformT) -> _PlatformT:
        paths = {
            name: path(value)
            for name in ("jwks_file", "ca_file", "bearer_token_file")
            if (value := getattr(platform, name)) is not None
        }
        return msgspec.structs.replace(platform, **paths)

    return msgspec.structs.replace(
        config,
        issuer=msgspec.structs.replace(
            config.issuer,
            clusters=[anchored(one) for one in config.issuer.clusters],
            trust_domains=[anchored(one) for one in config.issuer.trust_domains],
        ),
        data_directory=path(config.data_directory),
        roots_directory=path(config.roots_directory),
        issuer_ca_file=optional(config.issuer_ca_file),
        record_store_ca_file=optional(config.record_store_ca_file),
        keys=KeyFiles(**keys),
        witnesses=msgspec.structs.replace(
            config.witnesses,
            policy=optional(config.witnesses.policy),
            ca_file=optional(config.witnesses.ca_file),
        ),
    )
