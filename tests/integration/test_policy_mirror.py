"""A mirror between policy service and daemon: at once, with a dead upstream, and a tampered one."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from gatepost.home import SCOPE, toml_text
from gatepost.process import Child, Children
from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import MODEL, rules
from tests.integration.system import Central, Edit, impatient, replaced, same
from tests.integration.tampering import tampering
from tests.integration.test_policy_fleet import fleet
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration

_STRICTER = rules(grants=[{"id": "models", "actions": ["models"]}])
_PATIENT = rules(uncertified_seconds_max=900)
_SELDOM = replaced(refresh_seconds_min="1800", refresh_seconds_max="1800")


@contextmanager
def mirroring(
    directory: Path, services: Central, *, upstream: str | None = None, seconds: float = 0.2
) -> Iterator[str]:
    """The URL of a mirror of ``services`` (or what stands at ``upstream`` before them)."""
    directory.mkdir()
    config = directory / "mirror.toml"
    config.write_text(
        f'root_fingerprint = "{services.home.root_fingerprint}"\nport = 0\n'
        f"data_directory = {toml_text(directory / 'data')}\n"
        f"refresh_seconds_min = {seconds}\nrefresh_seconds_max = {seconds}\n"
        f'[[scopes]]\nscope = "{SCOPE}"\n'
    )
    arguments = ["central", "policy", "--config", str(config)]
    with Children(directory) as children:
        child: Child = children.start(
            "mirror", "gatepost", [*arguments, "--mirror-of", upstream or services.url]
        )
        url = str(child.wait_ready()["url"])
        eventually(lambda: _readiness(url)[0] == 200, "the mirror's first head")
        yield url


def _readiness(url: str) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return answer.status, msgspec.json.decode(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, msgspec.json.decode(error.read())


def _behind(url: str, services: Central, edit: Edit = same) -> Edit:
    """Policy from the mirror, all else from the central services."""

    def change(text: str) -> str:
        apart = f'store_url = "{services.url}"\nissuer_url = "{services.url}"\n'
        line = f'url = "{services.url}"\n'
        assert line in text
        return edit(text.replace(line, f'url = "{url}"\n{apart}', 1))

    return change


def test_a_publication_and_a_lock_pass_a_mirror_at_once_and_reports_go_back(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    """Both long polls bring them; either timer would ask in half an hour."""
    services = make_central()
    with mirroring(tmp_path / "m", services, seconds=1800) as url:
        daemon = make_site(_behind(url, services, _SELDOM), services).start()
        assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
        version = services.publish(_STRICTER)
        daemon.wait_status(lambda status: status.policy.version == version, "the next version", 8)
        assert raw.ask(daemon.port, raw.chat_request(MODEL)).code == "denied"
        eventually(lambda: fleet(services).current == 1, "the report, through the mirror")
        services.lock("an incident")
        daemon.wait_status(lambda status: status.policy.lock_reason == "an incident", "a lock", 8)
        services.unlock()
        daemon.wait_status(lambda status: status.ready, "the end of the lock", 8)
        assert daemon.stop() == 0


def test_a_region_goes_on_and_starts_daemons_without_the_upstream_until_the_head_expires(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central(
        text=_PATIENT, edit=replaced(resign_seconds="1\nhead_lifetime_seconds = 25")
    )
    with mirroring(tmp_path / "m", services) as url:
        first = make_site(_behind(url, services, impatient), services).start()
        assert raw.ask(first.port, raw.chat_request(MODEL)).status == 200
        services.kill()
        assert raw.ask(first.port, raw.chat_request(MODEL)).status == 200
        second = make_site(_behind(url, services, impatient), services).start()
        second.wait_status(lambda status: status.policy.state != "empty", "policy by the mirror")
        assert raw.ask(second.port, raw.chat_request(MODEL)).status == 200
        for daemon in (first, second):
            daemon.wait_status(lambda status: status.policy.state == "expired", "its expiry", 40)
            assert raw.ask(daemon.port, raw.chat_request(MODEL)).code == "policy_expired"
        assert _readiness(url)[0] == 200, "what it holds it serves; daemons judge"
        services.start(replaced(resign_seconds="1\nhead_lifetime_seconds = 25"))
        second.wait_status(lambda status: status.policy.state == "fresh", "a fresh head")


def test_what_a_tampering_upstream_hands_out_does_not_pass_a_mirror(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    good = services.version
    with (
        tampering(services) as proxy,
        mirroring(tmp_path / "m", services, upstream=proxy.url) as url,
    ):
        daemon = make_site(_behind(url, services), services).start()
        proxy.bundle = services.signed(rules(show_rule_ids=True), good + 1).envelope
        services.publish(_STRICTER)

        def refusals() -> bool:
            return "rejected_digest" in str(_readiness(url)[1]["scopes"]) or (
                "rejected_length" in str(_readiness(url)[1]["scopes"])
            )

        eventually(refusals, "a refused bundle")
        assert daemon.refresh_policy() in ("unchanged", "not_modified")
        status = daemon.status()
        assert status.policy.version == good
        assert not any(name.startswith("rejected_") for name in status.policy.counters)
        assert "policy_rejected" in (tmp_path / "m" / "mirror.log").read_text()
        proxy.bundle = None
        daemon.wait_status(lambda status: status.policy.version == good + 1, "the real bundle")
        assert daemon.stop() == 0
