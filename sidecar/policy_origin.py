"""Where this daemon's policy comes from, as its configuration says.

Owns: choosing the source (policy service, files on a web server, mounted directory), the client
that a web server needs, and passing on hints of a mounted directory. Refuses: refreshing and
judging, which are ``policy_cache``'s. A web server is asked without a signature: it is no party
that knows instances.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway import __version__
from gateway.io.service import CentralService
from gateway.io.service_address import split_directory_url
from gateway.ports import Service
from policy_cache.fetch import PolicySource, directory_source, service_source
from policy_cache.mounted import MountedSource
from sidecar.config import PolicySettings
from sidecar.directory_changes import follow_changes
from sidecar.eventlog import EventLog
from sidecar.outside import Outside


class PolicyOrigin:
    """The configured source. ``policy_service``: the one of ``[central]``, used if no other is."""

    def __init__(
        self, settings: PolicySettings, outside: Outside, policy_service: Service, log: EventLog
    ) -> None:
        self._mounted = settings.mounted_directory
        self._watch = outside.threads
        self._log = log
        self._files: CentralService | None = None
        self.source: PolicySource
        if self._mounted is not None:
            self.source = MountedSource(outside.disk, self._mounted)
        elif settings.files_url is not None:
            origin, path = split_directory_url(settings.files_url)
            self._files = CentralService(
                origin, outside.network.services, user_agent=f"gatepost/{__version__}"
            )
            self.source = directory_source(self._files, path)
        else:
            self.source = service_source(policy_service, settings.scope)

    async def follow_hints(self, hint: Callable[[], None]) -> None:
        """Call ``hint`` when the mounted directory changes; a kubelet swaps a link right in it."""
        if self._mounted is not None and self._watch:
            await follow_changes([self._mounted], hint, self._not_followed)

    def _not_followed(self, reason: str) -> None:
        self._log.warning("policy_unreachable", detail=f"changes cannot be followed: {reason}")

    async def aclose(self) -> None:
        """Close connections to a web server."""
        if self._files is not None:
            await self._files.aclose()
