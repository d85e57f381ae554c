"""The keys by which a platform signs its workload tokens.

Owns: reading a JWK set from its file or URL, and when it is read again: for a key id that nobody
knows, at most every half minute, and once an hour so that a withdrawn key ends. Refuses: giving
up the last good set because the platform cannot be asked for some hours, and redirects.
"""

from __future__ import annotations

import logging
from typing import Final

import anyio

from central.errors import Refused
from central.workload_config import Platform, TrustDomain, jwks_address
from gateway import limits, token
from gateway.errors import ConfigInvalid
from gateway.io.dial import AnyioDialer
from gateway.io.service import CentralService
from gateway.ports import ServiceUnreachable, WallClock
from gateway.token import Keys
from gateway.workload_token import ALGORITHMS

_SECOND_US: Final = 1_000_000
_USES: Final = frozenset({"sig", "jwt-svid"})
"""``jwt-svid``: SPIFFE trust domain and bundle specification, section 4.2.2."""
_BEARER_BYTES_MAX: Final = limits.TOKEN_BYTES_MAX
_AGE_US_MAX: Final = limits.ATTESTATION_KEYS_AGE_SECONDS_MAX * _SECOND_US
_STALE_US_MAX: Final = limits.ATTESTATION_KEYS_STALE_SECONDS_MAX * _SECOND_US
_REFRESH_US_MIN: Final = limits.ATTESTATION_KEYS_REFRESH_SECONDS_MIN * _SECOND_US

_log: Final = logging.getLogger("gatepost.central")


class PlatformKeys:
    """The key set of one platform. Raises ConfigInvalid for a file that cannot be used."""

    def __init__(self, platform: Platform, clock: WallClock) -> None:
        self._platform = platform
        kind = "trust_domains" if isinstance(platform, TrustDomain) else "clusters"
        self._where = f"issuer.{kind} {platform.name!r}"
        self._clock = clock
        self._lock = anyio.Lock()
        self._held: Keys | None = None
        self._read_us: int | None = None
        self._tried_us: int | None = None
        self._remote: CentralService | None = None
        self._target = ""
        if platform.jwks_url is None:
            self._put(self._read_file())
        else:
            base, self._target = jwks_address(platform.jwks_url)
            dialer = AnyioDialer(ca_file=platform.ca_file, any_address=True)
            self._remote = CentralService(base, dialer)

    async def verify(self, found: token.Token) -> None:
        """Check the signature of ``found``.

        Raises IdentityRejected, and Refused (``attestation_keys_unavailable``) where no key set
        was ever read, or none for a day.
        """
        if self._held is None or found.kid not in self._held or self._age_us() > _AGE_US_MAX:
            await self._refresh(found.kid)
        if self._held is None:
            raise Refused("attestation_keys_unavailable", self._where)
        if self._age_us() > _STALE_US_MAX:
            raise Refused("attestation_keys_unavailable", f"{self._where}: last read a day ago")
        self._held.verify(found)

    async def aclose(self) -> None:
        """Close the kept connection."""
        if self._remote is not None:
            await self._remote.aclose()

    def _age_us(self) -> int:
        return self._clock.mono_us() - (self._read_us or 0)

    async def _refresh(self, kid: str) -> None:
        async with self._lock:
            if self._held is not None and kid in self._held and self._age_us() <= _AGE_US_MAX:
                return
            now_us = self._clock.mono_us()
            if self._tried_us is not None and now_us - self._tried_us < _REFRESH_US_MIN:
                return
            self._tried_us = now_us
            try:
                self._put(await self._fetch() if self._remote else self._read_file())
            except (ConfigInvalid, ServiceUnreachable) as error:
                # The last good set goes on for a day: an outage of the platform's is not one of
                # ours.
                _log.warning("attestation_keys_unreadable: %s: %s", self._where, error)

    def _put(self, jwks: bytes) -> None:
        if len(jwks) > limits.ATTESTATION_KEYS_BYTES_MAX:
            raise ConfigInvalid(
                f"{self._where}: the key set has over {limits.ATTESTATION_KEYS_BYTES_MAX} bytes"
            )
        self._held = token.read_keys(jwks, ALGORITHMS, self._where, _USES)
        self._read_us = self._clock.mono_us()

    def _read_file(self) -> bytes:
        path = self._platform.jwks_file
        assert path is not None, "checked with the configuration"
        return _read(path, limits.ATTESTATION_KEYS_BYTES_MAX + 1, f"{self._where}: jwks_file")

    async def _fetch(self) -> bytes:
        assert self._remote is not None
        headers = {"accept": "application/jwk-set+json, application/json"}
        path = self._platform.bearer_token_file
        if path is not None:
            # Read each time: the kubelet replaces a projected token.
            text = _read(path, _BEARER_BYTES_MAX, f"{self._where}: bearer_token_file")
            headers["authorization"] = f"Bearer {text.decode('ascii', 'replace').strip()}"
        try:
            answer = await self._remote.call(
                "GET",
                self._target,
                headers=headers,
                answer_bytes_max=limits.ATTESTATION_KEYS_BYTES_MAX,
                timeout_seconds=limits.ATTESTATION_KEYS_SECONDS_MAX,
            )
        except ValueError as error:
            raise ConfigInvalid(f"{self._where}: bearer_token_file is no token") from error
        if answer.status != 200:
            raise ConfigInvalid(f"{self._where}: jwks_url answered {answer.status}")
        return answer.body


def _read(path: str, bytes_max: int, where: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(bytes_max)
    except OSError as error:
        raise ConfigInvalid(f"{where}: {path}: {error.strerror}") from error
