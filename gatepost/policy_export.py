"""``gatepost policy export``: what a policy service serves of one scope, as files for a web server,
a bucket or a ConfigMap.

Owns: fetching, verifying as a daemon does, and the order of writing: whoever reads the directory
meanwhile finds all that its head needs. Refuses: writing what a daemon would refuse, going back
behind the head that lies there, and signing: the files hold until that head expires.
"""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path
from typing import Final, Literal

import click
import msgspec

from gatepost.central_client import CentralClient
from gatepost.faults import InputOutputError
from gatepost.terminal import plain
from gateway import __version__, roots, seal
from gateway.documents import Root
from gateway.errors import DocumentInvalid
from gateway.io.clock import SystemClock
from gateway.limits import ROOT_WALK_MAX
from policy_cache import trusted
from policy_cache.trusted import Floors, Head

Layout = Literal["web", "flat"]
LAYOUTS: Final[tuple[Layout, ...]] = ("web", "flat")
_MODE: Final = 0o644


class Exported(msgspec.Struct, frozen=True):
    """Verified documents, as they were served. ``bundle_envelopes``: by digest, the pinned one and
    a canary's; ``roots``: 1 … N."""

    head: Head
    head_envelope: bytes
    bundle_envelopes: dict[str, bytes]
    roots: list[bytes]


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--central", required=True, help="Base URL of the policy service, or of a mirror.")
@click.option("--scope", required=True, help="Exact scope, e.g. acme/prod.")
@click.option("--root", "pinned", required=True, help="sha256:<fingerprint> of root 1.")
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="web",
    show_default=True,
    help="web: head, root/<n>, blobs/sha256/<hex>. flat: the names of a ConfigMap.",
)
def export(directory: Path, central: str, scope: str, pinned: str, layout: Layout) -> None:
    """Write the head, roots and bundles of a scope into DIRECTORY, verified from the pinned root.

    Run it again before the head expires; it says when that is. Exit 0: written, or nothing newer is
    there. 1: what was served is not acceptable. 2: not reached, or not written.
    """
    try:
        found = fetch(CentralClient(central.rstrip("/"), None), scope, pinned, directory, layout)
    except DocumentInvalid as error:
        raise click.ClickException(plain(f"{central}: {error}")) from error
    try:
        write(found, directory, layout)
    except OSError as error:
        raise InputOutputError(f"{directory}: {error.strerror}") from error
    head = found.head.document
    said = f"{scope}: head {head.version} names version {head.bundle.version}; it holds until"
    click.echo(plain(f"{said} {head.expires}"))


def fetch(
    client: CentralClient, scope: str, pinned: str, directory: Path, layout: Layout
) -> Exported:
    """What ``client`` serves, at or above what ``directory`` holds.

    Raises DocumentInvalid, and InputOutputError.
    """
    now_us = SystemClock().wall_us()
    root, envelopes = _roots(client, pinned)
    trusted.check_root(root, now_us)
    floors = _floors(directory, layout, root, scope, now_us)
    head_envelope = client.get(f"/v1/policy/{urllib.parse.quote(scope, safe='')}/head")
    head = trusted.open_head(head_envelope, root, scope, floors, now_us, __version__)
    # As those daemons read it that take the pinned one, and as those that take the candidate.
    readings = [head]
    if head.document.next is not None:
        readings.append(msgspec.structs.replace(head, candidate=head.document.next))
    bundles: dict[str, bytes] = {}
    for reading in readings:
        digest = reading.pin.digest.removeprefix("sha256:")
        bundles[digest] = client.get(f"/v1/policy/blobs/sha256/{digest}")
        trusted.open_bundle(bundles[digest], root, reading, now_us)
    return Exported(head, head_envelope, bundles, envelopes)


def _roots(client: CentralClient, pinned: str) -> tuple[Root, list[bytes]]:
    """The newest root, and the envelopes that lead to it."""
    found: list[bytes] = []
    while len(found) < ROOT_WALK_MAX:
        data = client.find(f"/v1/policy/root/{len(found) + 1}")
        if data is None:
            break
        found.append(data)
    return roots.walk([seal.parse_envelope(data) for data in found], pinned)[-1], found


def _floors(directory: Path, layout: Layout, root: Root, scope: str, now_us: int) -> Floors:
    """Of the head that lies there; none where it is not one of ours."""
    try:
        data = (directory / _head_name(layout)).read_bytes()
        lies = trusted.open_head(data, root, scope, Floors(), now_us, __version__, expired_ok=True)
    except (OSError, DocumentInvalid):
        return Floors()
    return trusted.raised(Floors(), root, lies)


def write(found: Exported, directory: Path, layout: Layout) -> None:
    """Write what the head needs, then the head, each file in one rename. Raises OSError."""
    flat = layout == "flat"
    for number, envelope in enumerate(found.roots, 1):
        _replace(directory / (f"root-{number}.json" if flat else f"root/{number}"), envelope)
    for digest, envelope in found.bundle_envelopes.items():
        blob = f"sha256-{digest}.json" if flat else f"blobs/sha256/{digest}"
        _replace(directory / blob, envelope)
    _replace(directory / _head_name(layout), found.head_envelope)


def _head_name(layout: Layout) -> str:
    return "head.json" if layout == "flat" else "head"


def _replace(path: Path, data: bytes) -> None:
    """The whole file or the old one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
