"""The application as a process serves it: sockets, services alone, health, errors."""

from __future__ import annotations

import http.client
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from central import app as central_app
from central.config import ServiceName
from gateway import __version__
from gateway.errors import ConfigInvalid
from tests.unit.central.deployment import (
    Daemon,
    Deployment,
    bundle,
    configuration,
    root_document,
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Everything behind a real uvicorn on a free port."""
    deployment = Deployment(tmp_path_factory.mktemp("central"))
    listener = central_app.listen("127.0.0.1", 0)
    host, port = listener.getsockname()
    ready = threading.Event()
    server = central_app.Server(
        central_app.uvicorn_config(deployment.app), "", lambda _: ready.set()
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert ready.wait(10)
    yield host, port
    server.should_exit = True
    thread.join(10)
    listener.close()


def ask(
    served: tuple[str, int], method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(*served, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, answer.read(), named
    finally:
        connection.close()


def test_a_scope_is_one_segment_on_the_wire(served: tuple[str, int]) -> None:
    status, _, _ = ask(
        served,
        "POST",
        "/v1/policy/acme%2Fprod/bundles",
        bundle(1).envelope,
        Authorization="Bearer gpp_olaf",
    )
    assert status == 201
    assert ask(served, "GET", "/v1/policy/acme%2Fprod/head")[0] == 200
    assert ask(served, "GET", "/v1/policy/acme/prod/head")[0] == 404


def test_health_and_version(served: tuple[str, int]) -> None:
    for path in ("/livez", "/readyz"):
        status, _, headers = ask(served, "GET", path)
        assert (status, headers["gatepost-version"]) == (200, __version__)


def test_the_schema_is_served_without_foreign_scripts(served: tuple[str, int]) -> None:
    status, body, _ = ask(served, "GET", "/schema/openapi.json")
    assert status == 200
    described = msgspec.json.decode(body)
    assert {"/v1/records", "/v1/enrol", "/v1/policy/{policy_scope}/head"} <= set(described["paths"])


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("PUT", "/v1/records", 405, "method_not_allowed"),
        ("POST", "/v1/records", 401, "request_unsigned"),
        ("GET", "/v1/policy/root/x", 404, "not_found"),
    ],
)
def test_every_error_has_the_one_body(
    served: tuple[str, int], method: str, path: str, status: int, code: str
) -> None:
    got, body, headers = ask(served, method, path)
    error = msgspec.json.decode(body)["error"]
    assert (got, error["code"], error["type"]) == (status, code, "gatepost")
    assert set(error) == {"type", "code", "message", "retryable"}
    assert headers["gatepost-version"] == __version__
    assert "server" not in headers


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = msgspec.structs.replace(configuration(tmp_path), port=port)
        with pytest.raises(ConfigInvalid, match=f"port {port}.*in use"):
            central_app.serve(config)


@pytest.mark.parametrize(
    ("service", "own", "foreign"),
    [
        ("issuer", "/v1/enrol/nonce", "/v1/records"),
        ("policy", "/v1/policy/root/1", "/v1/enrol/nonce"),
        ("records", "/v1/records", "/v1/policy/root/1"),
    ],
)
def test_each_service_runs_alone_with_its_own_key_only(
    tmp_path: Path, service: ServiceName, own: str, foreign: str
) -> None:
    names = {"issuer": ("log", "policy_head"), "policy": ("issuer", "log"), "records": ("issuer",)}
    config = configuration(tmp_path, [service])
    keys = msgspec.structs.replace(config.keys, **dict.fromkeys(names[service]))
    deployment = Deployment(tmp_path, [service])
    central_app.build(msgspec.structs.replace(config, keys=keys))
    with deployment.http as http_client:
        method = "POST" if own.endswith("nonce") else "GET"
        assert http_client.request(method, own).status_code != 404
        assert http_client.request("GET", foreign).status_code == 404


def test_a_root_that_is_not_the_pinned_one_stops_the_start(tmp_path: Path) -> None:
    config = msgspec.structs.replace(configuration(tmp_path), root_fingerprint="sha256:" + "0" * 64)
    with pytest.raises(ConfigInvalid, match="pin"):
        central_app.build(config)


def test_a_key_that_the_root_does_not_name_stops_the_start(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    swapped = msgspec.structs.replace(config.keys, issuer=config.keys.log)
    with pytest.raises(ConfigInvalid, match=r"does not give .* the role issuer"):
        central_app.build(msgspec.structs.replace(config, keys=swapped))


def test_a_newer_database_is_not_touched(tmp_path: Path) -> None:
    config = configuration(tmp_path, ["records"])
    (tmp_path / "data").mkdir()
    connection = sqlite3.connect(tmp_path / "data" / "records.db")
    connection.execute("PRAGMA user_version=99")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigInvalid, match="schema 99"):
        central_app.build(config)


def test_what_was_answered_survives_a_restart(tmp_path: Path) -> None:
    first = Deployment(tmp_path)
    with first.http:
        daemon = Daemon(first).ready()
        daemon.ship(daemon.start())
    second = Deployment(tmp_path)
    with second.http:
        (item,) = second.get("/v1/records", instance=daemon.instance)["items"]
        assert item["kind"] == "start"


def test_services_that_require_an_offline_root_refuse_one_of_development(tmp_path: Path) -> None:
    config = msgspec.structs.replace(configuration(tmp_path), require_offline_root=True)
    with pytest.raises(ConfigInvalid, match="custody development"):
        central_app.build(config)
    offline = root_document("offline")
    Path(config.roots_directory, "1.json").write_bytes(offline.envelope)
    central_app.build(msgspec.structs.replace(config, root_fingerprint=offline.digest))
