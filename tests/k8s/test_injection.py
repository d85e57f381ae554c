"""The mutating policy makes of a plain pod what the component makes, and leaves the rest alone."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from tests.k8s import admitted_pods, lint, pod_security, sidecar_lint
from tests.k8s.admission import Request
from tests.k8s.renders import Manifest, documents
from tests.k8s.shapes import workloads
from tests.k8s.test_manifests import configurations

INJECT = admitted_pods.policy("inject/map")
GUARD = admitted_pods.policy("inject/guard")


def _injected(pod: Manifest) -> Manifest:
    request = Request(pod, admitted_pods.PARAMETERS)
    assert INJECT.applies(request)
    return INJECT.mutated(request)


def _environment(pod: Manifest) -> dict[str, str]:
    return {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}


def test_an_injected_pod_is_valid_and_passes_lint_guard_and_restricted() -> None:
    pod = _injected(admitted_pods.plain())
    kubernetes_validate.validate(pod, "1.36.0", strict=True)
    (workload,) = workloads([pod])
    config = configurations(documents("examples/deployment"))["sidecar.toml"]
    assert lint.findings(workload) == []
    assert sidecar_lint.findings(workload, config) == []
    assert pod_security.breaches(workload.pod, "restricted") == []
    assert GUARD.refusals(Request(pod, admitted_pods.PARAMETERS)) == []


def test_injection_and_component_make_the_same_gateway() -> None:
    injected = _injected(admitted_pods.plain())
    composed = admitted_pods.from_example("examples/deployment")
    gateway = injected["spec"]["initContainers"][0]
    gateway["ports"][0].pop("protocol")  # what the API server adds by itself
    assert gateway == composed["spec"]["initContainers"][0]

    def by_name(pod: Manifest) -> dict[str, Any]:
        return {volume["name"]: volume for volume in pod["spec"]["volumes"]}

    assert by_name(injected) == by_name(composed)
    assert injected["metadata"]["labels"]["gatepost/sidecar"] == "true"
    assert _environment(injected) == _environment(composed)


def test_what_a_pod_has_of_its_own_stays() -> None:
    pod = admitted_pods.plain()
    pod["metadata"]["labels"] = {"app": "claims-bot"}
    pod["spec"]["terminationGracePeriodSeconds"] = 300
    pod["spec"]["volumes"] = [{"name": "work", "emptyDir": {}}]
    pod["spec"]["initContainers"] = [{"name": "migrate", "image": "migrate:1"}]
    agent = pod["spec"]["containers"][0]
    agent["volumeMounts"] = [{"name": "work", "mountPath": "/work"}]
    agent["env"] = [{"name": "LANG", "value": "C.UTF-8"}]
    injected = _injected(pod)
    spec = injected["spec"]
    assert injected["metadata"]["labels"] == {"app": "claims-bot", "gatepost/sidecar": "true"}
    assert [one["name"] for one in spec["initContainers"]] == ["gatepost", "migrate"]
    assert spec["terminationGracePeriodSeconds"] == 300
    assert spec["volumes"][0] == {"name": "work", "emptyDir": {}}
    assert spec["securityContext"]["runAsNonRoot"] is True
    mounts = {one["name"] for one in spec["containers"][0]["volumeMounts"]}
    assert mounts == {"work", "gatepost-socket"}
    assert _environment(injected)["LANG"] == "C.UTF-8"


def test_every_container_is_led_to_the_gateway() -> None:
    pod = admitted_pods.plain()
    second = {**pod["spec"]["containers"][0], "name": "second"}
    pod["spec"]["containers"].append(second)
    for container in _injected(pod)["spec"]["containers"]:
        names = {one["name"] for one in container["env"]}
        assert names == {"OPENAI_BASE_URL", "OPENAI_API_KEY", "NO_PROXY", "no_proxy"}


def test_a_base_url_of_the_pods_own_is_replaced_and_its_proxy_list_added_to() -> None:
    pod = admitted_pods.plain()
    pod["spec"]["containers"][0]["env"] = [
        {"name": "OPENAI_BASE_URL", "value": "https://api.openai.com/v1"},
        {"name": "NO_PROXY", "value": ".internal.example"},
        {"name": "OPENAI_API_KEY", "value": "gpl_local-token"},
    ]
    found = _environment(_injected(pod))
    assert found["OPENAI_BASE_URL"] == admitted_pods.PARAMETERS["openai_base_url"]
    assert found["NO_PROXY"] == ".internal.example,127.0.0.1,localhost,::1"
    assert found["OPENAI_API_KEY"] == "gpl_local-token"


@pytest.mark.parametrize(
    ("condition", "metadata", "names"),
    [
        ("no-gateway-yet", {}, ["gatepost"]),
        ("no-gateway-yet", {}, ["migrate", "gatepost"]),
        ("not-opted-out", {"labels": {"gatepost/inject": "false"}}, None),
    ],
)
def test_a_pod_that_is_not_to_be_changed_is_not(
    condition: str, metadata: dict[str, Any], names: list[str] | None
) -> None:
    pod = admitted_pods.plain()
    pod["metadata"] |= metadata
    if names is not None:
        pod["spec"]["initContainers"] = [{"name": name, "image": "any:1"} for name in names]
    request = Request(pod, admitted_pods.PARAMETERS)
    assert set(INJECT.conditions) - INJECT.matches(request) == {condition}


@pytest.mark.parametrize("labels", [{}, {"gatepost/inject": "true"}, {"app": "claims-bot"}])
def test_no_label_but_the_one_opts_a_pod_out(labels: dict[str, str]) -> None:
    pod = admitted_pods.plain()
    pod["metadata"]["labels"] = labels
    assert INJECT.applies(Request(pod, admitted_pods.PARAMETERS))


def test_both_bindings_refuse_pods_when_their_parameters_are_gone() -> None:
    for directory in ("inject/map", "inject/guard"):
        policy, binding = sorted(documents(directory), key=lambda one: len(one["kind"]))
        spec = binding["spec"]
        assert spec["policyName"] == policy["metadata"]["name"]
        assert spec["paramRef"]["parameterNotFoundAction"] == "Deny"
        assert policy["spec"]["failurePolicy"] == "Fail"
        (parameters,) = documents("inject/parameters")
        assert spec["paramRef"]["name"] == parameters["metadata"]["name"]
        assert spec["paramRef"]["namespace"] == parameters["metadata"]["namespace"]
        assert parameters["data"].keys() == admitted_pods.PARAMETERS.keys()
