"""``gatepost keys init``: one key, a whole set for development, or the draft of root 1.

Owns: these three beginnings. Refuses: overwriting, and signing a root that people hold: each
holder does that on their own machine (``keys_sign.py``).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import msgspec

from gatepost import key_set
from gatepost.faults import InputOutputError
from gatepost.key_file import write_secret
from gatepost.signed_file import write_draft
from gatepost.terminal import plain
from gateway import documents, root_draft, seal, wording
from gateway.errors import DocumentInvalid
from gateway.io.clock import SystemClock
from gateway.io.entropy import SystemEntropy

_DUTIES: Final[Mapping[str, str]] = {
    "root": "signs roots; keep it offline, apart from the other holders' keys",
    "bundle": "signs policy bundles; held by people",
    "policy_head": "signs policy heads; keys.policy_head of the policy service",
    "issuer": "signs key certificates; keys.issuer of the issuer, never the record store's",
    "log": "signs checkpoints; keys.log of the record store, never the issuer's",
    "revocation": "takes instance keys back; held by people, apart from the log's",
    "host": "attests the starts of a machine's daemons; enrolment.host_key_file",
    "digest_wrap": "wraps digest keys; keys.digest_wrap of the issuer; it enters no root",
}


class DrawnKey(msgspec.Struct, frozen=True):
    """``public``: base64, for a plan or for ``keys rotate-root``."""

    file: str
    kid: str
    public: str


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--role", type=click.Choice(list(_DUTIES)), help="What the key is for; only told.")
@click.option("--root", type=click.Path(path_type=Path), help="Draft root 1 into this file.")
@click.option("--plan", type=click.Path(path_type=Path), help="The TOML plan of that root.")
@click.option(
    "--custody",
    type=click.Choice(["development"]),
    help="Draw a key of every role into DIRECTORY/keys, and sign root 1 in DIRECTORY/roots.",
)
@click.option("--directory", type=click.Path(path_type=Path), help="Where that set is made.")
@click.option("--scope", "scopes", multiple=True, help="What that root speaks for; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of words.")
def init(
    file: Path | None,
    role: str | None,
    root: Path | None,
    plan: Path | None,
    custody: str | None,
    directory: Path | None,
    scopes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw a key into FILE; or draft root 1 from a plan (--root, --plan); or make a whole set for
    development (--custody development, --directory, --scope)."""
    asked = [file is not None, root is not None, custody is not None]
    if sum(asked) != 1:
        raise click.UsageError("name a FILE, or --root, or --custody development")
    if file is not None:
        _draw(file, role, as_json=as_json)
    elif root is not None:
        if plan is None:
            raise click.UsageError("--root is drafted from a --plan")
        _draft(root, plan, as_json=as_json)
    else:
        if directory is None or not scopes:
            raise click.UsageError("--custody development wants --directory and --scope")
        _make_set(directory, scopes, as_json=as_json)


def _draw(file: Path, role: str | None, *, as_json: bool) -> None:
    seed = SystemEntropy().bytes(seal.SEED_BYTES)
    try:
        write_secret(file, seed)
    except FileExistsError as error:
        raise InputOutputError(f"{file} exists; a key is never overwritten") from error
    except OSError as error:
        raise InputOutputError(f"{file}: {error.strerror}") from error
    signer = seal.Signer(seed)
    drawn = DrawnKey(str(file), signer.kid, base64.b64encode(signer.public).decode())
    if as_json:
        click.echo(msgspec.json.encode(drawn))
        return
    click.echo(f"wrote {file} (0600): the secret; it is nowhere else")
    if role == "digest_wrap":
        click.echo(_DUTIES[role])
        return
    click.echo(f"kid     {drawn.kid}")
    click.echo(f"public  {drawn.public}")
    if role is not None:
        click.echo(f"{role}: {_DUTIES[role]}")


def _draft(out: Path, plan: Path, *, as_json: bool) -> None:
    try:
        root = root_draft.first(root_draft.read_plan(plan.read_bytes()), SystemClock().wall_us())
    except OSError as error:
        raise InputOutputError(f"{plan}: {error.strerror}") from error
    except DocumentInvalid as error:
        raise InputOutputError(f"{plan}: {error.detail}") from error
    payload = documents.encode(root)
    write_draft(out, documents.ROOT, payload)
    if as_json:
        words = {"written": str(out), "fingerprint": seal.sha256_text(payload)}
        click.echo(msgspec.json.encode(words))
        return
    for line in wording.told(documents.ROOT, payload, None):
        click.echo(plain(line))
    click.echo(
        f"wrote {out}, fingerprint {seal.sha256_text(payload)}; now each holder of the root role"
        f" signs it:\n  gatepost keys sign {out} --key THEIR.key"
    )


def _make_set(directory: Path, scopes: tuple[str, ...], *, as_json: bool) -> None:
    keys, roots = directory / "keys", directory / "roots"
    try:
        for path in (directory, keys, roots):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (roots / "1.json").exists():
            raise InputOutputError(f"{roots / '1.json'} exists; a root is never overwritten")
        key_set.draw(keys, SystemEntropy())
        issued = key_set.write_root(keys, roots, scopes, SystemClock().wall_us())
    except OSError as error:
        raise InputOutputError(f"{directory}: {error.strerror}") from error
    if as_json:
        words = {"keys": str(keys), "roots": str(roots), "fingerprint": issued.digest}
        click.echo(msgspec.json.encode(words))
        return
    click.echo(f"wrote {keys} and {roots / '1.json'}")
    click.echo(f"fingerprint {issued.digest}")
    click.echo("custody: development; whoever reads the directory can sign anything")
