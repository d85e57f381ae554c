"""Which platforms attest starts, and which workload may be whose: parts of ``[issuer]``.

Owns: the typed shape of ``[[issuer.clusters]]`` and ``[[issuer.trust_domains]]`` and the rules
inside them. Refuses: reading keys (``issuer.platform_keys``) and tenants (``config.check`` holds
every place against them).

A member that breaks a rule raises ``ValueError``; while msgspec decodes, that becomes a
``ValidationError`` whose message names the path.
"""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway import limits
from gateway.errors import ConfigInvalid
from gateway.io.service_address import parse_service_url
from gateway.vocabulary import Topology

_TRUST_DOMAIN: Final = r"^[a-z0-9._-]+\Z"
_PATH_PREFIX: Final = r"^(/[A-Za-z0-9._-]+)*/?\Z"
_TARGET: Final = re.compile(r"/[\x21-\x7e]*")


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown members are refused."""


class ServiceAccountPlace(_Section, frozen=True, kw_only=True):
    """Where daemons of one service account may be."""

    namespace: Annotated[str, Meta(min_length=1)]
    service_account: Annotated[str, Meta(min_length=1)]
    tenant: str
    regions: Annotated[list[str], Meta(min_length=1)]
    topologies: Annotated[tuple[Topology, ...], Meta(min_length=1)] = ("sidecar",)


class SpiffePlace(_Section, frozen=True, kw_only=True):
    """Where daemons may be whose SPIFFE id is ``path_prefix`` or lies below it.

    The longest prefix that fits is the one that counts. ``exclusive``: each id is one daemon at a
    time (per worker), so a new instance supersedes the last; leave it false where replicas share
    an id.
    """

    path_prefix: Annotated[
        str, Meta(pattern=_PATH_PREFIX, description="Whole segments, e.g. /ns/prod/sa/agent.")
    ]
    tenant: str
    regions: Annotated[list[str], Meta(min_length=1)]
    topologies: Annotated[tuple[Topology, ...], Meta(min_length=1)] = ("sidecar",)
    exclusive: bool = False

    def covers(self, path: str) -> bool:
        """Whether the path of a SPIFFE id is this prefix or lies below it."""
        prefix = self.path_prefix.rstrip("/")
        return path == prefix or path.startswith(prefix + "/")


class Cluster(_Section, frozen=True, kw_only=True):
    """A Kubernetes cluster whose projected service-account tokens attest starts.

    Its keys come from ``jwks_file`` or from ``jwks_url`` (``https://host:port/openid/v1/jwks``);
    ``ca_file`` pins the authority of that server, ``bearer_token_file`` holds what it wants to see.
    """

    name: Annotated[str, Meta(min_length=1, description="For messages.")]
    issuer: Annotated[str, Meta(min_length=1, description="`iss` of its tokens, exactly.")]
    jwks_file: str | None = None
    jwks_url: str | None = None
    ca_file: str | None = None
    bearer_token_file: str | None = None
    workloads: Annotated[
        list[ServiceAccountPlace], Meta(min_length=1, max_length=limits.WORKLOADS_MAX)
    ]

    def __post_init__(self) -> None:
        _check_origin(self)
        if len(self.issuer.encode()) > limits.ATTESTATION_BYTES_MAX:
            raise ValueError(f"`issuer` is longer than {limits.ATTESTATION_BYTES_MAX} bytes")
        named = [(one.namespace, one.service_account) for one in self.workloads]
        if len(set(named)) != len(named):
            raise ValueError(f"cluster {self.name!r}: a service account stands there twice")

    def place_of(self, namespace: str, service_account: str) -> ServiceAccountPlace | None:
        """What is said of a service account, or None."""
        wanted = (namespace, service_account)
        fitting = (one for one in self.workloads if (one.namespace, one.service_account) == wanted)
        return next(fitting, None)


class TrustDomain(_Section, frozen=True, kw_only=True):
    """A SPIFFE trust domain whose JWT-SVIDs attest starts. Its bundle is a JWK set."""

    name: Annotated[str, Meta(pattern=_TRUST_DOMAIN, description="As in spiffe://<name>/…")]
    jwks_file: str | None = None
    jwks_url: str | None = None
    ca_file: str | None = None
    bearer_token_file: str | None = None
    workloads: Annotated[list[SpiffePlace], Meta(min_length=1, max_length=limits.WORKLOADS_MAX)]

    def __post_init__(self) -> None:
        _check_origin(self)
        prefixes = [one.path_prefix.rstrip("/") for one in self.workloads]
        if len(set(prefixes)) != len(prefixes):
            raise ValueError(f"trust domain {self.name!r}: a path_prefix stands there twice")

    def place_of(self, path: str) -> SpiffePlace | None:
        """What is said of a SPIFFE id's path, or None."""
        fitting = [one for one in self.workloads if one.covers(path)]
        return max(fitting, key=lambda one: len(one.path_prefix.rstrip("/")), default=None)


Platform = Cluster | TrustDomain


def jwks_address(url: str) -> tuple[str, str]:
    """(base URL, request target) of a ``jwks_url``. Raises ConfigInvalid unless it is https."""
    parts = urlsplit(url)
    target = parts.path or "/"
    if parts.query:
        target += "?" + parts.query
    base = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme != "https":
        raise ConfigInvalid(f"{url!r}: keys are fetched over https only")
    parse_service_url(base)
    if parts.fragment or _TARGET.fullmatch(target) is None:
        raise ConfigInvalid(f"{url!r} is not https://host:port/path")
    return base, target


def _check_origin(platform: Platform) -> None:
    if (platform.jwks_file is None) == (platform.jwks_url is None):
        raise ValueError("name either `jwks_file` or `jwks_url`")
    if platform.jwks_url is not None:
        try:
            jwks_address(platform.jwks_url)
        except (ConfigInvalid, ValueError) as error:
            raise ValueError(f"`jwks_url`: {error}") from error
    elif platform.ca_file is not None or platform.bearer_token_file is not None:
        raise ValueError("`ca_file` and `bearer_token_file` are for a `jwks_url`")
