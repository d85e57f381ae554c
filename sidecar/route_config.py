"""What calls may go to: the credentials, upstreams and routes of a configuration.

Owns: these sections, and building the ``Route`` values that the call path uses. Refuses: rules
that need the rest of the file (``config.py``), and reading keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta

from gateway import limits
from gateway.call import Protocol, Route, Upstream
from gateway.headers import REQUEST_HEADERS_OF, RESPONSE_HEADERS_OF
from sidecar.fields import FilePath, HeaderName, Name, Seconds, Section, unique
from sidecar.upstream_url import parse_upstream_url

_PROVIDERS: Final = frozenset({"openai", "anthropic", "gemini", "bedrock"})
_TOOL_PROTOCOLS: Final = frozenset({"mcp", "http"})


class CredentialSettings(Section, frozen=True, kw_only=True):
    """A company credential, in a file. Re-read when the file changes."""

    id: Annotated[Name, Meta(description="Stands in records; the key itself never does.")]
    file: Annotated[FilePath, Meta(description="Holds the key alone; 0600.")]
    style: Annotated[
        Literal["bearer", "x-api-key", "api-key", "x-goog-api-key"],
        Meta(description="The header that carries it; bearer: Authorization."),
    ] = "bearer"


class UpstreamSettings(Section, frozen=True, kw_only=True):
    """One endpoint in one region."""

    name: Annotated[Name, Meta(description="Name in policy and records.")]
    url: Annotated[str, Meta(description="http(s)://host[:port][/base path]")]
    region: Annotated[Name, Meta(description="Where it computes; policy may ask for it.")]
    credential: Annotated[Name | None, Meta(description="An `id` of `[[credentials]]`.")] = None
    gateway: Annotated[
        bool,
        Meta(description="A gateway of the same root: it is told our decision (operations)."),
    ] = False

    def __post_init__(self) -> None:
        parse_upstream_url(self.url)


class RouteSettings(Section, frozen=True, kw_only=True):
    """A path prefix, the protocol spoken there, and the upstreams it may use, in order."""

    name: Annotated[Name, Meta(description="Name in policy and records.")]
    prefix: Annotated[
        str,
        Meta(pattern=r"^(/[A-Za-z0-9._~-]+)+\Z", description="The longest that fits wins."),
    ]
    protocol: Annotated[Protocol, Meta(description="How bodies are read.")]
    upstreams: Annotated[
        tuple[Name, ...],
        Meta(min_length=1, max_length=limits.UPSTREAMS_MAX, description="In order of preference."),
    ]
    server: Annotated[
        Name | None, Meta(description="Name of the tool server (mcp) or tool (http).")
    ] = None
    request_headers: Annotated[
        tuple[HeaderName, ...],
        Meta(description="Further headers that go upstream; `x-*` is a prefix."),
    ] = ()
    response_headers: Annotated[
        tuple[HeaderName, ...], Meta(description="Further headers that come back.")
    ] = ()
    body_bytes_max: Annotated[
        int, Meta(gt=0, le=limits.JSON_INTEGER_MAX, description="A larger body is refused.")
    ] = limits.BODY_BYTES_MAX
    idempotent: Annotated[
        bool, Meta(description="A failed call may be sent again to the next upstream.")
    ] = False
    opaque_upload: Annotated[
        bool, Meta(description="Stream bodies unread; decided on the head, labelled opaque.")
    ] = False
    first_byte_seconds_max: Annotated[
        Seconds, Meta(description="From the request to the answer's head.")
    ] = limits.UPSTREAM_FIRST_BYTE_SECONDS_MAX
    stream_idle_seconds_max: Annotated[
        Seconds, Meta(description="Between two pieces of an answer.")
    ] = limits.STREAM_IDLE_SECONDS_MAX
    call_seconds_max: Annotated[Seconds, Meta(description="A whole call.")] = (
        limits.CALL_SECONDS_MAX
    )

    def __post_init__(self) -> None:
        unique("upstreams", self.upstreams)
        if any(part in (".", "..") for part in self.prefix.split("/")):
            raise ValueError(f"`prefix` {self.prefix!r} has dot segments: no request matches")
        if (self.server is None) == (self.protocol in _TOOL_PROTOCOLS):
            needs = "need" if self.server is None else "have no"
            raise ValueError(f"route {self.name!r}: {self.protocol} routes {needs} `server`")
        if not self.opaque_upload and self.body_bytes_max > limits.BODIES_IN_MEMORY_BYTES_MAX:
            raise ValueError(
                f"`body_bytes_max` is above {limits.BODIES_IN_MEMORY_BYTES_MAX}, which all bodies "
                "in memory share; only `opaque_upload` routes stream more"
            )


class UpstreamAccess(Section, frozen=True, kw_only=True):
    """Which upstream hosts on private or loopback addresses are meant to be reached."""

    allowed_private_hosts: Annotated[
        tuple[str, ...], Meta(description="Host names or addresses, as upstream URLs have them.")
    ] = ()
    ca_file: Annotated[
        FilePath | None,
        Meta(description="PEM file that replaces the system's certificate authorities."),
    ] = None


def built_routes(
    upstreams: Sequence[UpstreamSettings], routes: Sequence[RouteSettings]
) -> tuple[Route, ...]:
    """The routes of a checked configuration, with their upstreams and whole allow-lists."""
    built = {entry.name: _upstream(entry) for entry in upstreams}
    return tuple(
        Route(
            name=entry.name,
            prefix=entry.prefix,
            protocol=entry.protocol,
            provider=entry.protocol if entry.protocol in _PROVIDERS else None,
            server=entry.server,
            upstreams=tuple(built[name] for name in entry.upstreams),
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
        for entry in routes
    )


def _upstream(entry: UpstreamSettings) -> Upstream:
    address = parse_upstream_url(entry.url)
    return Upstream(
        name=entry.name,
        host=address.host,
        port=address.port,
        tls=address.tls,
        base_path=address.base_path,
        region=entry.region,
        credential_id=entry.credential,
        gateway=entry.gateway,
    )
