"""The configuration of a witness: one TOML file.

Owns: the typed shape, and reading it. Refuses: the key itself (``central.keys``) and guessing: an
unknown member is an error, and so is a log that nobody named.
"""

from __future__ import annotations

import msgspec
import platformdirs

from central import config_file
from gateway import note
from gateway.errors import ConfigInvalid, DocumentInvalid
from gateway.witness import LogKeys


class WatchedLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``keys``: verifier keys (`name+id+base64`) of one log; their name is its origin. As many as
    ``threshold`` of them must have signed a checkpoint."""

    keys: list[str]
    threshold: int = 1


class WitnessConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``name``: of the witness's key, a URL without its scheme as a rule (`witness.example/w1`);
    ``key``: path of a 0600 file that holds its 32-byte seed in base64, used for nothing else.

    The submission prefix is the base URL; what ends TLS in front of it may add a path.
    """

    name: str
    key: str
    data_directory: str = msgspec.field(
        default_factory=lambda: platformdirs.user_data_dir("gatepost-witness")
    )
    host: str = "127.0.0.1"
    port: int = 4146
    logs: list[WatchedLog]

    def watched(self) -> dict[str, LogKeys]:
        """The keys of each log, by origin. Raises ConfigInvalid."""
        found: dict[str, LogKeys] = {}
        for number, log in enumerate(self.logs, 1):
            origin, keys = _keys(log, number)
            if origin in found:
                raise ConfigInvalid(f"logs {number}: {origin} stands there twice")
            found[origin] = keys
        return found


def load(path: str) -> WitnessConfig:
    """The configuration in ``path``. Relative paths in it start at its own directory.

    Raises ConfigInvalid naming file, member and remedy.
    """
    return parse(config_file.read(path), path)


def parse(data: bytes, path: str) -> WitnessConfig:
    """The configuration in ``data``, which stands in ``path`` or shall. As ``load``."""
    config = config_file.decode(data, path, WitnessConfig)
    anchored = config_file.anchored_at(path)
    config = msgspec.structs.replace(
        config,
        key=anchored(config.key),
        data_directory=anchored(config.data_directory),
    )
    with config_file.named(path):
        check(config)
    return config


def check(config: WitnessConfig) -> None:
    """Raise ConfigInvalid for values that cannot work."""
    if not note.is_key_name(config.name):
        raise ConfigInvalid(f"name: {config.name!r} has spaces or a plus, or is empty")
    if not 0 <= config.port <= 65_535:
        raise ConfigInvalid(f"port: {config.port} is not between 0 and 65535")
    config.watched()


def _keys(log: WatchedLog, number: int) -> tuple[str, LogKeys]:
    try:
        keys = tuple(note.parse_key(text) for text in log.keys)
    except DocumentInvalid as error:
        raise ConfigInvalid(f"logs {number}: keys: {error.detail}") from error
    if len({key.name for key in keys}) != 1:
        raise ConfigInvalid(f"logs {number}: keys: one log has keys of one name, its origin")
    if any(key.cosigns for key in keys):
        raise ConfigInvalid(f"logs {number}: keys: this is the key of a witness, not of a log")
    if not 1 <= log.threshold <= len({key.public for key in keys}):
        raise ConfigInvalid(f"logs {number}: threshold: between 1 and the number of keys")
    return keys[0].name, LogKeys(keys, log.threshold)
