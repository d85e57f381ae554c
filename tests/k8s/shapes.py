"""The parts of Kubernetes objects that the lint looks at, typed.

Owns: the shapes, with the values that an enumeration allows, and how a pod is found in whatever
holds it. Refuses: everything that the published schemas check (unknown fields, wrong types).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec

from tests.k8s.renders import Manifest

_SUFFIXES: Final = {
    "m": Decimal("0.001"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
}  # fmt: skip
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti|)")


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Unknown members are the schemas' business."""


Quantity = Annotated[str, msgspec.Meta(pattern=rf"^(?:{_QUANTITY.pattern})\Z")]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


def amount(quantity: str) -> Decimal:
    """``quantity`` in units: bytes, cores. Raises ValueError."""
    found = _QUANTITY.fullmatch(quantity)
    if found is None:
        raise ValueError(f"{quantity!r} is not a quantity")
    return Decimal(found[1]) * _SUFFIXES[found[2]]


class Capabilities(_Shape, frozen=True, kw_only=True):
    add: list[str] = []
    drop: list[str] = []


class Seccomp(_Shape, frozen=True, kw_only=True):
    type: Literal["RuntimeDefault", "Localhost", "Unconfined"]


class SecurityContext(_Shape, frozen=True, kw_only=True):
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    privileged: bool | None = None
    capabilities: Capabilities = Capabilities()
    seccomp_profile: Seccomp | None = None


class HttpGet(_Shape, frozen=True, kw_only=True):
    path: str
    port: Port
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class Probe(_Shape, frozen=True, kw_only=True):
    http_get: HttpGet | None = None
    period_seconds: int = 10
    failure_threshold: int = 3


class Resources(_Shape, frozen=True, kw_only=True):
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}


class Mount(_Shape, frozen=True, kw_only=True):
    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str | None = None


class Variable(_Shape, frozen=True, kw_only=True):
    name: str
    value: str | None = None


class ContainerPort(_Shape, frozen=True, kw_only=True):
    container_port: Port
    name: str | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class Container(_Shape, frozen=True, kw_only=True):
    name: str
    image: str
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    command: list[str] = []
    args: list[str] = []
    restart_policy: Literal["Always"] | None = None
    env: list[Variable] = []
    ports: list[ContainerPort] = []
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    security_context: SecurityContext | None = None
    resources: Resources = Resources()
    volume_mounts: list[Mount] = []


class EmptyDir(_Shape, frozen=True, kw_only=True):
    medium: Literal["", "Memory"] = ""
    size_limit: Quantity | None = None


class HostPath(_Shape, frozen=True, kw_only=True):
    path: str
    type: Literal["", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"] = ""


class ConfigMapSource(_Shape, frozen=True, kw_only=True):
    name: str


class SecretSource(_Shape, frozen=True, kw_only=True):
    secret_name: str
    default_mode: int = 0o644


class TokenSource(_Shape, frozen=True, kw_only=True):
    path: str
    audience: str | None = None
    expiration_seconds: int = 3600


class ProjectedPart(_Shape, frozen=True, kw_only=True):
    config_map: ConfigMapSource | None = None
    service_account_token: TokenSource | None = None


class Projected(_Shape, frozen=True, kw_only=True):
    sources: list[ProjectedPart]


class ClaimSource(_Shape, frozen=True, kw_only=True):
    claim_name: str


class Volume(_Shape, frozen=True, kw_only=True):
    name: str
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    projected: Projected | None = None
    persistent_volume_claim: ClaimSource | None = None


class PodSpec(_Shape, frozen=True, kw_only=True):
    containers: list[Container]
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    host_network: bool = False
    host_pid: bool = msgspec.field(default=False, name="hostPID")
    host_ipc: bool = msgspec.field(default=False, name="hostIPC")
    share_process_namespace: bool = False
    automount_service_account_token: bool = True
    termination_grace_period_seconds: int = 30
    security_context: SecurityContext = SecurityContext()

    @property
    def all_containers(self) -> list[Container]:
        return [*self.init_containers, *self.containers]


class ClaimSpec(_Shape, frozen=True, kw_only=True):
    access_modes: list[
        Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]
    ]
    resources: Resources


class Named(_Shape, frozen=True, kw_only=True):
    name: str


class ClaimTemplate(_Shape, frozen=True, kw_only=True):
    metadata: Named
    spec: ClaimSpec


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """``where``: kind and name, for messages. ``claims``: what a StatefulSet makes per replica."""

    where: str
    namespace: str
    pod: PodSpec
    claims: list[ClaimTemplate]


def workloads(documents: list[Manifest]) -> Iterator[Workload]:
    """Every document with a pod in it. Raises msgspec.ValidationError for a bad value."""
    for document in documents:
        spec = document.get("spec", {})
        found = spec if document["kind"] == "Pod" else spec.get("template", {}).get("spec")
        if found is None:
            continue
        metadata = document["metadata"]
        yield Workload(
            where=f"{document['kind']} {metadata['name']}",
            namespace=metadata.get("namespace", "default"),
            pod=msgspec.convert(found, PodSpec),
            claims=msgspec.convert(spec.get("volumeClaimTemplates", []), list[ClaimTemplate]),
        )
