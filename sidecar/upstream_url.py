"""The URL of an upstream, taken apart once, when the configuration is read.

Owns: which URLs an upstream may have. Refuses: what would not be used (user, query, fragment) or
could be read in two ways: characters that ``urlsplit`` drops in silence, dot segments, names that
no resolver takes. Whether an address may be dialled is judged when it is (``gateway.io.address``).

Sources: RFC 3986 sections 3 and 6.2.2.3; RFC 1123 section 2.1 (host names).
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urlsplit

import msgspec

_PRINTABLE: Final = re.compile(r"[!-~]+")
_HOST_NAME: Final = re.compile(
    r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*"
)
_HOST_NAME_CHARACTERS_MAX: Final = 253
_BASE_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


class UpstreamAddress(msgspec.Struct, frozen=True, kw_only=True):
    """``host`` without brackets, lower-case. ``base_path`` is empty or begins with a slash."""

    host: str
    port: int
    tls: bool
    base_path: str


def parse_upstream_url(url: str) -> UpstreamAddress:
    """The address in ``url``: http(s)://host[:port][/base path]. Raises ValueError."""
    if _PRINTABLE.fullmatch(url) is None:
        raise ValueError(f"url {url!r} has spaces, control characters or letters beyond ASCII")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"url {url!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"url {url!r} is not http(s)://host[:port][/base path]")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError(f"url {url!r} must have neither user nor query; use `credential`")
    if port == 0:
        raise ValueError(f"url {url!r}: port 0 is nobody's")
    if not _is_host(host, bracketed="[" in parts.netloc):
        raise ValueError(f"url {url!r}: {host!r} is neither a host name nor an address")
    if not _is_base_path(parts.path):
        raise ValueError(f"url {url!r}: the base path has dot segments or needs encoding")
    tls = parts.scheme == "https"
    return UpstreamAddress(
        host=host,
        port=port or (443 if tls else 80),
        tls=tls,
        base_path=parts.path.rstrip("/"),
    )


def _is_host(host: str, *, bracketed: bool) -> bool:
    if not bracketed:
        return len(host) <= _HOST_NAME_CHARACTERS_MAX and _HOST_NAME.fullmatch(host) is not None
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _is_base_path(path: str) -> bool:
    dots = any(part in (".", "..") for part in path.split("/"))
    return _BASE_PATH.fullmatch(path) is not None and not dots
