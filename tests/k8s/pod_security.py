"""The Pod Security Standards, as far as these manifests could break them.

Owns: the strictest level that a pod passes, with what keeps it from the next one. Refuses: fields
that no manifest here has (Windows, AppArmor, SELinux, sysctls, procMount).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from tests.k8s.shapes import Container, PodSpec, SecurityContext

Level = Literal["privileged", "baseline", "restricted"]

LEVELS: Final[tuple[Level, ...]] = ("privileged", "baseline", "restricted")
_BASELINE_CAPABILITIES: Final = frozenset(
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
     "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
)  # fmt: skip


def breaches(pod: PodSpec, level: Level) -> list[str]:
    """Why ``pod`` is refused where ``level`` is enforced; empty if it is not."""
    if level == "privileged":
        return []
    found = list(_baseline(pod))
    return found if level == "baseline" else [*found, *_restricted(pod)]


def _baseline(pod: PodSpec) -> Iterator[str]:
    if pod.host_network or pod.host_pid or pod.host_ipc:
        yield "host namespaces"
    for volume in pod.volumes:
        if volume.host_path is not None:
            yield f"host path {volume.host_path.path}"
    for container in pod.all_containers:
        context = container.security_context or SecurityContext()
        if context.privileged:
            yield f"{container.name}: privileged"
        for name in sorted(set(context.capabilities.add) - _BASELINE_CAPABILITIES):
            yield f"{container.name}: capability {name}"
        if context.seccomp_profile is not None and context.seccomp_profile.type == "Unconfined":
            yield f"{container.name}: seccomp unconfined"


def _restricted(pod: PodSpec) -> Iterator[str]:
    for container in pod.all_containers:
        for text in _restricted_container(pod.security_context, container):
            yield f"{container.name}: {text}"


def _restricted_container(pod: SecurityContext, container: Container) -> Iterator[str]:
    own = container.security_context or SecurityContext()
    if own.allow_privilege_escalation is not False:
        yield "allowPrivilegeEscalation is not false"
    if not (pod.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root):
        yield "runAsNonRoot is not true"
    if (pod.run_as_user if own.run_as_user is None else own.run_as_user) == 0:
        yield "runs as root"
    if (own.seccomp_profile or pod.seccomp_profile) is None:
        yield "no seccomp profile"
    if "ALL" not in own.capabilities.drop:
        yield "capabilities are not dropped"
    for name in sorted(set(own.capabilities.add) - {"NET_BIND_SERVICE"}):
        yield f"adds capability {name}"
