"""The configuration of a mirror of a policy service: one TOML file.

Owns: the typed shape, and reading it. Refuses: keys of any kind, of which a mirror has none, and
guessing: an unknown member is an error, and so is a scope that nobody named.
"""

from __future__ import annotations

import os

import msgspec
import platformdirs

from central import config_file
from gateway import __version__, limits
from gateway.errors import ConfigInvalid
from gateway.io.service_address import parse_service_url, split_directory_url
from policy_cache.config import CacheConfig


class MirroredScope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``scope``: exactly, as `acme/prod`. ``files_url``: its directory on a web server or in a
    bucket, where it comes from there and not from ``mirror_of``."""

    scope: str
    files_url: str | None = None


class MirrorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``mirror_of``: base URL of the policy service (or of another mirror) that is followed;
    `--mirror-of` takes its place. ``root_fingerprint``: `sha256:<hex>` of root 1's payload, the one
    thing that is trusted. ``ca_file``: the authorities of its https, in PEM, null for the system's.

    ``refresh_seconds_min`` and ``refresh_seconds_max``: how often it is asked where no long poll
    brings news at once.
    """

    mirror_of: str | None = None
    root_fingerprint: str
    scopes: list[MirroredScope]
    data_directory: str = msgspec.field(
        default_factory=lambda: platformdirs.user_data_dir("gatepost-mirror")
    )
    host: str = "127.0.0.1"
    port: int = 4147
    ca_file: str | None = None
    refresh_seconds_min: float = limits.REFRESH_SECONDS_MIN
    refresh_seconds_max: float = limits.REFRESH_SECONDS_MAX

    def cache_of(self, scope: str) -> CacheConfig:
        """The settings of the cache that holds ``scope``. Raises ConfigInvalid."""
        return CacheConfig(
            scope=scope,
            root_fingerprint=self.root_fingerprint,
            # The separator is no character of a scope, so two never share a directory.
            directory=os.path.join(self.data_directory, scope.replace("/", "+")),
            own_version=__version__,
            refresh_seconds_min=self.refresh_seconds_min,
            refresh_seconds_max=self.refresh_seconds_max,
        )


def load(path: str, mirror_of: str | None = None) -> MirrorConfig:
    """The configuration in ``path``. Relative paths in it start at its own directory.

    ``mirror_of``: the URL that was given beside it. Raises ConfigInvalid naming file, member and
    remedy.
    """
    return parse(config_file.read(path), path, mirror_of)


def parse(data: bytes, path: str, mirror_of: str | None = None) -> MirrorConfig:
    """The configuration in ``data``, which stands in ``path`` or shall. As ``load``."""
    config = config_file.decode(data, path, MirrorConfig)
    anchored = config_file.anchored_at(path)
    config = msgspec.structs.replace(
        config,
        mirror_of=mirror_of or config.mirror_of,
        data_directory=anchored(config.data_directory),
        ca_file=None if config.ca_file is None else anchored(config.ca_file),
    )
    with config_file.named(path):
        check(config)
    return config


def check(config: MirrorConfig) -> None:
    """Raise ConfigInvalid for values that cannot work."""
    if not 0 <= config.port <= 65_535:
        raise ConfigInvalid(f"port: {config.port} is not between 0 and 65535")
    if not config.scopes:
        raise ConfigInvalid("scopes: name at least one, as [[scopes]] with scope = 'acme/prod'")
    names = [one.scope for one in config.scopes]
    if len(set(names)) != len(names):
        raise ConfigInvalid("scopes: one stands there twice")
    if config.mirror_of is not None:
        parse_service_url(config.mirror_of)
    for one in config.scopes:
        config.cache_of(one.scope)
        if one.files_url is not None:
            split_directory_url(one.files_url)
        elif config.mirror_of is None:
            raise ConfigInvalid(
                f"scopes {one.scope!r}: set mirror_of (or --mirror-of), or its files_url"
            )
