"""What must hold of a pod with the gateway in it, beyond what holds of any pod.

Owns: rules between the pod and the daemon's configuration: mounts, users, ports, quota against
size limit, time to end. Refuses: reading files; the caller hands in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from gateway.limits import BODIES_IN_MEMORY_BYTES_MAX
from sidecar.config import SidecarConfig
from tests.k8s.shapes import Container, Mount, PodSpec, SecurityContext, Workload, amount

GATEWAY: Final = "gatepost"
AGENT: Final = "agent"
UID: Final = 65_532
LOCK: Final = "gatepost-egress-lock"
_AGENT_MAY_MOUNT: Final = "gatepost-socket"
_QUOTA_SHARE: Final = 0.8
_RESIDENT_BYTES: Final = 75 * 2**20
"""The most that was measured without bodies; README, "What it costs"."""


def has_gateway(workload: Workload) -> bool:
    return any(container.name == GATEWAY for container in workload.pod.all_containers)


def findings(workload: Workload, config: SidecarConfig) -> list[str]:
    """What is wrong with the gateway's place in ``workload``; empty if nothing is."""
    pod = workload.pod
    gateway = next(one for one in pod.all_containers if one.name == GATEWAY)
    agent = next((one for one in pod.containers if one.name == AGENT), None)
    found = [*_place(pod, gateway), *_reach(pod, gateway), *_spool(workload, config)]
    found += [*_paths(gateway, config), *_probes(gateway, config)]
    found += ["there is no container `agent`"] if agent is None else _agent(agent, config)
    if pod.termination_grace_period_seconds <= config.grace_seconds:
        found.append("the pod ends before the daemon's grace_seconds are over")
    return [f"{workload.where}: {text}" for text in found]


def _place(pod: PodSpec, gateway: Container) -> Iterator[str]:
    first = [one.name for one in pod.init_containers if one.name != LOCK]
    if first[:1] != [GATEWAY] or gateway.restart_policy != "Always":
        yield "the gateway is not the first init container that goes on running"
    if LOCK in [one.name for one in pod.init_containers[1:]]:
        yield "containers start before the egress lock"
    context = gateway.security_context or SecurityContext()
    if (context.run_as_user, context.run_as_group) != (UID, UID):
        yield f"the gateway does not run as {UID}"
    if context.read_only_root_filesystem is not True:
        yield "the gateway can write to its own image"
    if pod.security_context.fs_group_change_policy != "OnRootMismatch":
        yield "the kubelet would open the spool to its group at each start"
    limit = amount(gateway.resources.limits["memory"])
    if limit < BODIES_IN_MEMORY_BYTES_MAX + _RESIDENT_BYTES:
        yield "the memory limit leaves no room for the bodies that the daemon may hold"


def _reach(pod: PodSpec, gateway: Container) -> Iterator[str]:
    for container in pod.all_containers:
        if container.name in (GATEWAY, LOCK):
            continue
        context = container.security_context or SecurityContext()
        if (context.run_as_user or pod.security_context.run_as_user) == UID:
            yield f"{container.name} runs as the gateway's user"
        for mount in container.volume_mounts:
            if mount.name == _AGENT_MAY_MOUNT and not mount.read_only:
                yield f"{container.name} can replace the socket"
            if mount.name.startswith("gatepost-") and mount.name != _AGENT_MAY_MOUNT:
                yield f"{container.name} mounts {mount.name}"


def _spool(workload: Workload, config: SidecarConfig) -> Iterator[str]:
    limits = [
        volume.empty_dir.size_limit
        for volume in workload.pod.volumes
        if volume.name == "gatepost-spool" and volume.empty_dir is not None
    ]
    limits += [
        claim.spec.resources.requests["storage"]
        for claim in workload.claims
        if claim.metadata.name == "gatepost-spool"
    ]
    for limit in limits:
        if limit is None or config.spool.spool_bytes_max >= _QUOTA_SHARE * float(amount(limit)):
            yield f"the spool's quota is not below {_QUOTA_SHARE} of its volume's {limit}"


def _paths(gateway: Container, config: SidecarConfig) -> Iterator[str]:
    """Every file that the configuration names lies on a mount; what is written, on a writable."""
    written = [config.spool.directory, config.policy.directory, config.listen.admin_socket]
    written += [entry.path for entry in config.listen.unix]
    written += [config.classification.cache_directory or config.policy.directory]
    read = [entry.file for entry in config.credentials]
    read += [path for path in (config.central.ca_file,) if path is not None]
    read += [path for path in (config.enrolment.service_account_token_file,) if path is not None]
    for path in written:
        mount = _mount_of(gateway, path)
        if mount is None or mount.read_only:
            yield f"{path} is not on a mount that the gateway can write"
    for path in read:
        if _mount_of(gateway, path) is None:
            yield f"{path} is not on a mount of the gateway"
    for path in (config.listen.admin_socket, *(entry.path for entry in config.listen.unix)):
        above = str(PurePosixPath(path).parent)
        if above in {mount.mount_path for mount in gateway.volume_mounts}:
            yield f"{path} lies on the mount itself, which everybody can write"


def _mount_of(container: Container, path: str) -> Mount | None:
    above = [
        mount
        for mount in container.volume_mounts
        if PurePosixPath(path).is_relative_to(mount.mount_path)
    ]
    return max(above, key=lambda mount: len(mount.mount_path), default=None)


def _probes(gateway: Container, config: SidecarConfig) -> Iterator[str]:
    wanted = {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    for name, path in wanted.items():
        probe = getattr(gateway, f"{name}_probe")
        got = None if probe is None or probe.http_get is None else probe.http_get
        if got is None or (got.path, got.port) != (path, config.listen.probe_port):
            yield f"the {name} probe does not ask {path} on port {config.listen.probe_port}"


def _agent(agent: Container, config: SidecarConfig) -> Iterator[str]:
    context = agent.security_context or SecurityContext()
    if context.run_as_user not in {entry.uid for entry in config.listen.agents}:
        yield f"nobody is user {context.run_as_user} in the daemon's listen.agents"
    variables = {entry.name: entry.value or "" for entry in agent.env}
    local = f"http://127.0.0.1:{config.listen.tcp_port}"
    prefixes = tuple(f"{local}{route.prefix}/" for route in config.routes)
    for name, value in variables.items():
        if name.endswith("_BASE_URL") and not f"{value}/".startswith(prefixes):
            yield f"{name}={value} leads to no route"
    if not any(name.endswith("_BASE_URL") for name in variables):
        yield "no base URL leads the agent's client to the gateway"
    for name in ("NO_PROXY", "no_proxy"):
        if "127.0.0.1" not in variables.get(name, "").split(","):
            yield f"{name} does not keep calls to the gateway from a proxy"
