"""``gatepost init``: a commented daemon configuration to start from.

Owns: the text. Refuses: overwriting a file, and keys; the text names the files to put them in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec

from gatepost.faults import InputOutputError
from gatepost.home import toml_text
from gateway.errors import ConfigInvalid
from sidecar.config import parse

NO_ROOT: Final = "sha256:" + "0" * 64
"""Stands there until the owner of the root has told its fingerprint; nothing verifies with it."""

TEMPLATE: Final = """\
# Gatepost daemon. `gatepost check-config {name}` checks this file; every setting stands in
# docs/configuration.md. Unknown settings are refused.

tenant = "{tenant}"           # whose records these are; the issuer refuses others
region = "{region}"
topology = "sidecar"          # sidecar | inline | regional | tenant

[central]                     # policy service, issuer and record store
url = "{central}"
# ca_file = "/etc/gatepost/central-ca.pem"

[trust]                       # the one pinned thing: SHA-256 of root 1's payload
root_sha256 = "{root}"

[enrolment]                   # how this machine proves what it is
host_key_file = "{state}/host.key"            # drawn at the first start, 0600
one_time_token_file = "{state}/one-time.token"  # registers it; delete it afterwards

[policy]
scope = "{tenant}/prod/{region}"
directory = "{state}/policy"
refresh_seconds_min = 30
refresh_seconds_max = 60

[spool]                       # records wait here for the store
directory = "{state}/spool"
spool_bytes_max = 268435456   # below 0.8 of the volume's size limit

[listen]
tcp_port = 4141               # 127.0.0.1 and ::1
admin_socket = "{run}/admin/admin.sock"
probe_port = 4142

[[listen.unix]]
path = "{run}/agent/agent.sock"
agent = "{agent}"

[[listen.agents]]             # on TCP the kernel says which uid is calling
uid = {uid}
agent = "{agent}"

[[identity.agents]]
id = "{agent}"

# Delegation tokens: who a call is for. Without an issuer every call has assurance "workload".
# [identity]
# audience = ["gatepost"]
# [[identity.issuers]]
# id = "corp"
# issuer = "https://idp.example.com"
# kind = "delegation"         # act.sub must be the agent
# jwks_file = "{state}/corp-jwks.json"
# algorithms = ["ES256"]

[[credentials]]               # the company's own key; agents never see it
id = "openai"
file = "{state}/openai.key"
style = "bearer"

[[upstreams]]
name = "openai-us"
url = "https://api.openai.com"
region = "us"
credential = "openai"

[[routes]]                    # OPENAI_BASE_URL=http://127.0.0.1:4141/openai/v1
name = "openai"
prefix = "/openai"
protocol = "openai"
upstreams = ["openai-us"]
"""


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("sidecar.toml"))
@click.option("--tenant", default="acme", show_default=True)
@click.option("--region", default="eu-west-1", show_default=True)
@click.option("--agent", default="my-agent", show_default=True)
@click.option("--uid", default=1000, show_default=True, help="Uid that the agent runs as.")
@click.option("--central", default="http://127.0.0.1:4143", show_default=True)
@click.option("--root", default=NO_ROOT, help="Fingerprint of root 1.")
@click.option("--state", default="/var/lib/gatepost", show_default=True)
@click.option("--runtime", default="/run/gatepost", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of words.")
def init(
    path: Path,
    tenant: str,
    region: str,
    agent: str,
    uid: int,
    central: str,
    root: str,
    state: str,
    runtime: str,
    as_json: bool,
) -> None:
    """Write a commented configuration to PATH."""
    words = {"name": path.name, "tenant": tenant, "region": region, "agent": agent}
    words |= {"central": central, "root": root, "state": state, "run": runtime}
    try:
        escaped = {name: toml_text(word)[1:-1] for name, word in words.items()}
        text = TEMPLATE.format(uid=uid, **escaped)
        parse(text, str(path))
    except (ConfigInvalid, UnicodeEncodeError) as error:
        raise click.UsageError(f"an option does not fit: {error}") from error
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputOutputError(f"{path} exists; choose another name or remove it") from error
    except OSError as error:
        raise InputOutputError(f"{path}: {error.strerror}") from error
    if as_json:
        click.echo(msgspec.json.encode({"written": str(path), "root_missing": root == NO_ROOT}))
        return
    click.echo(f"wrote {path}; put the files it names in place, then: gatepost check-config {path}")
    if root == NO_ROOT:
        click.echo("trust.root_sha256 is a placeholder: ask the owner of the root for it")
