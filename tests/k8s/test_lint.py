"""Each rule of the lint finds the one thing that is wrong with a pod that is otherwise right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.k8s import lint, pod_security, sidecar_lint
from tests.k8s.renders import Manifest, documents
from tests.k8s.shapes import Workload, amount, workloads
from tests.k8s.test_manifests import configurations

Break = Callable[[dict[str, Any]], object]
"""Changes a pod's spec in place."""


def _broken(directory: str, spoil: Break) -> list[Manifest]:
    found = documents(directory)
    holder = next(one for one in found if "gatepost/sidecar" in one["metadata"].get("labels", {}))
    spoil(holder["spec"]["template"]["spec"])
    return found


def _workload(found: list[Manifest]) -> Workload:
    return next(one for one in workloads(found) if sidecar_lint.has_gateway(one))


def _gateway(pod: dict[str, Any]) -> dict[str, Any]:
    gateway: dict[str, Any] = next(
        one for one in pod["initContainers"] if one["name"] == "gatepost"
    )
    return gateway


def _agent(pod: dict[str, Any]) -> dict[str, Any]:
    agent: dict[str, Any] = pod["containers"][0]
    return agent


def _volume(pod: dict[str, Any], name: str) -> dict[str, Any]:
    volume: dict[str, Any] = next(one for one in pod["volumes"] if one["name"] == name)
    return volume


ANY_POD: list[tuple[str, Break]] = [
    ("two containers have one name", lambda p: _agent(p).update(name="gatepost")),
    ("two volumes have one name", lambda p: p["volumes"].append(p["volumes"][0])),
    ("is mounted and not there", lambda p: p["volumes"].pop(0)),
    ("nobody mounts it", lambda p: _gateway(p)["volumeMounts"].pop(0)),
    ("could fill the node", lambda p: _volume(p, "gatepost-state")["emptyDir"].clear()),
    ("shares a namespace", lambda p: p.update(hostNetwork=True)),
    ("shares a namespace", lambda p: p.update(shareProcessNamespace=True)),
    ("no seccomp profile", lambda p: p["securityContext"].pop("seccompProfile")),
    ("neither tag nor digest", lambda p: _agent(p).update(image="registry.example:5000/bot")),
    ("no security context", lambda p: _agent(p).pop("securityContext")),
    ("states no user", lambda p: _agent(p)["securityContext"].pop("runAsUser")),
    (
        "may gain privileges",
        lambda p: _agent(p)["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    ("keeps capabilities", lambda p: _agent(p)["securityContext"].pop("capabilities")),
    (
        "two mounts have one path",
        lambda p: _agent(p)["volumeMounts"].append(_agent(p)["volumeMounts"][0]),
    ),
    ("which nobody states", lambda p: _gateway(p).pop("ports")),
    ("is for init containers", lambda p: _agent(p).update(restartPolicy="Always")),
    ("requests no cpu", lambda p: _agent(p)["resources"]["requests"].pop("cpu")),
    ("has no memory limit", lambda p: _agent(p)["resources"]["limits"].pop("memory")),
    (
        "requests more memory",
        lambda p: _agent(p)["resources"]["requests"].update(memory="513Mi"),
    ),
]


@pytest.mark.parametrize(("wrong", "spoil"), ANY_POD)
def test_a_pod_that_would_not_work_is_found(wrong: str, spoil: Break) -> None:
    found = lint.findings(_workload(_broken("examples/deployment", spoil)))
    assert any(wrong in text for text in found), found


def _security(member: str, value: object) -> Break:
    return lambda p: _gateway(p)["securityContext"].update({member: value})


WITH_GATEWAY: list[tuple[str, Break]] = [
    ("not the first init container", lambda p: _gateway(p).pop("restartPolicy")),
    (
        "not the first init container",
        lambda p: p["initContainers"].insert(0, {"name": "early", "image": "early:1"}),
    ),
    (
        "start before the egress lock",
        lambda p: p["initContainers"].append({"name": "gatepost-egress-lock", "image": "l:1"}),
    ),
    ("does not run as 65532", _security("runAsUser", 1000)),
    ("can write to its own image", _security("readOnlyRootFilesystem", False)),
    ("open the spool", lambda p: p["securityContext"].pop("fsGroupChangePolicy")),
    ("no room for the bodies", lambda p: _gateway(p)["resources"]["limits"].update(memory="256Mi")),
    (
        "runs as the gateway's user",
        lambda p: _agent(p)["securityContext"].update(runAsUser=65_532),
    ),
    ("can replace the socket", lambda p: _agent(p)["volumeMounts"][0].update(readOnly=False)),
    (
        "mounts gatepost-spool",
        lambda p: _agent(p)["volumeMounts"].append({"name": "gatepost-spool", "mountPath": "/s"}),
    ),
    (
        "not below 0.8",
        lambda p: _volume(p, "gatepost-spool")["emptyDir"].update(sizeLimit="320Mi"),
    ),
    ("that the gateway can write", lambda p: _gateway(p)["volumeMounts"].pop()),
    ("is not on a mount of the gateway", lambda p: _gateway(p)["volumeMounts"].pop(0)),
    (
        "lies on the mount itself",
        lambda p: _gateway(p)["volumeMounts"].append(
            {"name": "gatepost-run", "mountPath": "/run/gatepost/admin"}
        ),
    ),
    (
        "readiness probe does not ask",
        lambda p: _gateway(p)["readinessProbe"]["httpGet"].update(path="/livez"),
    ),
    ("liveness probe does not ask", lambda p: _gateway(p).pop("livenessProbe")),
    ("ends before the daemon's", lambda p: p.update(terminationGracePeriodSeconds=45)),
    ("nobody is user 1000", lambda p: _agent(p)["securityContext"].update(runAsUser=1000)),
    ("leads to no route", lambda p: _agent(p)["env"][0].update(value="http://127.0.0.1:4141/v1")),
    ("no base URL", lambda p: _agent(p)["env"].pop(0)),
    ("no_proxy does not keep", lambda p: _agent(p)["env"].pop()),
    ("there is no container `agent`", lambda p: _agent(p).update(name="bot")),
]


@pytest.mark.parametrize(("wrong", "spoil"), WITH_GATEWAY)
def test_a_gateway_in_the_wrong_place_is_found(wrong: str, spoil: Break) -> None:
    found = _broken("examples/deployment", spoil)
    texts = sidecar_lint.findings(_workload(found), configurations(found)["sidecar.toml"])
    assert any(wrong in text for text in texts), texts


def test_a_quota_too_large_for_its_claim_is_found() -> None:
    found = documents("examples/statefulset")
    holder = next(one for one in found if one["kind"] == "StatefulSet")
    claim = holder["spec"]["volumeClaimTemplates"][0]
    claim["spec"]["resources"]["requests"]["storage"] = "300Mi"
    texts = sidecar_lint.findings(_workload(found), configurations(found)["sidecar.toml"])
    assert [text for text in texts if "not below 0.8" in text] != []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p.update(restartPolicy="Sometimes"),
        lambda p: _agent(p).update(imagePullPolicy="Newer"),
        lambda p: _agent(p)["resources"]["limits"].update(memory="512MiB"),
        lambda p: _volume(p, "gatepost-run")["emptyDir"].update(medium="Disk"),
        lambda p: _gateway(p)["ports"][0].update(containerPort=70_000),
        lambda p: _gateway(p).update(restartPolicy="OnFailure"),
    ],
)
def test_a_value_that_no_enumeration_has_is_refused(spoil: Break) -> None:
    with pytest.raises(msgspec.ValidationError):
        _workload(_broken("examples/deployment", spoil))


BREACHES: list[tuple[str, str, Break]] = [
    ("baseline", "host namespaces", lambda p: p.update(hostPID=True)),
    (
        "baseline",
        "host path /var/log",
        lambda p: p["volumes"].append({"name": "logs", "hostPath": {"path": "/var/log"}}),
    ),
    ("baseline", "privileged", _security("privileged", True)),
    ("baseline", "capability NET_ADMIN", _security("capabilities", {"add": ["NET_ADMIN"]})),
    ("baseline", "seccomp unconfined", _security("seccompProfile", {"type": "Unconfined"})),
    (
        "restricted",
        "allowPrivilegeEscalation is not false",
        _security("allowPrivilegeEscalation", True),
    ),
    ("restricted", "runAsNonRoot is not true", _security("runAsNonRoot", False)),
    ("restricted", "runs as root", _security("runAsUser", 0)),
    ("restricted", "capabilities are not dropped", _security("capabilities", {})),
    (
        "restricted",
        "adds capability CHOWN",
        _security("capabilities", {"drop": ["ALL"], "add": ["CHOWN"]}),
    ),
    ("restricted", "no seccomp profile", lambda p: _no_seccomp(p)),
]


def _no_seccomp(pod: dict[str, Any]) -> None:
    pod["securityContext"].pop("seccompProfile")
    _gateway(pod)["securityContext"].pop("seccompProfile")


@pytest.mark.parametrize(("level", "wrong", "spoil"), BREACHES)
def test_what_a_pod_security_level_refuses_is_found(
    level: pod_security.Level, wrong: str, spoil: Break
) -> None:
    pod = _workload(_broken("examples/deployment", spoil)).pod
    found = pod_security.breaches(pod, level)
    assert any(wrong in text for text in found), found


def test_quantities_are_amounts() -> None:
    assert [amount(text) for text in ("256Mi", "1Gi", "1.5k")] == [2**28, 2**30, 1500]
    assert amount("50m") * 20 == 1
    with pytest.raises(ValueError, match="not a quantity"):
        amount("1 Gi")
