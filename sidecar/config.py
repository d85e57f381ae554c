"""The daemon's configuration file: typed, with unknown fields refused.

Owns: the types, their defaults and the rules between fields; ``docs/configuration.md`` is
generated from here. Refuses: secrets (only paths of files that hold them), anything that policy
decides, and looking at the machine (``gatepost check-config`` does). A file that breaks a rule
raises ``ConfigInvalid`` with the path of the field.

A rule inside one section stands with the section, so that msgspec names the path; rules between
sections are the whole file's and name it themselves.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gateway import limits
from gateway.errors import UNREADABLE, ConfigInvalid
from gateway.identity_config import IdentityConfig
from gateway.io.service_address import parse_service_url, split_directory_url
from gateway.vocabulary import Topology
from sidecar.fields import (
    FilePath,
    Id,
    ListenerName,
    Name,
    Port,
    Section,
    check_socket_path,
    unique,
)
from sidecar.route_config import CredentialSettings as CredentialSettings
from sidecar.route_config import RouteSettings as RouteSettings
from sidecar.route_config import UpstreamAccess as UpstreamAccess
from sidecar.route_config import UpstreamSettings as UpstreamSettings
from spool.config import SpoolConfig, check_config

CALL_PORT: Final = 4141
PROBE_PORT: Final = 4142
OWN_LISTENERS: Final = ("tcp", "admin", "probe")
"""Names under which the daemon's own listeners count what they turn away."""

_DAY_SECONDS: Final = 86_400
_WORKER_MAX: Final = 1_023


class UnixListener(Section, frozen=True, kw_only=True):
    """One Unix socket. Who connects is known by its uid; the socket may be bound to one agent."""

    path: Annotated[FilePath, Meta(description="Socket path; its directory is created with 0750.")]
    name: Annotated[ListenerName, Meta(description="Name in metrics and counters.")] = "unix"
    agent: Annotated[
        str | None, Meta(description="The agent that every caller of this socket is.")
    ] = None
    uids: Annotated[
        tuple[Id, ...], Meta(description="Uids that may connect; empty: any but 0.")
    ] = ()
    group: Annotated[Id | None, Meta(description="Group id that owns the socket.")] = None

    def __post_init__(self) -> None:
        check_socket_path(self.path)


class UidAgent(Section, frozen=True, kw_only=True):
    """Which agent a uid is, on loopback TCP and on Unix sockets without an ``agent``."""

    uid: Annotated[Id, Meta(description="As the kernel knows the caller.")]
    agent: Annotated[str, Meta(description="An `id` of `[[identity.agents]]`.")]


class Listen(Section, frozen=True, kw_only=True):
    """Where the daemon listens."""

    unix: Annotated[
        tuple[UnixListener, ...],
        Meta(
            description="Unix sockets for agents.",
            max_length=limits.LISTENERS_MAX - len(OWN_LISTENERS),
        ),
    ] = ()
    tcp: Annotated[bool, Meta(description="Listen on loopback TCP too.")] = True
    tcp_port: Annotated[
        Port, Meta(description="Loopback port, on 127.0.0.1 and ::1; 0 picks one.")
    ] = CALL_PORT
    tcp_hosts: Annotated[
        tuple[str, ...],
        Meta(description="Host names that a request on TCP may carry.", min_length=1),
    ] = ("localhost", "127.0.0.1", "[::1]")
    agents: Annotated[tuple[UidAgent, ...], Meta(description="Agents by uid.")] = ()
    allow_uid_0: Annotated[
        bool, Meta(description="Take calls from uid 0. Root can read this daemon's memory.")
    ] = False
    admin_socket: Annotated[FilePath, Meta(description="Operators' socket, 0600.")] = (
        "/run/gatepost/admin/admin.sock"
    )
    probe_host: Annotated[str, Meta(description="Address of /livez, /readyz, /metrics.")] = (
        "0.0.0.0"  # noqa: S104 - the kubelet probes by pod address; nothing else is served here
    )
    probe: Annotated[bool, Meta(description="Serve probes and metrics.")] = True
    probe_port: Annotated[Port, Meta(description="0 picks one.")] = PROBE_PORT

    def __post_init__(self) -> None:
        check_socket_path(self.admin_socket)
        unique("unix: name", [*OWN_LISTENERS, *(entry.name for entry in self.unix)])
        unique("unix: path", [self.admin_socket, *(entry.path for entry in self.unix)])
        unique("agents: uid", [entry.uid for entry in self.agents])
        if not self.tcp and not self.unix:
            raise ValueError("neither `unix` nor `tcp`: no agent could call")
        if self.tcp and self.probe and self.tcp_port == self.probe_port != 0:
            raise ValueError(f"`tcp_port` and `probe_port` are both {self.tcp_port}")


class Central(Section, frozen=True, kw_only=True):
    """The central services. Where they run apart, ``store_url`` and ``issuer_url`` differ."""

    url: Annotated[str, Meta(description="http(s)://host:port or unix:/path.")]
    store_url: Annotated[
        str | None, Meta(description="Of the record store, where it runs apart.")
    ] = None
    issuer_url: Annotated[str | None, Meta(description="Of the issuer, where it runs apart.")] = (
        None
    )
    ca_file: Annotated[
        FilePath | None,
        Meta(description="PEM file that pins the services' certificate authority."),
    ] = None
    audience: Annotated[
        str, Meta(description="Name of the services in signed calls.", min_length=1)
    ] = "gatepost-central"

    def __post_init__(self) -> None:
        for name in ("url", "store_url", "issuer_url"):
            value = getattr(self, name)
            try:
                if value is not None:
                    parse_service_url(value)
            except ConfigInvalid as error:
                raise ValueError(f"`{name}`: {error}") from error


class Trust(Section, frozen=True, kw_only=True):
    """The one pinned thing: the SHA-256 of root 1's payload."""

    root_sha256: Annotated[
        str,
        Meta(pattern=r"^sha256:[0-9a-f]{64}\Z", description="Ask the owner of the root for it."),
    ]
    require_offline_root: Annotated[
        bool,
        Meta(description="Accept no policy under a root whose keys one operator holds."),
    ] = False


class Enrolment(Section, frozen=True, kw_only=True):
    """How this daemon proves what it is to the issuer."""

    host_key_file: Annotated[
        FilePath | None,
        Meta(description="Host key, 0600; drawn at the first start if the file is missing."),
    ] = None
    service_account_token_file: Annotated[
        FilePath | None,
        Meta(description="Projected Kubernetes token, audience gatepost-enrol; read each time."),
    ] = None
    spiffe_jwt_file: Annotated[
        FilePath | None,
        Meta(description="JWT-SVID, audience gatepost-enrol; read each time."),
    ] = None
    one_time_token_file: Annotated[
        FilePath | None, Meta(description="Registers the host key once; delete it afterwards.")
    ] = None
    worker: Annotated[
        int,
        Meta(ge=0, le=_WORKER_MAX, description="Tells daemons apart that share an identity."),
    ] = 0
    wait_ms: Annotated[
        int,
        Meta(ge=0, le=60_000, description="How long a start waits for certificate and policy."),
    ] = limits.ENROL_WAIT_MS

    def __post_init__(self) -> None:
        ways = ("host_key_file", "service_account_token_file", "spiffe_jwt_file")
        named = [name for name in ways if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"name one of `{'`, `'.join(named)}`: a start is attested in one way")
        if self.one_time_token_file and not self.host_key_file:
            raise ValueError("`one_time_token_file` needs a `host_key_file` to register")


class PolicySettings(Section, frozen=True, kw_only=True):
    """Where policy comes from and how often it is asked for. Without `files_url` and
    `mounted_directory` it is the policy service of `[central]`."""

    scope: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*\Z",
            max_length=limits.NAME_BYTES_MAX,
            description="Exact scope, e.g. acme/prod/eu.",
        ),
    ]
    directory: Annotated[
        FilePath, Meta(description="The last good policy is kept here; one daemon each.")
    ] = "/var/lib/gatepost/policy"
    files_url: Annotated[
        str | None,
        Meta(
            description="http(s) URL of the scope's directory on a web server or in a bucket, with "
            "`head`, `root/<n>` and `blobs/sha256/<hex>` below it."
        ),
    ] = None
    mounted_directory: Annotated[
        FilePath | None,
        Meta(
            description="A mounted directory, such as a ConfigMap, with `head.json`, "
            "`root-<n>.json` and `sha256-<hex>.json`."
        ),
    ] = None
    placement: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.PLACEMENT_CHARACTERS_MAX)] | None,
        Meta(
            description="This daemon's name among those of the scope, which decides whether it "
            "takes a canary; it must outlive restarts. Without it: host name and `directory`.",
        ),
    ] = None
    refresh_seconds_min: Annotated[
        float, Meta(ge=0.05, le=_DAY_SECONDS, description="Between two questions, at least.")
    ] = limits.REFRESH_SECONDS_MIN
    refresh_seconds_max: Annotated[
        float, Meta(ge=0.05, le=_DAY_SECONDS, description="Between two questions, at most.")
    ] = limits.REFRESH_SECONDS_MAX
    report_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=_DAY_SECONDS,
            description="Between two reports to the policy service when nothing changed, at most; "
            "0 reports nothing.",
        ),
    ] = limits.POLICY_REPORT_SECONDS

    def __post_init__(self) -> None:
        if self.refresh_seconds_min > self.refresh_seconds_max:
            raise ValueError("`refresh_seconds_min` is above `refresh_seconds_max`")
        if self.files_url is not None and self.mounted_directory is not None:
            raise ValueError("name one of `files_url`, `mounted_directory`: policy has one source")
        if self.files_url is not None:
            try:
                split_directory_url(self.files_url)
            except ConfigInvalid as error:
                raise ValueError(f"`files_url`: {error}") from error


class Classification(Section, frozen=True, kw_only=True):
    """The classifier's rule pack."""

    pack_file: Annotated[
        FilePath | None, Meta(description="A rule pack; without it, the one of this release.")
    ] = None
    cache_directory: Annotated[
        FilePath | None, Meta(description="Private directory for the compiled pack.")
    ] = None


class Pseudonyms(Section, frozen=True, kw_only=True):
    """What the obligation `pseudonymise_user` needs; without a key such a call is refused."""

    key_file: Annotated[
        FilePath | None,
        Meta(description="Base64 of 32 bytes, 0600. Daemons with the same key agree."),
    ] = None


class SidecarConfig(Section, frozen=True, kw_only=True):
    """The whole file."""

    tenant: Annotated[Name, Meta(description="Whose records these are; the issuer refuses others.")]
    region: Annotated[Name, Meta(description="Where this daemon runs; as the issuer knows it.")]
    topology: Annotated[Topology, Meta(description="Where it stands; recorded.")] = "sidecar"
    grace_seconds: Annotated[
        float,
        Meta(gt=0, le=3_600, description="From SIGTERM to exit; calls and shipping share it."),
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
    pseudonyms: Pseudonyms = Pseudonyms()
    upstream_access: UpstreamAccess = UpstreamAccess()
    credentials: tuple[CredentialSettings, ...] = ()
    upstreams: tuple[UpstreamSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()

    def __post_init__(self) -> None:
        unique("credentials: id", [entry.id for entry in self.credentials])
        unique("upstreams: name", [entry.name for entry in self.upstreams])
        unique("routes: name", [entry.name for entry in self.routes])
        unique("routes: prefix", [entry.prefix for entry in self.routes])
        credentials = {entry.id for entry in self.credentials}
        for number, upstream in enumerate(self.upstreams):
            if upstream.credential is not None and upstream.credential not in credentials:
                raise ValueError(
                    f"upstream {upstream.name!r}: credential {upstream.credential!r} is not "
                    f"among `credentials` - at `$.upstreams[{number}].credential`"
                )
        self._check_routes()
        self._check_agents()

    def _check_routes(self) -> None:
        upstreams = {entry.name for entry in self.upstreams}
        for number, route in enumerate(self.routes):
            for name in route.upstreams:
                if name not in upstreams:
                    raise ValueError(
                        f"route {route.name!r}: upstream {name!r} is not among `upstreams` "
                        f"- at `$.routes[{number}].upstreams`"
                    )

    def _check_agents(self) -> None:
        known = {agent.id for agent in self.identity.agents}
        bound = [("unix", number, entry.agent) for number, entry in enumerate(self.listen.unix)]
        bound += [
            ("agents", number, entry.agent) for number, entry in enumerate(self.listen.agents)
        ]
        for section, number, agent in bound:
            if agent is not None and agent not in known:
                raise ValueError(
                    f"agent {agent!r} is not among `identity.agents` "
                    f"- at `$.listen.{section}[{number}].agent`"
                )


def parse(text: str, source: str = "configuration") -> SidecarConfig:
    """The configuration in TOML ``text``. Raises ConfigInvalid naming ``source`` and field."""
    try:
        config = msgspec.toml.decode(text, type=SidecarConfig)
        check_config(config.spool)
    except (*UNREADABLE, ConfigInvalid) as error:
        raise ConfigInvalid(f"{source}: {error}") from error
    return config


def read(path: str) -> SidecarConfig:
    """The configuration in the file ``path``. Raises OSError, and ConfigInvalid naming the file."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path}: not UTF-8 at byte {error.start}") from error
    return parse(text, path)
