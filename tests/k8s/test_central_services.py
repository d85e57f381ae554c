"""The central services' manifests: configurations that load, keys where they are read, custody."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from central import config as configuration
from central.config import CentralConfig
from gateway.limits import CERTIFICATE_SECONDS
from tests.k8s.renders import Manifest, documents
from tests.k8s.shapes import Container, workloads

SERVICES = [("overlays/dev", "central"), ("overlays/prod", "central"), ("overlays/prod", "issuer")]


def _config(directory: str, service: str, tmp_path: Path) -> CentralConfig:
    """Read as the command of the manifest reads it."""
    (text,) = [
        one["data"][f"{service}.toml"]
        for one in documents(directory)
        if one["kind"] == "ConfigMap" and f"{service}.toml" in one["data"]
    ]
    path = tmp_path / f"{service}.toml"
    path.write_text(text)
    return configuration.load(str(path), "issuer" if service == "issuer" else None)


def _container(directory: str, service: str) -> Container:
    return next(
        one
        for workload in workloads(documents(directory))
        for one in workload.pod.containers
        if one.name == service
    )


@pytest.mark.parametrize(("directory", "service"), SERVICES)
def test_the_configuration_loads_and_names_what_is_mounted(
    directory: str, service: str, tmp_path: Path
) -> None:
    config = _config(directory, service, tmp_path)
    container = _container(directory, service)
    assert config.issuer.certificate_seconds == CERTIFICATE_SECONDS
    mounts = {mount.mount_path: mount for mount in container.volume_mounts}
    keys = [config.keys.issuer, config.keys.log, config.keys.policy_head, config.keys.digest_wrap]
    named = {path for path in keys if path is not None}
    assert named == {path for path in mounts if path.endswith(".key")}
    # A file by itself and not behind a link: what central.keys refuses otherwise.
    assert all(mounts[path].sub_path == PurePosixPath(path).name for path in named)
    assert not mounts["/var/lib/gatepost-central"].read_only
    assert config.data_directory.startswith("/var/lib/gatepost-central/")
    assert config.roots_directory in mounts


@pytest.mark.parametrize("service", ["central", "issuer"])
def test_production_refuses_a_root_of_development(service: str, tmp_path: Path) -> None:
    config = _config("overlays/prod", service, tmp_path)
    assert config.require_offline_root
    assert config.root_fingerprint is not None
    assert not config.one_operator


@pytest.mark.parametrize("service", ["central", "issuer"])
def test_production_answers_on_loopback_behind_what_ends_tls(service: str, tmp_path: Path) -> None:
    config = _config("overlays/prod", service, tmp_path)
    assert config.host == "127.0.0.1"
    (text,) = [
        one["data"]["nginx.conf"]
        for one in documents("overlays/prod")
        if one["kind"] == "ConfigMap" and f"gatepost-{service}-tls" in one["metadata"]["name"]
    ]
    assert f"proxy_pass http://127.0.0.1:{config.listening_port};" in text


def test_production_names_every_image_by_digest() -> None:
    for workload in workloads(documents("overlays/prod")):
        for container in workload.pod.all_containers:
            assert "@sha256:" in container.image, container.name


@pytest.mark.parametrize("directory", ["overlays/dev", "overlays/prod"])
def test_a_service_selects_pods_that_serve_its_port(directory: str) -> None:
    found = documents(directory)
    services = [one for one in found if one["kind"] == "Service"]
    assert services
    for service in services:
        (workload,) = [one for one in found if _selected(one, service)]
        containers = workload["spec"]["template"]["spec"]["containers"]
        ports = {port["containerPort"] for one in containers for port in one.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def _selected(document: Manifest, service: Manifest) -> bool:
    if document["kind"] not in ("Deployment", "StatefulSet"):
        return False
    labels = document["spec"]["template"]["metadata"]["labels"]
    same = document["metadata"]["namespace"] == service["metadata"]["namespace"]
    return bool(same and service["spec"]["selector"].items() <= labels.items())


def test_the_issuer_knows_the_service_accounts_of_the_pods(tmp_path: Path) -> None:
    config = _config("overlays/prod", "issuer", tmp_path)
    known = {
        (place.namespace, place.service_account)
        for cluster in config.issuer.clusters
        for place in cluster.workloads
    }
    for directory in ("examples/deployment", "examples/job", "examples/node-spool"):
        for document in documents(directory):
            pod = document.get("spec", {}).get("template", {}).get("spec")
            if pod is not None:
                place = (document["metadata"]["namespace"], pod["serviceAccountName"])
                assert place in known
