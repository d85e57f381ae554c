"""Every manifest that is applied: valid for each version, and free of what the lint knows."""

from __future__ import annotations

import kubernetes_validate
import pytest

from gatepost.machine_fit import problems
from gateway.errors import ConfigInvalid
from sidecar.config import SidecarConfig, parse
from tests.k8s import lint, pod_security, sidecar_lint
from tests.k8s.renders import RENDERED, Manifest, documents
from tests.k8s.shapes import Workload, workloads

VERSIONS = ("1.29.0", "1.33.0", "1.36.0")
SINCE = {
    "MutatingAdmissionPolicy": "1.36.0",
    "MutatingAdmissionPolicyBinding": "1.36.0",
    "ValidatingAdmissionPolicy": "1.33.0",
    "ValidatingAdmissionPolicyBinding": "1.33.0",
}
"""The first of these versions that serves the kind as v1."""
CUSTOM = {"PodMonitor"}
"""Kinds of other projects: no schema of Kubernetes has them."""


def configurations(found: list[Manifest]) -> dict[str, SidecarConfig]:
    """The daemons' configurations among ``found``, by file name."""
    return {
        name: parse(text, name)
        for document in found
        if document["kind"] == "ConfigMap"
        for name, text in document.get("data", {}).items()
        if name in ("sidecar.toml", "drain.toml")
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("directory", RENDERED)
def test_every_document_is_valid_for_the_version(directory: str, version: str) -> None:
    checked = 0
    for document in documents(directory):
        kind = document["kind"]
        if kind in CUSTOM or version < SINCE.get(kind, version):
            continue
        kubernetes_validate.validate(document, version, strict=True)
        checked += 1
    assert checked > 0 or version < "1.36.0"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_field_is_not_valid(version: str) -> None:
    found = next(one for one in documents("examples/deployment") if one["kind"] == "Deployment")
    found["spec"]["template"]["spec"]["initContainers"][0]["restartPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError, match="restartPolice"):
        kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.parametrize("directory", RENDERED)
def test_the_lint_finds_nothing(directory: str) -> None:
    found = documents(directory)
    held = configurations(found)
    for workload in workloads(found):
        assert lint.findings(workload) == []
        if sidecar_lint.has_gateway(workload):
            assert sidecar_lint.findings(workload, held["sidecar.toml"]) == []


@pytest.mark.parametrize("directory", RENDERED)
def test_pods_pass_the_level_that_their_namespace_enforces_and_not_the_next(directory: str) -> None:
    """A namespace is no more open than what is in it needs."""
    found = documents(directory)
    levels: dict[str, pod_security.Level] = {
        one["metadata"]["name"]: one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for one in found
        if one["kind"] == "Namespace"
    }
    pods: dict[str, list[Workload]] = {name: [] for name in levels}
    for workload in workloads(found):
        pods[workload.namespace].append(workload)
    for name, level in levels.items():
        if not pods[name]:
            continue
        assert [text for one in pods[name] for text in pod_security.breaches(one.pod, level)] == []
        for stricter in pod_security.LEVELS[pod_security.LEVELS.index(level) + 1 :]:
            assert any(pod_security.breaches(one.pod, stricter) for one in pods[name])


@pytest.mark.parametrize("directory", RENDERED)
def test_the_daemon_takes_its_configuration(directory: str) -> None:
    """What `gatepost check-config` says of it in the pod: only what its owner has to fill in."""
    for name, config in configurations(documents(directory)).items():
        expected = {"trust.root_sha256"} | ({"routes"} if name == "drain.toml" else set())
        absent = ("/run/", "/var/", "/etc/")  # mounts of the pod, which this machine lacks
        left = {
            problem.path
            for problem in problems(config)
            if problem.fatal and not any(place in problem.message for place in absent)
        }
        assert left == expected


def test_a_daemon_with_an_unknown_setting_is_refused() -> None:
    found = next(one for one in documents("examples/job") if one["kind"] == "ConfigMap")
    text = found["data"]["sidecar.toml"].replace("tcp_port", "tpc_port")
    with pytest.raises(ConfigInvalid, match="tpc_port"):
        parse(text)


@pytest.mark.parametrize("directory", RENDERED)
def test_only_the_gateway_and_the_drainer_mount_the_token_for_enrolment(directory: str) -> None:
    for workload in workloads(documents(directory)):
        tokens = {
            volume.name
            for volume in workload.pod.volumes
            if volume.projected is not None
            for source in volume.projected.sources
            if source.service_account_token is not None
            and source.service_account_token.audience == "gatepost-enrol"
        }
        holders = {
            container.name
            for container in workload.pod.all_containers
            for mount in container.volume_mounts
            if mount.name in tokens
        }
        assert holders <= {"gatepost", "drainer"}
        assert bool(holders) == bool(tokens)
