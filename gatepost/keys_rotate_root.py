"""``gatepost keys rotate-root``: the draft of root N+1, from root N and a list of changes.

Owns: reading the changes from the command line and writing the draft. Refuses: signing it: the
holders of root N and of root N+1 do, each with ``gatepost keys sign``.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click
import msgspec

from gatepost.faults import InputOutputError
from gatepost.signed_file import read_roots, write_draft
from gatepost.terminal import plain
from gateway import documents, root_draft, wording
from gateway.errors import DocumentInvalid
from gateway.io.clock import SystemClock
from gateway.root_draft import Changes, Custody
from gateway.roots import ROLE_NAMES, RoleName


@click.command("rotate-root")
@click.argument("current", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The draft to write.")
@click.option(
    "--replace",
    "replaced",
    multiple=True,
    metavar="KID=PUBLIC",
    help="In every role that has key KID, put the base64 public key in its place.",
)
@click.option("--add", "added", multiple=True, metavar="ROLE=PUBLIC", help="Give a key a role.")
@click.option("--remove", "removed", multiple=True, metavar="ROLE=KID", help="Take a role away.")
@click.option("--threshold", "thresholds", multiple=True, metavar="ROLE=N", help="How many sign.")
@click.option("--scope", "scopes", multiple=True, help="All scopes anew; repeatable.")
@click.option("--custody", type=click.Choice(["development", "offline"]))
@click.option(
    "--days", default=root_draft.DAYS_DEFAULT, show_default=True, help="Until it expires."
)
@click.option(
    "--new-epoch",
    is_flag=True,
    help="Let policy versions begin again: after a lost policy service.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of words.")
def rotate_root(
    current: Path,
    out: Path,
    replaced: tuple[str, ...],
    added: tuple[str, ...],
    removed: tuple[str, ...],
    thresholds: tuple[str, ...],
    scopes: tuple[str, ...],
    custody: str | None,
    days: int,
    new_epoch: bool,
    as_json: bool,
) -> None:
    """Draft the root that follows CURRENT, a root file or the directory 1.json … N.json.

    It counts once the root role of CURRENT and that of the draft have both signed it, each to its
    threshold.
    """
    before = read_roots(current)[-1]
    changes = Changes(
        replaced=dict(_pair(text, "--replace") for text in replaced),
        added=[(_role(name), rest) for name, rest in (_pair(one, "--add") for one in added)],
        removed=[(_role(name), rest) for name, rest in (_pair(one, "--remove") for one in removed)],
        thresholds={
            _role(name): _number(rest)
            for name, rest in (_pair(one, "--threshold") for one in thresholds)
        },
        scopes=scopes or None,
        custody=cast("Custody | None", custody),
        new_epoch=new_epoch,
    )
    try:
        draft = root_draft.following(before, changes, days, SystemClock().wall_us())
    except DocumentInvalid as error:
        raise InputOutputError(error.detail) from error
    payload = documents.encode(draft)
    write_draft(out, documents.ROOT, payload)
    if as_json:
        changed = root_draft.differences(before, draft)
        words = {"written": str(out), "version": draft.version, "changes": changed}
        click.echo(msgspec.json.encode(words))
        return
    for line in wording.told(documents.ROOT, payload, before):
        click.echo(plain(line))
    click.echo(
        f"wrote {out}; now {before.roles.root.threshold} holders of root {before.version} and"
        f" {draft.roles.root.threshold} of root {draft.version}, who may be the same, sign it:\n"
        f"  gatepost keys sign {out} --root {current} --key THEIR.key"
    )


def _pair(text: str, option: str) -> tuple[str, str]:
    name, separator, rest = text.partition("=")
    if not separator or not rest:
        raise click.UsageError(f"{option} {text!r}: wanted NAME=VALUE")
    return name, rest


def _role(name: str) -> RoleName:
    for role in ROLE_NAMES:
        if role == name:
            return role
    raise click.UsageError(f"{name!r} is no role; roles are {', '.join(ROLE_NAMES)}")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 3:
        raise click.UsageError(f"--threshold {text!r} is no number")
    return int(text)
