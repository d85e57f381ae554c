"""The daemon's configuration file: typed, with unknown fields refused.

Owns: the types, their defaults and the rules between fields; ``docs/configuration.md`` is
generated from here. Refuses: secrets (only paths of files that hold them) and anything that
policy decides. A file that breaks a rule raises ``ConfigInvalid`` with the path of the field.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway import limits
from gateway.call import Protocol, Route, Upstream
from gateway.errors import UNREADABLE, ConfigInvalid
from gateway.headers import REQUEST_HEADERS_OF, RESPONSE_HEADERS_OF
from gateway.identity_config import IdentityConfig
from gateway.vocabulary import NAME_PATTERN, Topology
from spool.config import SpoolConfig, check_config

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(gt=0)]

CALL_PORT: Final = 4141
PROBE_PORT: Final = 4142
_PROVIDERS: Final = frozenset({"openai", "anthropic", "gemini", "bedrock"})


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: a misspelt setting is an error, never a default."""


class UnixListener(Section, frozen=True, kw_only=True):
    """One Unix socket. Who connects is known by its uid; the socket may be bound to one agent."""

    path: Annotated[str, Meta(description="Socket path; its directory is created with 0750.")]
    name: Annotated[Name, Meta(description="Name in metrics and counters.")] = "unix"
    agent: Annotated[
        str | None, Meta(description="The agent that every caller of this socket is.")
    ] = None
    uids: Annotated[
        tuple[int, ...], Meta(description="Uids that may connect; empty: any but 0.")
    ] = ()
    group: Annotated[int | None, Meta(description="Group id that owns the socket.")] = None


class UidAgent(Section, frozen=True, kw_only=True):
    """Which agent a uid is, on loopback TCP and on Unix sockets without an ``agent``."""

    uid: Annotated[int, Meta(ge=0)]
    agent: str


class Listen(Section, frozen=True, kw_only=True):
    """Where the daemon listens."""

    unix: tuple[UnixListener, ...] = ()
    tcp: Annotated[bool, Meta(description="Listen on loopback TCP too.")] = True
    tcp_port: Annotated[
        Port, Meta(description="Loopback port, on 127.0.0.1 and ::1; 0 picks one.")
    ] = CALL_PORT
    tcp_hosts: Annotated[
        tuple[str, ...], Meta(description="Host names that a request on TCP may carry.")
    ] = ("localhost", "127.0.0.1", "[::1]")
    agents: Annotated[tuple[UidAgent, ...], Meta(description="Agents by uid.")] = ()
    allow_uid_0: Annotated[
        bool, Meta(description="Take calls from uid 0. Root can read this daemon's memory.")
    ] = False
    admin_socket: Annotated[str, Meta(description="Operators' socket, 0600.")] = (
        "/run/gatepost/admin/admin.sock"
    )
    probe_host: Annotated[str, Meta(description="Address of /livez, /readyz, /metrics.")] = (
        "0.0.0.0"  # noqa: S104 - the kubelet probes by pod address; nothing else is served here
    )
    probe: Annotated[bool, Meta(description="Serve probes and metrics.")] = True
    probe_port: Annotated[Port, Meta(description="0 picks one.")] = PROBE_PORT


class Central(Section, frozen=True, kw_only=True):
    """The central services. Where they run apart, ``store_url`` and ``issuer_url`` differ."""

    url: Annotated[str, Meta(description="http(s)://host:port or unix:/path.")]
    store_url: str | None = None
    issuer_url: str | None = None
    ca_file: Annotated[
        str | None, Meta(description="PEM file that pins the services' certificate authority.")
    ] = None
    audience: str = "gatepost-central"


class Trust(Section, frozen=True, kw_only=True):
    """The one pinned thing: the SHA-256 of root 1's payload."""

    root_sha256: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")]


class Enrolment(Section, frozen=True, kw_only=True):
    """How this daemon proves what it is to the issuer."""

    host_key_file: Annotated[
        str | None,
        Meta(description="Host key, 0600; created on first use of a one-time token."),
    ] = None
    one_time_token_file: Annotated[
        str | None, Meta(description="Registers the host key once; may be deleted afterwards.")
    ] = None
    worker: Annotated[int, Meta(ge=0)] = 0
    wait_ms: Annotated[
        int, Meta(ge=0, description="How long a start waits for certificate and policy.")
    ] = limits.ENROL_WAIT_MS


class PolicySettings(Section, frozen=True, kw_only=True):
    """Where policy comes from and how often it is asked for."""

    scope: Annotated[str, Meta(description="Exact scope, e.g. acme/prod/eu.")]
    directory: str = "/var/lib/gatepost/policy"
    refresh_seconds_min: Annotated[float, Meta(ge=0.05)] = limits.REFRESH_SECONDS_MIN
    refresh_seconds_max: Annotated[float, Meta(ge=0.05)] = limits.REFRESH_SECONDS_MAX


class CredentialSettings(Section, frozen=True, kw_only=True):
    """A company credential, in a file. Re-read when the file changes."""

    id: Name
    file: str
    style: Literal["bearer", "x-api-key", "api-key", "x-goog-api-key"] = "bearer"


class UpstreamSettings(Section, frozen=True, kw_only=True):
    """One endpoint in one region."""

    name: Name
    url: Annotated[str, Meta(description="http(s)://host[:port][/base path]")]
    region: Name
    credential: Name | None = None


class RouteSettings(Section, frozen=True, kw_only=True):
    """A path prefix, the protocol spoken there, and the upstreams it may use, in order."""

    name: Name
    prefix: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)+$")]
    protocol: Protocol
    upstreams: Annotated[tuple[Name, ...], Meta(min_length=1)]
    server: Annotated[
        Name | None, Meta(description="Name of the tool server (mcp) or tool (http).")
    ] = None
    request_headers: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()
    body_bytes_max: Annotated[int, Meta(gt=0)] = limits.BODY_BYTES_MAX
    idempotent: Annotated[
        bool, Meta(description="A failed call may be sent again to the next upstream.")
    ] = False
    opaque_upload: Annotated[
        bool, Meta(description="Stream bodies unread; decided on the head, labelled opaque.")
    ] = False
    first_byte_seconds_max: Seconds = limits.UPSTREAM_FIRST_BYTE_SECONDS_MAX
    stream_idle_seconds_max: Seconds = limits.STREAM_IDLE_SECONDS_MAX
    call_seconds_max: Seconds = limits.CALL_SECONDS_MAX


class UpstreamAccess(Section, frozen=True, kw_only=True):
    """Which upstream hosts on private or loopback addresses are meant to be reached."""

    allowed_private_hosts: tuple[str, ...] = ()
    ca_file: Annotated[
        str | None,
        Meta(description="PEM file that replaces the system's certificate authorities."),
    ] = None


class Classification(Section, frozen=True, kw_only=True):
    """The classifier's rule pack; null: the pack of this release."""

    pack_file: str | None = None
    cache_directory: Annotated[
        str | None, Meta(description="Private directory for the compiled pack.")
    ] = None


class SidecarConfig(Section, frozen=True, kw_only=True):
    """The whole file."""

    tenant: Name
    region: Name
    topology: Topology = "sidecar"
    grace_seconds: Annotated[
        float,
        Meta(gt=0, description="From SIGTERM to exit; calls and shipping share it."),
    ] = 25.0
    overhead_header: Annotated[
        bool, Meta(description="Send X-Gatepost-Overhead-Us with each answer.")
    ] = False
    listen: Listen = Listen()
    central: Central
    trust: Trust
    enrolment: Enrolment = Enrolment()
    spool: SpoolConfig = SpoolConfig()
    policy: PolicySettings
    identity: IdentityConfig = IdentityConfig()
    classification: Classification = Classification()
    upstream_access: UpstreamAccess = UpstreamAccess()
    credentials: tuple[CredentialSettings, ...] = ()
    upstreams: tuple[UpstreamSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()

    def __post_init__(self) -> None:
        _unique("credentials: `id`", [entry.id for entry in self.credentials])
        _unique("upstreams: `name`", [entry.name for entry in self.upstreams])
        _unique("routes: `name`", [entry.name for entry in self.routes])
        _unique("routes: `prefix`", [entry.prefix for entry in self.routes])
        names = [entry.name for entry in self.listen.unix]
        _unique("listen.unix: `name`", [*names, "tcp"])
        if len(names) + 1 > limits.LISTENERS_MAX:
            raise ValueError(f"at most {limits.LISTENERS_MAX - 1} `listen.unix` entries")
        if not self.listen.tcp and not names:
            raise ValueError("`listen`: neither `unix` nor `tcp`: no agent could call")
        if self.policy.refresh_seconds_min > self.policy.refresh_seconds_max:
            raise ValueError("`policy`: refresh_seconds_min is above refresh_seconds_max")
        if self.enrolment.one_time_token_file and not self.enrolment.host_key_file:
            raise ValueError("`enrolment`: one_time_token_file needs a host_key_file to register")
        self._check_references()

    def _check_references(self) -> None:
        credentials = {entry.id for entry in self.credentials}
        for upstream in self.upstreams:
            if upstream.credential is not None and upstream.credential not in credentials:
                raise ValueError(
                    f"upstream {upstream.name!r}: credential {upstream.credential!r} is not "
                    "among `credentials`"
                )
        upstreams = {entry.name for entry in self.upstreams}
        for route in self.routes:
            for name in route.upstreams:
                if name not in upstreams:
                    raise ValueError(
                        f"route {route.name!r}: upstream {name!r} is not among `upstreams`"
                    )
            if route.protocol in ("mcp", "http") and route.server is None:
                raise ValueError(f"route {route.name!r}: {route.protocol} routes need a `server`")
        agents = {agent.id for agent in self.identity.agents}
        bound = [entry.agent for entry in self.listen.unix if entry.agent is not None]
        for agent in [*bound, *(entry.agent for entry in self.listen.agents)]:
            if agent not in agents:
                raise ValueError(f"listen: agent {agent!r} is not among `identity.agents`")


def parse(text: str, source: str = "configuration") -> SidecarConfig:
    """The configuration in TOML ``text``. Raises ConfigInvalid naming ``source`` and field."""
    try:
        config = msgspec.toml.decode(text, type=SidecarConfig)
    except UNREADABLE as error:
        raise ConfigInvalid(f"{source}: {error}") from error
    built_routes(config, source)
    try:
        check_config(config.spool)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{source}: {error}") from error
    return config


def built_routes(config: SidecarConfig, source: str = "configuration") -> tuple[Route, ...]:
    """The routes with their upstreams. Raises ConfigInvalid for an unusable upstream URL."""
    upstreams = {entry.name: _upstream(entry, source) for entry in config.upstreams}
    return tuple(
        Route(
            name=entry.name,
            prefix=entry.prefix,
            protocol=entry.protocol,
            provider=entry.protocol if entry.protocol in _PROVIDERS else None,
            server=entry.server,
            upstreams=tuple(upstreams[name] for name in entry.upstreams),
            request_headers=REQUEST_HEADERS_OF[entry.protocol]
            | frozenset(name.lower() for name in entry.request_headers),
            response_headers=RESPONSE_HEADERS_OF[entry.protocol]
            | frozenset(name.lower() for name in entry.response_headers),
            body_bytes_max=entry.body_bytes_max,
            idempotent=entry.idempotent,
            opaque_upload=entry.opaque_upload,
            first_byte_seconds_max=entry.first_byte_seconds_max,
            stream_idle_seconds_max=entry.stream_idle_seconds_max,
            call_seconds_max=entry.call_seconds_max,
        )
        for entry in config.routes
    )


def _upstream(entry: UpstreamSettings, source: str) -> Upstream:
    where = f"{source}: upstream {entry.name!r}: url {entry.url!r}"
    try:
        url = urlsplit(entry.url)
        port = url.port
    except ValueError as error:
        raise ConfigInvalid(f"{where}: {error}") from error
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigInvalid(f"{where} is not http(s)://host[:port][/path]")
    if url.username or url.password or url.query or url.fragment:
        raise ConfigInvalid(f"{where} must have neither user nor query; use `credential`")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*/?", url.path):
        raise ConfigInvalid(f"{where}: the base path has characters that need encoding")
    tls = url.scheme == "https"
    return Upstream(
        name=entry.name,
        host=url.hostname,
        port=port or (443 if tls else 80),
        tls=tls,
        base_path=url.path,
        region=entry.region,
        credential_id=entry.credential,
    )


def _unique(what: str, values: list[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{what} stands twice: {repeated[0]!r}")
