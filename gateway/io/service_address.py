"""Where a central service is: the base URLs of the configuration, taken apart.

Owns: reading ``http://host:port``, ``https://host:port`` and ``unix:/path``, and the URL of a
directory of files on a web server, which has a path too. Refuses: everything else a URL may carry
(user, query, fragment), because none of it would be used.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.errors import ConfigInvalid

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PATH: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
"""RFC 3986 section 3.3."""


class ServiceAddress(msgspec.Struct, frozen=True):
    """``path`` of a Unix socket, or ``host`` and ``port``. ``authority`` is the Host header."""

    host: str
    port: int
    tls: bool
    path: str | None
    authority: str

    @property
    def readable_on_the_way(self) -> bool:
        """Whether what is sent goes in plain text to another machine. A name that is not
        ``localhost`` counts as one: what it resolves to may change."""
        if self.path is not None or self.tls or self.host == "localhost":
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True


def split_directory_url(url: str) -> tuple[str, str]:
    """A service's URL and the path, without a slash at its end, of a directory on a web server.

    Raises ConfigInvalid, saying what is wrong with ``url``.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigInvalid(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or parts.query or parts.fragment:
        raise ConfigInvalid(f"{url!r}: a directory is http(s)://host:port/path, without a query")
    if _PATH.fullmatch(parts.path) is None:
        raise ConfigInvalid(f"{url!r}: what a path may not hold is written as %xx")
    origin = f"{parts.scheme}://{parts.netloc}"
    parse_service_url(origin)
    return origin, parts.path.rstrip("/")


def parse_service_url(url: str) -> ServiceAddress:
    """The address in ``url``. Raises ConfigInvalid, saying what is wrong with it."""
    if url.startswith("unix:"):
        path = url.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ConfigInvalid(f"{url!r}: a Unix socket is written unix:/absolute/path")
        return ServiceAddress(host="", port=0, tls=False, path=path, authority="localhost")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigInvalid(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConfigInvalid(
            f"{url!r}: a service is http://host:port, https://host:port or unix:/path"
        )
    if parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigInvalid(f"{url!r}: only scheme, host and port belong in a service's URL")
    if not url.isascii() or any(character.isspace() for character in url):
        raise ConfigInvalid(f"{url!r}: a host is written in ASCII without spaces")
    # Brackets of an IPv6 literal belong to the header, not to the name that is dialled.
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return ServiceAddress(
        host=parts.hostname,
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
        tls=parts.scheme == "https",
        path=None,
        authority=name if port is None else f"{name}:{port}",
    )
