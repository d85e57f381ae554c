"""The guard lets in what is shipped, and refuses each way around the gateway for its own reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.k8s import admitted_pods
from tests.k8s.admission import Request
from tests.k8s.renders import Manifest

GUARD = admitted_pods.policy("inject/guard")
EXAMPLES = ("examples/deployment", "examples/job", "examples/node-spool", "examples/statefulset")

Break = Callable[[dict[str, Any]], object]
"""Changes a pod's spec in place."""


def _refusals(pod: Manifest, **parameters: str) -> list[str]:
    return GUARD.refusals(Request(pod, {**admitted_pods.PARAMETERS, **parameters}))


@pytest.mark.parametrize("directory", EXAMPLES)
def test_the_shipped_pods_pass(directory: str) -> None:
    assert _refusals(admitted_pods.from_example(directory)) == []


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


def _other(**members: Any) -> dict[str, Any]:
    """A container that the guard has nothing against, but for ``members``."""
    context = {
        "runAsUser": 10002,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    return {"name": "other", "image": "other:1", "securityContext": context, **members}


def _context(**members: Any) -> Break:
    return lambda p: _agent(p)["securityContext"].update(members)


def _gateway_context(**members: Any) -> Break:
    return lambda p: _gateway(p)["securityContext"].update(members)


def _debug(**members: Any) -> Break:
    return lambda p: p.update(ephemeralContainers=[_other(name="debug") | members])


def _mounts(name: str, **members: Any) -> Break:
    mount = {"name": name, "mountPath": "/there", **members}
    return lambda p: _agent(p)["volumeMounts"].append(mount)


def _adds_volume(**source: Any) -> Break:
    return lambda p: p["volumes"].append({"name": "mine", **source})


TOKEN = {"serviceAccountToken": {"path": "t", "audience": "gatepost-enrol"}}
KEY = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "gatepost-credentials", "key": "k"}}}

BAD: list[tuple[str, Break]] = [
    ("no init container `gatepost`", lambda p: p.pop("initContainers")),
    ("no init container `gatepost`", lambda p: p["containers"].append(p["initContainers"].pop(0))),
    ("must be the first", lambda p: p["initContainers"].insert(0, _other())),
    ("gateway's image", lambda p: _gateway(p).update(image="registry.example/other:1")),
    ("run as shipped", lambda p: _gateway(p).pop("restartPolicy")),
    ("run as shipped", lambda p: _gateway(p).update(command=["/bin/sh"])),
    ("run as shipped", lambda p: _gateway(p).update(args=["run", "--config", "/tmp/mine.toml"])),
    ("run as shipped", lambda p: _gateway(p).update(env=[{"name": "PYTHONPATH", "value": "/x"}])),
    ("run as shipped", lambda p: _gateway(p).update(envFrom=[{"configMapRef": {"name": "x"}}])),
    ("run as shipped", lambda p: _gateway(p).update(lifecycle={"preStop": {}})),
    ("gateway's security context", _gateway_context(runAsUser=10001)),
    ("gateway's security context", _gateway_context(runAsGroup=0)),
    ("gateway's security context", _gateway_context(readOnlyRootFilesystem=False)),
    ("gateway's security context", _gateway_context(allowPrivilegeEscalation=True)),
    ("gateway's security context", _gateway_context(privileged=True)),
    ("gateway's security context", _gateway_context(capabilities={"add": ["NET_RAW"]})),
    ("gateway's mounts", lambda p: _gateway(p)["volumeMounts"].pop()),
    ("gateway's mounts", lambda p: _gateway(p)["volumeMounts"][0].update(name="mine")),
    ("gateway's mounts", lambda p: _gateway(p)["volumeMounts"][0].update(subPath="mine")),
    ("gateway's mounts", lambda p: _gateway(p)["volumeMounts"][0].update(mountPath="/etc")),
    (
        "not what its name says",
        lambda p: _volume(p, "gatepost-config")["projected"]["sources"].append(
            {"configMap": {"name": "mine"}}
        ),
    ),
    (
        "not what its name says",
        lambda p: _volume(p, "gatepost-credentials")["secret"].update(secretName="mine"),
    ),
    (
        "not what its name says",
        lambda p: _volume(p, "gatepost-enrol")["projected"]["sources"].append(
            {"configMap": {"name": "mine"}}
        ),
    ),
    ("not what its name says", lambda p: _volume(p, "gatepost-run").pop("emptyDir")),
    ("not what its name says", lambda p: _volume(p, "gatepost-spool").pop("emptyDir")),
    (
        "not what its name says",
        lambda p: p["volumes"].append({"name": "gatepost-extra", "emptyDir": {}}),
    ),
    ("names that begin with", lambda p: p["containers"].append(_other(name="gatepost-helper"))),
    ("names that begin with", _debug(name="gatepost-debug")),
    ("must state a runAsUser", _context(runAsUser=65_532)),
    ("must state a runAsUser", _context(runAsUser=0)),
    ("must state a runAsUser", lambda p: _agent(p)["securityContext"].pop("runAsUser")),
    ("must state a runAsUser", lambda p: _runs_as_the_pod(p, 65_532)),
    (
        "must state a runAsUser",
        _debug(securityContext={**_other()["securityContext"]} | {"runAsUser": 65_532}),
    ),
    ("drop all capabilities", _context(privileged=True)),
    ("drop all capabilities", _context(allowPrivilegeEscalation=True)),
    ("drop all capabilities", _context(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]})),
    ("drop all capabilities", _context(capabilities={"drop": ["NET_RAW"]})),
    ("drop all capabilities", lambda p: _agent(p).pop("securityContext")),
    ("only the gateway mounts", _mounts("gatepost-spool")),
    ("only the gateway mounts", _mounts("gatepost-state", readOnly=True)),
    ("only the gateway mounts", _mounts("gatepost-enrol", readOnly=True)),
    ("only the gateway mounts", _mounts("gatepost-credentials", readOnly=True)),
    (
        "only the gateway mounts",
        _debug(volumeMounts=[{"name": "gatepost-spool", "mountPath": "/spool"}]),
    ),
    ("must be mounted read-only", lambda p: _agent(p)["volumeMounts"][0].pop("readOnly")),
    ("must be mounted read-only", _mounts("gatepost-socket", readOnly=False)),
    ("block devices", lambda p: _agent(p).update(volumeDevices=[{"name": "d"}])),
    ("token with audience", _adds_volume(projected={"sources": [TOKEN]})),
    ("holds the Secret", _adds_volume(secret={"secretName": "gatepost-credentials"})),
    (
        "holds the Secret",
        _adds_volume(projected={"sources": [{"secret": {"name": "gatepost-credentials"}}]}),
    ),
    ("no variable of another", lambda p: _agent(p)["env"].append(KEY)),
    (
        "no variable of another",
        lambda p: _agent(p).update(envFrom=[{"secretRef": {"name": "gatepost-credentials"}}]),
    ),
    (
        "on a claim gatepost-spool-*",
        _adds_volume(persistentVolumeClaim={"claimName": "gatepost-spool-claims-bot-0"}),
    ),
    ("no host path", _adds_volume(hostPath={"path": "/var/lib/gatepost-spool"})),
    ("share the node's", lambda p: p.update(hostNetwork=True)),
    ("share the node's", lambda p: p.update(hostPID=True)),
    ("share the node's", lambda p: p.update(hostIPC=True)),
    ("share process numbers", lambda p: p.update(shareProcessNamespace=True)),
    ("needs fsGroup 65532", lambda p: p["securityContext"].pop("fsGroup")),
    ("needs fsGroup 65532", lambda p: p["securityContext"].update(fsGroupChangePolicy="Always")),
    (
        "egress lock is not",
        lambda p: p["initContainers"].insert(0, _other(name="gatepost-egress-lock")),
    ),
]


def _runs_as_the_pod(pod: dict[str, Any], uid: int) -> None:
    _agent(pod)["securityContext"].pop("runAsUser")
    pod["securityContext"]["runAsUser"] = uid


@pytest.mark.parametrize(("why", "spoil"), BAD)
def test_a_pod_around_the_gateway_is_refused_for_its_own_reason(why: str, spoil: Break) -> None:
    pod = admitted_pods.from_example("examples/deployment")
    spoil(pod["spec"])
    (refusal,) = GUARD.refusals(Request(pod, admitted_pods.PARAMETERS), about=why)
    assert why in refusal


def test_every_expression_has_a_pod_that_it_refuses() -> None:
    seen = {text for text in GUARD.messages for why, _ in BAD if why in text}
    assert set(GUARD.messages) - seen == set()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c.update(image="mine:1"),
        lambda c: c.update(command=["/bin/sh"]),
        lambda c: c.update(args=["flush", "ruleset"]),
        lambda c: c["securityContext"]["capabilities"].update(add=["NET_ADMIN", "SYS_ADMIN"]),
        lambda c: c["securityContext"].update(privileged=True),
        lambda c: c["volumeMounts"].append({"name": "gatepost-spool", "mountPath": "/spool"}),
    ],
)
def test_a_changed_egress_lock_is_refused(spoil: Break) -> None:
    pod = admitted_pods.from_example("examples/node-spool")
    spoil(pod["spec"]["initContainers"][0])
    why = "egress lock is not"
    assert len(GUARD.refusals(Request(pod, admitted_pods.PARAMETERS), about=why)) == 1


def test_lock_and_host_path_are_refused_unless_the_parameters_name_them() -> None:
    pod = admitted_pods.from_example("examples/node-spool")
    assert [text[:15] for text in _refusals(pod, egress_lock_image="", spool_path="")] == [
        "no host path bu",
        "the egress lock",
    ]
    assert len(_refusals(pod, spool_path="/var/lib/gatepost-spool/other")) == 1


def test_a_pod_that_opted_out_of_injection_is_refused() -> None:
    pod = admitted_pods.plain()
    pod["metadata"]["labels"] = {"gatepost/inject": "false"}
    assert GUARD.applies(Request(pod, admitted_pods.PARAMETERS))
    assert any("no pod runs without it" in text for text in _refusals(pod))


def test_a_changed_pod_is_judged_and_a_changed_label_is_not() -> None:
    old = admitted_pods.plain()
    relabelled = {**admitted_pods.plain(), "metadata": {"name": "claims-bot", "labels": {"a": "b"}}}
    assert not GUARD.applies(Request(relabelled, admitted_pods.PARAMETERS, old=old))
    changed = admitted_pods.plain()
    changed["spec"]["containers"][0]["image"] = "registry.example/claims-bot:1.4.3"
    assert GUARD.applies(Request(changed, admitted_pods.PARAMETERS, old=old))
