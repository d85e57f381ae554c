"""Policy as files: written by the command, and enough for a daemon while the service is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.home import SCOPE
from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import MODEL, rules
from tests.integration.system import Central
from tests.unit.gatepost.running import Ended, gatepost
from tests.unit.policy_cache.test_web_directory import web_server

pytestmark = pytest.mark.integration

_PATIENT = rules(uncertified_seconds_max=900)
"""The issuer is away with the policy service here, and the calls are not about that."""
_STRICTER = rules(grants=[{"id": "models", "actions": ["models"]}], uncertified_seconds_max=900)


def export(services: Central, place: Path, *more: str, root: str | None = None) -> Ended:
    pinned = root or services.home.root_fingerprint
    return gatepost(
        *("policy", "export", place, "--central", services.url, "--scope", SCOPE),
        *("--root", pinned, *more),
    )


def test_a_daemon_starts_from_exported_files_while_the_service_is_away(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services, place = make_central(), tmp_path / "web"
    services.publish(_PATIENT)
    assert export(services, place / "scope").code == 0
    with web_server(place) as url:
        setting = f'[policy]\nfiles_url = "{url}/scope"\n'
        site = make_site(lambda text: text.replace("[policy]\n", setting), services)
        services.kill()
        daemon = site.start()
        assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
        services.start()
        version = services.publish(_STRICTER)
        done = export(services, place / "scope")
        assert f"names version {version}" in done.out
        daemon.wait_status(lambda status: status.policy.version == version, "the next version")
        assert raw.ask(daemon.port, raw.chat_request(MODEL)).code == "denied"


def test_an_export_verifies_and_never_goes_back(make_central: MakeCentral, tmp_path: Path) -> None:
    services, place = make_central(), tmp_path / "flat"
    stranger = export(services, place, "--layout", "flat", root="sha256:" + "0" * 64)
    assert stranger.code == 1
    assert not place.exists()
    assert export(services, place, "--layout", "flat").code == 0
    old = (place / "head.json").read_bytes()
    services.publish(_STRICTER)
    assert export(services, place, "--layout", "flat").code == 0
    new = (place / "head.json").read_bytes()
    assert new != old
    assert len(list(place.glob("sha256-*.json"))) == 2, "the old one may still be asked for"
    mirror = tmp_path / "mirror"
    (mirror / "v1/policy" / SCOPE).mkdir(parents=True)
    (mirror / "v1/policy" / SCOPE / "head").write_bytes(old)
    (mirror / "v1/policy/root").mkdir()
    (mirror / "v1/policy/root/1").write_bytes((place / "root-1.json").read_bytes())
    with web_server(mirror) as url:
        back = gatepost(
            *("policy", "export", place, "--central", url, "--scope", SCOPE, "--layout", "flat"),
            *("--root", services.home.root_fingerprint),
        )
    assert back.code == 1
    assert "rollback" in back.err
    assert (place / "head.json").read_bytes() == new
