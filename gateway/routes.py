"""Which route a request belongs to: the longest configured path prefix.

Owns: matching a checked request head to a ``Route`` and the target that goes upstream. Refuses:
methods and provider paths (``protocols`` knows them) and choosing an upstream (policy does).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from gateway.call import Head, Route, Upstream
from gateway.errors import TurnAway

# Some providers take their key in the query; the caller's never goes upstream (law 10).
_CREDENTIAL_PARAMETERS: Final = frozenset(
    {"key", "api_key", "api-key", "apikey", "access_token", "token"}
)


class RouteTable:
    """Routes by prefix. A prefix matches whole path segments only."""

    def __init__(self, routes: Iterable[Route]) -> None:
        # Longest first, so that the first match is the most specific one.
        self._routes = tuple(sorted(routes, key=lambda route: len(route.prefix), reverse=True))

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def match(self, head: Head) -> Route:
        """The route of ``head``. Raises TurnAway (``unknown_route``).

        Dot segments and encoded separators are refused: an upstream might resolve them into
        another path than the one that was ruled on.
        """
        path = head.path
        lowered = path.lower()
        if "//" in path or "%2f" in lowered or "%5c" in lowered or "\\" in path:
            raise TurnAway("unknown_route", "the path has an empty or encoded separator")
        if any(part in (".", "..") for part in lowered.replace("%2e", ".").split("/")):
            raise TurnAway("unknown_route", "the path has dot segments")
        for route in self._routes:
            prefix = route.prefix
            if path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/"):
                return route
        raise TurnAway("unknown_route")


def upstream_target(route: Route, upstream: Upstream, head: Head) -> str:
    """The origin-form target to send: base path, what follows the prefix, and the query
    without parameters that could carry the caller's credential.
    """
    path = upstream.base_path.rstrip("/") + head.path[len(route.prefix) :]
    kept = [
        part
        for part in head.query.split("&")
        if part and part.partition("=")[0].lower() not in _CREDENTIAL_PARAMETERS
    ]
    return (path or "/") + ("?" + "&".join(kept) if kept else "")
