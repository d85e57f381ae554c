"""``gatepost init``: a commented configuration to start from, of a daemon or any of the services.

Owns: filling in the samples, and checking what came of it as its reader will. Refuses: overwriting
a file, and keys; the text names the files to put them in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import click
import msgspec

from gatepost.faults import InputOutputError
from gatepost.home import toml_text
from gatepost.samples import sample
from gateway.errors import ConfigInvalid
from sidecar import config as sidecar_config

NO_ROOT: Final = "sha256:" + "0" * 64
"""Stands there until the owner of the root has told its fingerprint; nothing verifies with it."""

NOBODY: Final = "0" * 64
"""Stands for the SHA-256 of a token: nobody has one with it."""

Kind = Literal["sidecar", "drain", "central", "issuer", "mirror", "witness"]
_KINDS: Final[dict[Kind, str]] = {
    "sidecar": "gatepost check-config {}",
    "drain": "gatepost check-config {}",
    "central": "gatepost central --config {}",
    "issuer": "gatepost issuer --config {}",
    "mirror": "gatepost central policy --config {}",
    "witness": "gatepost witness --config {}",
}
"""What a file is for, and what to do with it when the files that it names are there."""


@click.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option(
    "--for",
    "kind",
    type=click.Choice(list(_KINDS)),
    default="sidecar",
    show_default=True,
    help="What the file configures; central is policy service and record store.",
)
@click.option("--tenant", default="acme", show_default=True)
@click.option("--region", default="eu-west-1", show_default=True)
@click.option("--agent", default="my-agent", show_default=True)
@click.option("--uid", default=1000, show_default=True, help="Uid that the agent runs as.")
@click.option("--central", default="http://127.0.0.1:4143", show_default=True)
@click.option("--issuer", default="http://127.0.0.1:4145", show_default=True)
@click.option("--root", default=NO_ROOT, help="Fingerprint of root 1.")
@click.option("--state", default="/var/lib/gatepost", show_default=True)
@click.option("--runtime", default="/run/gatepost", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of words.")
def init(
    path: Path | None,
    kind: Kind,
    tenant: str,
    region: str,
    agent: str,
    uid: int,
    central: str,
    issuer: str,
    root: str,
    state: str,
    runtime: str,
    as_json: bool,
) -> None:
    """Write a commented configuration to PATH, by default sidecar.toml, or the word after --for."""
    path = path or Path(f"{kind}.toml")
    words = {"name": path.name, "tenant": tenant, "region": region, "agent": agent, "root": root}
    words |= {"central": central, "issuer": issuer, "state": state, "run": runtime}
    try:
        escaped = {name: toml_text(word)[1:-1] for name, word in words.items()}
        text = sample(f"{kind}.toml").decode().format(uid=uid, nobody=NOBODY, **escaped)
        _check(kind, text, str(path))
    except (ConfigInvalid, UnicodeEncodeError) as error:
        raise click.UsageError(f"an option does not fit: {error}") from error
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputOutputError(f"{path} exists; choose another name or remove it") from error
    except OSError as error:
        raise InputOutputError(f"{path}: {error.strerror}") from error
    root_missing = NO_ROOT in text
    if as_json:
        click.echo(msgspec.json.encode({"written": str(path), "root_missing": root_missing}))
        return
    then = _KINDS[kind].format(path)
    click.echo(f"wrote {path}; put the files it names in place, then: {then}")
    if root_missing:
        member = "trust.root_sha256" if "[trust]" in text else "root_fingerprint"
        click.echo(f"{member} is a placeholder: ask the owner of the root for it")
    if NOBODY in text.replace(NO_ROOT, ""):
        click.echo("each sha256 of zeros is a placeholder: put that of a token there")


def _check(kind: Kind, text: str, path: str) -> None:
    """Raise ConfigInvalid if nobody could start with ``text``."""
    if kind in ("sidecar", "drain"):
        sidecar_config.parse(text, path)
    elif kind == "witness":
        from central.witness import config as witness_config  # needs the extra [central]

        witness_config.parse(text.encode(), path)
    elif kind == "mirror":
        from central.policy_mirror import config as mirror_config  # as above

        mirror_config.parse(text.encode(), path)
    else:
        from central import config as central_config

        central_config.parse(text.encode(), path, "issuer" if kind == "issuer" else None)
