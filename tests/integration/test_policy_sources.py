"""A daemon whose policy comes from files: on a web server, and from a mounted directory."""

from __future__ import annotations

import http.client
import urllib.request
from pathlib import Path

import msgspec
import pytest

from gatepost.home import SCOPE
from gateway import documents, seal
from gateway.documents import PolicyHead
from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import MODEL, rules
from tests.integration.system import Central, Edit
from tests.unit.policy_cache import laid_out
from tests.unit.policy_cache.test_web_directory import web_server

pytestmark = pytest.mark.integration

_STRICTER = rules(grants=[{"id": "models", "actions": ["models"]}])


def _fetched(services: Central, path: str) -> bytes:
    with urllib.request.urlopen(f"{services.url}/v1/policy/{path}", timeout=10) as answer:
        return bytes(answer.read())


def _files(services: Central, *, flat: bool) -> dict[str, bytes]:
    """What the policy service serves now, as files."""
    head = _fetched(services, f"{SCOPE.replace('/', '%2F')}/head")
    payload = seal.unbase64(
        msgspec.json.decode(head, type=documents.Envelope).payload, "unreadable"
    )
    digest = documents.decode_exact(payload, PolicyHead).bundle.digest.removeprefix("sha256:")
    bundle, root = _fetched(services, f"blobs/sha256/{digest}"), _fetched(services, "root/1")
    if flat:
        return {"root-1.json": root, "head.json": head, f"sha256-{digest}.json": bundle}
    return {"root/1": root, "head": head, f"blobs/sha256/{digest}": bundle}


def _from(setting: str, seconds: float) -> Edit:
    """Policy from ``setting``, asked for every ``seconds``."""

    def edit(text: str) -> str:
        lines = text.replace("[policy]\n", f"[policy]\n{setting}\n").splitlines(True)
        kept = [line for line in lines if not line.startswith("refresh_seconds_")]
        spread = f"refresh_seconds_min = {seconds}\nrefresh_seconds_max = {seconds}\n"
        return "".join(kept).replace("[policy]\n", f"[policy]\n{spread}")

    return edit


def test_a_config_map_is_followed_at_once_and_its_lock_cuts_streams(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services, place = make_central(), tmp_path / "mount"
    laid_out.mount(place, _files(services, flat=True), 1)
    # The timer would read again in an hour: whatever arrives came by a hint.
    edit = _from(f'mounted_directory = "{place}"', 3_600)
    daemon = make_site(edit, services).start()
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    version = services.publish(_STRICTER)
    laid_out.mount(place, _files(services, flat=True), 2)
    daemon.wait_status(lambda status: status.policy.version == version, "the next version")
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).code == "denied"
    version = services.publish(rules())
    laid_out.mount(place, _files(services, flat=True), 3)
    daemon.wait_status(lambda status: status.policy.version == version, "the old rules again")
    with raw.RawConnection(daemon.port) as connection:
        connection.send(raw.chat_request("fault-stall-stream", stream=True))
        response = connection.begin_reply()
        services.lock("an incident")
        laid_out.mount(place, _files(services, flat=True), 4)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
    decision_id = response.headers["x-gatepost-decision-id"]
    assert services.records.completion(decision_id)["outcome"] == "response_blocked"
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).code == "policy_locked"
    assert daemon.stop() == 0


def test_files_on_a_web_server_serve_a_daemon(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services, place = make_central(), tmp_path / "web"
    laid_out.write(place / "scope", _files(services, flat=False))
    with web_server(place) as url:
        daemon = make_site(_from(f'files_url = "{url}/scope"', 0.2), services).start()
        assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
        version = services.publish(_STRICTER)
        laid_out.write(place / "scope", _files(services, flat=False))
        daemon.wait_status(lambda status: status.policy.version == version, "the next version")
        assert raw.ask(daemon.port, raw.chat_request(MODEL)).code == "denied"
        assert daemon.stop() == 0
