"""What the published schemas miss in a pod: each rule is one way in which a pod would not work.

Owns: rules over typed pods, each a generator of findings. Refuses: reading files, and what only
holds for pods with the gateway in them (``sidecar_lint.py``, ``pod_security.py``).
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.shapes import Container, PodSpec, Probe, Workload, amount


def findings(workload: Workload) -> list[str]:
    """What is wrong with ``workload``, each with its place; empty if nothing is."""
    found = [*_pod(workload)]
    for container in workload.pod.all_containers:
        found += [f"{container.name}: {text}" for text in _container(workload.pod, container)]
    return [f"{workload.where}: {text}" for text in found]


def _pod(workload: Workload) -> Iterator[str]:
    pod = workload.pod
    names = [container.name for container in pod.all_containers]
    if len(set(names)) != len(names):
        yield "two containers have one name"
    volumes = [volume.name for volume in pod.volumes]
    if len(set(volumes)) != len(volumes):
        yield "two volumes have one name"
    volumes += [claim.metadata.name for claim in workload.claims]
    mounted = {mount.name for one in pod.all_containers for mount in one.volume_mounts}
    for name in sorted(mounted - set(volumes)):
        yield f"volume {name} is mounted and not there"
    for name in sorted(set(volumes) - mounted):
        yield f"volume {name} is there and nobody mounts it"
    for volume in pod.volumes:
        if volume.empty_dir is not None and volume.empty_dir.size_limit is None:
            yield f"volume {volume.name} has no size limit: it could fill the node"
    if pod.host_network or pod.host_pid or pod.host_ipc or pod.share_process_namespace:
        yield "shares a namespace with the node or between its containers"
    if pod.security_context.seccomp_profile is None:
        yield "has no seccomp profile"


def _container(pod: PodSpec, container: Container) -> Iterator[str]:
    _, _, last = container.image.rpartition("/")
    if ":" not in last and "@" not in last:
        yield f"image {container.image} has neither tag nor digest"
    context = container.security_context
    if context is None:
        yield "has no security context"
    else:
        if context.run_as_user is None:
            yield "states no user: what its image says may be the gateway's"
        if context.allow_privilege_escalation is not False:
            yield "may gain privileges"
        if "ALL" not in context.capabilities.drop:
            yield "keeps capabilities"
    yield from _resources(container)
    paths = [mount.mount_path for mount in container.volume_mounts]
    if len(set(paths)) != len(paths):
        yield "two mounts have one path"
    # One network: what ends TLS beside a container may be where its probes go.
    served = {port.container_port for one in pod.all_containers for port in one.ports}
    for probe in (container.startup_probe, container.readiness_probe, container.liveness_probe):
        if probe is not None and _port(probe) not in served:
            yield f"a probe asks port {_port(probe)}, which nobody states"
    if container.restart_policy is not None and container not in pod.init_containers:
        yield "restartPolicy is for init containers"


def _resources(container: Container) -> Iterator[str]:
    requests, limits = container.resources.requests, container.resources.limits
    for name in ("cpu", "memory"):
        if name not in requests:
            yield f"requests no {name}"
    if "memory" not in limits:
        yield "has no memory limit"
    for name in requests.keys() & limits.keys():
        if amount(requests[name]) > amount(limits[name]):
            yield f"requests more {name} than its limit"


def _port(probe: Probe) -> int | None:
    return None if probe.http_get is None else probe.http_get.port
