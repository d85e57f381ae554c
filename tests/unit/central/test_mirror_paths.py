"""A mirror's paths: each of the policy service's, served or refused with the name of who can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.testing import TestClient

from central.policy_mirror import app
from central.policy_mirror.config import MirrorConfig, MirroredScope, check, parse
from central.policy_service import api as policy_api
from gateway.errors import ConfigInvalid
from tests.unit.central.deployment import HandClock
from tests.unit.policy_cache import laid_out
from tests.unit.policy_cache.policy_world import SCOPE, T0, Publisher
from tests.unit.policy_cache.test_web_directory import web_server

ABOVE = f"/v1/policy/{SCOPE.replace('/', '%2F')}"
NOWHERE = "http://127.0.0.1:1"
FINGERPRINT = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient[Litestar]]:
    """A mirror whose upstream was never there."""
    config = MirrorConfig(
        mirror_of=NOWHERE,
        root_fingerprint=FINGERPRINT,
        scopes=[MirroredScope(scope=SCOPE)],
        data_directory=str(tmp_path_factory.mktemp("mirror")),
    )
    with TestClient(app.build(config)) as client:
        yield client


def _places(made: Litestar) -> set[tuple[str, str]]:
    return {
        (str(method), route.path)
        for route in made.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        if method not in ("OPTIONS", "HEAD") and not route.path.startswith("/schema")
    }


SERVED = {
    ("GET", "/v1/policy/{policy_scope:str}/head"),
    ("GET", "/v1/policy/root/{version:int}"),
    ("GET", "/v1/policy/blobs/sha256/{digest:str}"),
    ("POST", "/v1/policy/{policy_scope:str}/reports"),
}
OF_THE_SERVICE = {
    (str(method), path)
    for handler in policy_api.HANDLERS
    for path in handler.paths
    for method in handler.http_methods
    if method not in ("OPTIONS", "HEAD")
}


def test_every_path_of_the_policy_service_is_one_of_a_mirror(empty: TestClient[Litestar]) -> None:
    assert _places(empty.app) == OF_THE_SERVICE | {("GET", "/livez"), ("GET", "/readyz")}
    described = empty.get("/schema/openapi.json").json()["paths"]
    assert len(described) == 3, "and only what it serves itself is described"


@pytest.mark.parametrize(("method", "path"), sorted(OF_THE_SERVICE - SERVED))
def test_what_takes_a_key_or_a_person_is_refused_and_the_upstream_named(
    empty: TestClient[Litestar], method: str, path: str
) -> None:
    answer = empty.request(method, path.replace("/v1/policy/{policy_scope:str}", ABOVE))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (421, "mirror_only")
    assert NOWHERE in error["message"]
    assert not error["retryable"]


def test_a_mirror_that_has_seen_nothing_is_alive_and_not_ready(
    empty: TestClient[Litestar],
) -> None:
    assert empty.get("/livez").status_code == 200
    ready = empty.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    for path in (f"{ABOVE}/head", "/v1/policy/root/1"):
        answer = empty.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "mirror_empty")
    assert empty.get("/v1/policy/other/head").status_code == 404


def test_a_report_while_the_upstream_is_away_may_be_sent_again(
    empty: TestClient[Litestar],
) -> None:
    answer = empty.post(f"{ABOVE}/reports", content=b"{}", headers={"Gatepost-Signed": "x"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "mirror_unreachable")
    assert error["retryable"]
    unsigned = empty.post(f"{ABOVE}/reports", content=b"{}")
    assert unsigned.json()["error"]["code"] == "request_unsigned"


def test_files_of_a_web_server_are_served_with_tags_and_long_polls(tmp_path: Path) -> None:
    publisher = Publisher()
    bundle = publisher.bundle(1)
    files = laid_out.nested(publisher, bundle, publisher.head(bundle))
    laid_out.write(tmp_path / "web", files)
    with web_server(tmp_path / "web") as url:
        config = MirrorConfig(
            root_fingerprint=publisher.fingerprint,
            scopes=[MirroredScope(scope=SCOPE, files_url=url)],
            data_directory=str(tmp_path / "data"),
            refresh_seconds_min=0.1,
            refresh_seconds_max=0.1,
        )
        clock = HandClock(T0)
        with TestClient(app.build(config, clock=clock)) as client:
            _until_ready(client)
            head = client.get(f"{ABOVE}/head")
            assert (head.content, head.headers["vary"]) == (files["head"], "Prefer")
            tag = {"If-None-Match": head.headers["etag"]}
            assert client.get(f"{ABOVE}/head", headers=tag).status_code == 304
            path = f"blobs/sha256/{bundle.digest[7:]}"
            assert client.get(f"/v1/policy/{path}").content == files[path]
            assert client.get("/v1/policy/root/1").content == files["root/1"]
            laid_out.write(
                tmp_path / "web", laid_out.nested(publisher, bundle, publisher.head(bundle, 2))
            )
            waited = client.get(f"{ABOVE}/head", headers={**tag, "Prefer": "wait=50"})
            assert (waited.status_code, waited.headers["preference-applied"]) == (200, "wait=50")
            taken = client.post(f"{ABOVE}/reports", content=b"{}")
            assert taken.json()["error"]["code"] == "mirror_only", "files take no reports"


def _until_ready(client: TestClient[Litestar]) -> None:
    for _ in range(10_000):
        if client.get("/readyz").status_code == 200:
            return
    pytest.fail("it never became ready")


def test_a_scope_must_come_from_somewhere_and_stand_there_once(tmp_path: Path) -> None:
    text = f'root_fingerprint = "{FINGERPRINT}"\n[[scopes]]\nscope = "acme/prod"\n'.encode()
    place = str(tmp_path / "mirror.toml")
    with pytest.raises(ConfigInvalid, match="--mirror-of"):
        parse(text, place)
    config = parse(text, place, "http://127.0.0.1:9")
    assert config.mirror_of == "http://127.0.0.1:9"
    check(config)
    with pytest.raises(ConfigInvalid, match="twice"):
        parse(text + b'[[scopes]]\nscope = "acme/prod"\n', place, "http://127.0.0.1:9")
    with pytest.raises(ConfigInvalid, match="fingerprint"):
        parse(text.replace(b"sha256:0", b"sha256:X"), place, "http://127.0.0.1:9")
