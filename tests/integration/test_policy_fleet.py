"""What operators see of running daemons' policy, and waiting until a version has reached them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from central.policy_service.fleet import Fleet
from gatepost.home import SCOPE, TENANT
from tests.integration import system
from tests.integration.conftest import MakeSite
from tests.integration.rules import rules
from tests.integration.system import Central, FarEnds
from tests.integration.waiting import eventually
from tests.unit.gatepost.running import gatepost

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def services(base: Path, ends: FarEnds) -> Iterator[Central]:
    with system.central(base / "f", ends, text=rules()) as running:
        yield running


def options(services: Central) -> tuple[str, ...]:
    return ("--central", services.url, "--token-file", str(services.home.operator_token))


def fleet(services: Central) -> Fleet:
    shown = gatepost("policy", "fleet", *options(services), "--scope", SCOPE, "--json")
    assert shown.code in (0, 1), shown.err
    return msgspec.json.decode(shown.out, type=Fleet)


def test_publishing_waits_until_the_daemon_has_it_and_the_daemon_leaves_in_order(
    services: Central, make_site: MakeSite, tmp_path: Path
) -> None:
    daemon = make_site(services=services).start()
    eventually(lambda: fleet(services).current == 1, "the first report")
    issued = services.signed(rules(show_rule_ids=True), services.version + 1)
    bundle = tmp_path / "bundle.json"
    bundle.write_bytes(issued.envelope)
    done = gatepost("policy", "publish", bundle, *options(services), "--wait", "100")
    assert done.code == 0, done.err
    services.version += 1
    assert f"1 of 1 daemons have version {services.version}" in done.out
    assert daemon.status().policy.version == services.version
    seen = fleet(services)
    assert [(one.instance, one.state, one.digest) for one in seen.instances] == [
        (daemon.instance, "fresh", issued.digest)
    ]
    assert seen.reach.instances == 1
    table = gatepost("policy", "fleet", *options(services), "--scope", SCOPE)
    assert table.code == 0
    assert daemon.instance in table.out
    daemon.stop()
    assert fleet(services).instances == []


def test_waiting_for_nobody_ends_as_not_reached(services: Central, tmp_path: Path) -> None:
    issued = services.signed(rules(), services.version + 1)
    bundle = tmp_path / "bundle.json"
    bundle.write_bytes(issued.envelope)
    wait = ("--wait", "50", "--wait-seconds", "0.2")
    done = gatepost("policy", "publish", bundle, *options(services), *wait)
    services.version += 1
    assert done.code == 1
    assert "0 of 0 daemons" in done.err


def test_a_second_operator_approves_what_the_first_published(
    base: Path, ends: FarEnds, tmp_path: Path
) -> None:
    second = tmp_path / "second.token"
    second.write_text("gpp_second")
    people = (
        f'\n[[people]]\nname = "second"\ntenant = "{TENANT}"\nrole = "operator"\n'
        f'sha256 = "{hashlib.sha256(b"gpp_second").hexdigest()}"\n'
    )
    edit = system.appended(people, system.replaced(widening_needs_approval="true"))
    with system.central(base / "a", ends, text=None, edit=edit) as services:
        first = options(services)
        bundle = tmp_path / "bundle.json"
        bundle.write_bytes(services.signed(rules(), 1).envelope)
        waits = gatepost("policy", "publish", bundle, *first)
        assert waits.code == 3, waits.err
        digest = waits.out.split()[-1]
        shown = gatepost("policy", "pending", *first, "--scope", SCOPE)
        assert "widening   grant 'chat': added" in shown.out
        alone = gatepost("policy", "approve", *first, "--scope", SCOPE, digest, "--yes")
        assert alone.code == 2
        assert "same_person" in alone.err
        other = ("--central", services.url, "--token-file", str(second), "--scope", SCOPE)
        approved = gatepost("policy", "approve", *other, digest, "--yes")
        assert approved.code == 0, approved.err
        assert gatepost("policy", "publish", bundle, *first).code == 0, "it is in force"
