"""Which route a request belongs to: the longest configured path prefix.

Owns: matching a checked request head to a ``Route`` and the target that goes upstream. Refuses:
methods and provider paths (``protocols`` knows them) and choosing an upstream (policy does).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from gateway.call import Head, Route, Upstream
from gateway.errors import TurnAway
from gateway.protocols.query import CREDENTIAL_PARAMETERS


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
    without parameters that could carry the caller's credential (law 10).

    A parameter's name is decoded as ``query.parameters`` decodes it: what was not shown to
    policy because of its name must not go upstream under another spelling of it.
    """
    path = upstream.base_path.rstrip("/") + head.path[len(route.prefix) :]
    query = head.query
    if not query:
        return path or "/"
    kept = [part for part in query.split("&") if part and not _carries_credential(part)]
    return (path or "/") + ("?" + "&".join(kept) if kept else "")


def _carries_credential(parameter: str) -> bool:
    name = parameter.partition("=")[0].replace("+", " ")
    return unquote(name).lower() in CREDENTIAL_PARAMETERS
