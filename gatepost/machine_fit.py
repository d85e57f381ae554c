"""What in a daemon's configuration does not fit this machine, before a pod finds out.

Owns: looking at the files and directories that the configuration names, with the very code that
the daemon reads them by. Refuses: changing anything, quoting what secret files hold, and asking
the network.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import msgspec

from gatepost.init import NO_ROOT
from gateway import limits, seal
from gateway.attestation import ENROL_AUDIENCE
from gateway.errors import ConfigInvalid, IdentityRejected
from gateway.identity import Identifier
from gateway.io.credentials import CredentialFile, Credentials
from gateway.io.dial import AnyioDialer
from gateway.io.disk import ThreadDisk
from gateway.io.service_address import parse_service_url
from gateway.token import read_token
from policy_cache.fetch import FetchFailed
from policy_cache.mounted import MountedSource
from sidecar.classifying import load_classifier
from sidecar.config import SidecarConfig
from sidecar.pseudonym_key import read_pseudonym_key

_OVERFLOW_UID: Final = 65_534
"""What the kernel shows of every caller from another user namespace."""


class Problem(msgspec.Struct, frozen=True):
    """``path``: the setting; ``fatal``: the daemon would not start or not work."""

    path: str
    message: str
    fatal: bool


def problems(config: SidecarConfig) -> Iterator[Problem]:
    """What in ``config`` does not fit this machine."""
    yield from _trust(config)
    yield from _policy_files(config)
    yield from _enrolment(config)
    yield from _listeners(config)
    yield from _directories(config)
    yield from _credentials(config)
    yield from _token_keys(config)
    yield from _pseudonyms(config)
    yield from _loadable(config)
    if not config.routes:
        yield Problem("routes", "is empty: every call would be turned away", fatal=True)


def _pseudonyms(config: SidecarConfig) -> Iterator[Problem]:
    try:
        read_pseudonym_key(config.pseudonyms.key_file)
    except ConfigInvalid as error:
        yield Problem("pseudonyms.key_file", str(error), fatal=True)


def _trust(config: SidecarConfig) -> Iterator[Problem]:
    if config.trust.root_sha256 == NO_ROOT:
        yield Problem(
            "trust.root_sha256",
            "is the placeholder of `gatepost init`: no policy verifies with it; ask the owner of "
            "the root for its fingerprint",
            fatal=True,
        )
    central = config.central
    for name in ("url", "store_url", "issuer_url"):
        url = getattr(central, name)
        if url is not None and parse_service_url(url).readable_on_the_way:
            yield Problem(
                f"central.{name}",
                f"{url} is plain HTTP to another machine: whoever listens on the way reads the "
                "one-time token and the digest key",
                fatal=False,
            )


def _policy_files(config: SidecarConfig) -> Iterator[Problem]:
    where, directory = "policy.mounted_directory", config.policy.mounted_directory
    if directory is None:
        return
    if not Path(directory).is_dir():
        yield Problem(where, f"{directory} is no directory; mount it there", fatal=True)
        return
    try:
        anyio.run(MountedSource(ThreadDisk(), directory).head, None)
    except FetchFailed as failed:
        yield Problem(where, str(failed), fatal=failed.kind != "missing")


def _enrolment(config: SidecarConfig) -> Iterator[Problem]:
    enrolment = config.enrolment
    named = False
    for name in ("service_account_token_file", "spiffe_jwt_file"):
        path = getattr(enrolment, name)
        if path is not None:
            named = True
            yield from _platform_token(f"enrolment.{name}", path)
    if enrolment.host_key_file is not None:
        named = True
        yield from _host_key(enrolment.host_key_file, enrolment.one_time_token_file)
    if not named:
        yield Problem(
            "enrolment",
            "none of service_account_token_file, spiffe_jwt_file and host_key_file is set: the "
            "daemon has nothing to attest its start by, and ends",
            fatal=True,
        )


def _platform_token(where: str, path: str) -> Iterator[Problem]:
    try:
        with Path(path).open("rb") as file:
            text = file.read(limits.TOKEN_BYTES_MAX + 1)
    except FileNotFoundError:
        yield Problem(where, f"{path} is not there yet; the daemon goes on asking", fatal=False)
        return
    except OSError as error:
        yield Problem(where, f"{path}: {error.strerror}", fatal=True)
        return
    try:
        audience = read_token(text.decode("ascii", "replace").strip()).claims.get("aud")
    except IdentityRejected as error:
        yield Problem(where, f"{path} holds no token: {error.detail}", fatal=True)
        return
    if audience not in (ENROL_AUDIENCE, [ENROL_AUDIENCE]):
        yield Problem(where, f"{path}: its audience is not {ENROL_AUDIENCE}, and alone", fatal=True)


def _host_key(path: str, token: str | None) -> Iterator[Problem]:
    try:
        text, mode = Path(path).read_bytes(), Path(path).stat().st_mode
    except FileNotFoundError:
        if token is None or not Path(token).exists():
            yield Problem(
                "enrolment.host_key_file",
                f"{path} will be drawn at the first start; without a one-time token the issuer's "
                "operator has to register it",
                fatal=False,
            )
        return
    except OSError as error:
        yield Problem("enrolment.host_key_file", f"{path}: {error.strerror}", fatal=True)
        return
    if not _is_seed(text):
        yield Problem("enrolment.host_key_file", f"{path} does not hold a key", fatal=True)
    if mode & 0o077:
        yield Problem(
            "enrolment.host_key_file",
            f"{path} can be read by others, who could enrol as this machine; chmod 600 it",
            fatal=True,
        )


def _is_seed(text: bytes) -> bool:
    try:
        return len(base64.b64decode(text.strip(), validate=True)) == seal.SEED_BYTES
    except ValueError:
        return False


def _listeners(config: SidecarConfig) -> Iterator[Problem]:
    listen = config.listen
    sockets = [("listen.admin_socket", listen.admin_socket)]
    sockets += [(f"listen.unix.{entry.name}.path", entry.path) for entry in listen.unix]
    for where, path in sockets:
        above = Path(path).absolute().parent.parent
        if not above.is_dir():
            yield Problem(where, f"{above} does not exist; make it or choose a path", fatal=True)
    if listen.allow_uid_0:
        yield Problem("listen.allow_uid_0", "callers with uid 0 are taken", fatal=False)
    for entry in listen.agents:
        if entry.uid == 0 and not listen.allow_uid_0:
            yield Problem("listen.agents", "uid 0 is refused by listen.allow_uid_0", fatal=False)
        if entry.uid == _OVERFLOW_UID:
            yield Problem(
                "listen.agents",
                f"uid {_OVERFLOW_UID} is everybody of another user namespace",
                fatal=False,
            )
    if listen.tcp and not listen.agents and not config.identity.tokens:
        yield Problem(
            "listen.agents",
            "is empty, and there are no `identity.tokens`: no call on TCP has an agent",
            fatal=False,
        )


def _directories(config: SidecarConfig) -> Iterator[Problem]:
    for where, directory in (
        ("spool.directory", config.spool.directory),
        ("policy.directory", config.policy.directory),
    ):
        if not _can_make(directory):
            yield Problem(where, f"{directory} cannot be created or written", fatal=True)


def _can_make(directory: str) -> bool:
    place = Path(directory).absolute()
    while not place.exists():
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _credentials(config: SidecarConfig) -> Iterator[Problem]:
    for entry in config.credentials:
        where = f"credentials.{entry.id}.file"
        try:
            held = Credentials({entry.id: CredentialFile(entry.file, entry.style)})
        except ConfigInvalid as error:
            yield Problem(where, str(error), fatal=True)
            continue
        for status in held.status():
            if status.warning is not None:
                yield Problem(where, status.warning, fatal=False)


def _token_keys(config: SidecarConfig) -> Iterator[Problem]:
    for issuer in config.identity.issuers:
        where = f"identity.issuers.{issuer.id}.jwks_file"
        try:
            Identifier(config.identity, {issuer.id: Path(issuer.jwks_file).read_bytes()})
        except OSError as error:
            yield Problem(where, f"{issuer.jwks_file}: {error.strerror}", fatal=True)
        except ConfigInvalid as error:
            yield Problem(where, str(error), fatal=True)


def _loadable(config: SidecarConfig) -> Iterator[Problem]:
    """What is read only by loading it: CA files and a rule pack of one's own."""
    checks: list[tuple[str, Callable[[], object]]] = [
        ("central.ca_file", lambda: AnyioDialer(ca_file=config.central.ca_file)),
        ("upstream_access.ca_file", lambda: AnyioDialer(ca_file=config.upstream_access.ca_file)),
    ]
    if config.classification.pack_file is not None:
        load = partial(load_classifier, config.classification, threads=False)
        checks.append(("classification.pack_file", lambda: anyio.run(load)))
    for where, check in checks:
        try:
            check()
        except ConfigInvalid as error:
            yield Problem(where, str(error), fatal=True)
