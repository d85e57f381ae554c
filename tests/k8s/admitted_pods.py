"""Pods as they reach the API server, and the policies and parameters that they meet there."""

from __future__ import annotations

import copy
from typing import Final

from tests.k8s.admission import Policy
from tests.k8s.renders import Manifest, documents

IMAGE: Final = "registry.example/gatepost:0.1.0"
PARAMETERS: Final = {
    "image": IMAGE,
    "openai_base_url": "http://127.0.0.1:4141/openai/v1",
    "egress_lock_image": "registry.example/gatepost-egress-lock:0.1.0",
    "spool_path": "/var/lib/gatepost-spool/acme",
}
"""As an operator sets them for the examples."""

PLAIN: Final[Manifest] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "claims-bot", "namespace": "agents"},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "agent",
                "image": "registry.example/claims-bot:1.4.2",
                "resources": {
                    "requests": {"cpu": "100m", "memory": "256Mi"},
                    "limits": {"memory": "512Mi"},
                },
                "securityContext": {
                    "runAsUser": 10001,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    },
}
"""A pod whose team knows nothing of a gateway."""


def plain() -> Manifest:
    return copy.deepcopy(PLAIN)


def policy(directory: str) -> Policy:
    return Policy(next(one for one in documents(directory) if one["kind"].endswith("Policy")))


def from_example(directory: str) -> Manifest:
    """The pod that the workload of an example makes, as its controller would send it."""
    holder = next(
        one
        for one in documents(directory)
        if "gatepost/sidecar" in one["metadata"].get("labels", {})
    )
    template = holder["spec"]["template"]
    for claim in holder["spec"].get("volumeClaimTemplates", []):
        name = claim["metadata"]["name"]
        source = {"claimName": f"{name}-{holder['metadata']['name']}-0"}
        template["spec"]["volumes"].append({"name": name, "persistentVolumeClaim": source})
    return {"apiVersion": "v1", "kind": "Pod", **template}
