"""A canary through running daemons: who takes it, promoting, withdrawing, exporting, refusing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.home import SCOPE
from gateway import canary
from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import MODEL, rules
from tests.integration.system import Central, Daemon, Edit, Site
from tests.unit.gatepost.running import Ended, gatepost

pytestmark = pytest.mark.integration

PERCENT = 30
_STRICTER = rules(grants=[{"id": "models", "actions": ["models"]}])
_NAMES = [f"placed-{number}" for number in range(100)]
TAKES = [name for name in _NAMES if canary.place_of(SCOPE, name) < PERCENT]
TAKES_NONE = [name for name in _NAMES if canary.place_of(SCOPE, name) >= PERCENT]


def named(placement: str) -> Edit:
    return lambda text: text.replace("[policy]\n", f'[policy]\nplacement = "{placement}"\n')


def command(services: Central, name: str, *more: object) -> Ended:
    done = gatepost(
        *("policy", name, *more, "--central", services.url),
        *("--token-file", services.home.operator_token),
    )
    assert done.code == 0, done.err
    return done


def begin(services: Central, text: bytes, place: Path) -> int:
    """A canary of ``text``; its version."""
    version = services.version + 1
    bundle = place / f"bundle-{version}.json"
    bundle.write_bytes(services.signed(text, version).envelope)
    done = command(services, "publish", bundle, "--canary", PERCENT)
    assert f"offers version {version} to {PERCENT} %" in done.out
    return version


def reaches(daemon: Daemon, version: int) -> None:
    daemon.wait_status(lambda status: status.policy.version == version, f"version {version}")


def test_a_canary_is_taken_by_those_in_its_share_kept_over_a_restart_and_promoted_to_all(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    first = services.version
    sites: list[Site] = [make_site(named(n), services) for n in (TAKES[0], *TAKES_NONE[:2])]
    taker, *others = [site.start() for site in sites]
    version = begin(services, _STRICTER, tmp_path)
    reaches(taker, version)
    assert raw.ask(taker.port, raw.chat_request(MODEL)).code == "denied"
    for other in others:
        other.refresh_policy()
        assert other.status().policy.version == first
        assert raw.ask(other.port, raw.chat_request(MODEL)).status == 200
    taker.stop()
    taker = sites[0].start()
    assert taker.status().policy.version == version
    shown = command(services, "canary", "--scope", SCOPE, "--percent", 0)
    assert "0 %" in shown.out
    reaches(taker, first)
    command(services, "canary", "--scope", SCOPE, "--percent", PERCENT)
    reaches(taker, version)
    command(services, "promote", "--scope", SCOPE)
    for daemon in (taker, *others):
        reaches(daemon, version)


def test_a_withdrawn_canary_leaves_every_daemon_and_an_export_carries_a_running_one(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services, web = make_central(), tmp_path / "web"
    first = services.version
    taker = make_site(named(TAKES[0]), services).start()
    version = begin(services, _STRICTER, tmp_path)
    reaches(taker, version)
    done = gatepost(
        *("policy", "export", web, "--central", services.url, "--scope", SCOPE),
        *("--root", services.home.root_fingerprint),
    )
    assert done.code == 0, done.err
    assert len(list((web / "blobs" / "sha256").iterdir())) == 2
    command(services, "withdraw", "--scope", SCOPE)
    reaches(taker, first)
    assert raw.ask(taker.port, raw.chat_request(MODEL)).status == 200
