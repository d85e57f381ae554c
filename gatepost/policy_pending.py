"""``gatepost policy pending``, ``approve``, ``reject``: what waits for another person.

Owns: the command lines and the list of changes. Refuses: judging them. What was shown is what is
approved: the digest of the bundle in force goes along, and the service refuses if it is another by
then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
import msgspec

from central.policy_service.catalogue import Published
from central.policy_service.proposals import Proposal, Verdict
from gatepost.policy_service import ScopeClient, scope_option, service_options
from gatepost.terminal import plain


@click.command()
@service_options
@scope_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each proposal.")
def pending(central: str, token_file: Path, scope: str, as_json: bool) -> None:
    """Show what waits for approval, and what it would change."""
    found = ScopeClient(central, token_file, scope).read("pending", list[Proposal])
    for proposal in found:
        if as_json:
            click.echo(msgspec.json.encode(proposal))
        else:
            show(proposal)
    if not found and not as_json:
        click.echo("nothing waits")


def show(proposal: Proposal) -> None:
    """Who wants what, and each change."""
    base = "nothing" if proposal.base_version is None else f"version {proposal.base_version}"
    said = f"version {proposal.version} of {proposal.who}, {proposal.time}; in force is {base}"
    if proposal.percent is not None:
        said += f"; a canary for {proposal.percent} %"
    click.echo(plain(said))
    click.echo(plain(f"  {proposal.digest}"))
    for change in proposal.changes:
        click.echo(plain(f"  {change.verdict:9}  {change.what}: {change.said}"))


@click.command()
@service_options
@scope_option
@click.argument("digest")
@click.option("--yes", is_flag=True, help="Do not ask, after the changes were shown.")
def approve(central: str, token_file: Path, scope: str, digest: str, yes: bool) -> None:
    """Put in force what waits under DIGEST (or its beginning), as another person than its
    publisher."""
    client = ScopeClient(central, token_file, scope)
    proposal = _proposal(client, digest)
    show(proposal)
    if not yes:
        click.confirm("approve?", abort=True)
    _judge(client, proposal, "approve")
    share = "" if proposal.percent is None else f" to {proposal.percent} %"
    click.echo(plain(f"{scope}: version {proposal.version} is published{share}"))


@click.command()
@service_options
@scope_option
@click.argument("digest")
def reject(central: str, token_file: Path, scope: str, digest: str) -> None:
    """Drop what waits under DIGEST (or its beginning); its version can be used again."""
    client = ScopeClient(central, token_file, scope)
    proposal = _proposal(client, digest)
    _judge(client, proposal, "reject")
    click.echo(plain(f"{scope}: version {proposal.version} of {proposal.who} is dropped"))


def _proposal(client: ScopeClient, digest: str) -> Proposal:
    wanted = digest if digest.startswith("sha256:") else f"sha256:{digest}"
    found = [one for one in client.read("pending", list[Proposal]) if one.digest.startswith(wanted)]
    if len(found) != 1:
        what = "nothing" if not found else f"{len(found)} bundles"
        raise click.ClickException(plain(f"{what} of digest {wanted} in {client.scope} waits"))
    return found[0]


def _judge(client: ScopeClient, proposal: Proposal, said: Literal["approve", "reject"]) -> None:
    verdict = Verdict(digest=proposal.digest, base=proposal.base, verdict=said)
    client.post("approvals", msgspec.json.encode(verdict), Published)
