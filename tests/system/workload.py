"""A workload of ``k8s/``, as it is rendered: its containers' users and mounts, and its volumes.

Owns: reading that, and the modes with which a kubelet makes each kind of volume. Refuses: checking
the manifest (``tests/k8s``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.k8s import renders
from tests.system.container import User

DEPLOYMENT: Final = "examples/deployment"
STATEFUL_SET: Final = "examples/statefulset"
NODE_SPOOL: Final = "examples/node-spool"
_WITH_PODS: Final = ("Deployment", "Job", "StatefulSet")

MakeVolume = Callable[[Path], None]


class Workload:
    """One rendered directory of ``k8s/`` that has an agent and its daemon."""

    def __init__(self, directory: str) -> None:
        documents = renders.documents(directory)
        (self._found,) = (one["spec"] for one in documents if one["kind"] in _WITH_PODS)
        self._pod: renders.Manifest = self._found["template"]["spec"]

    def _container(self, name: str) -> renders.Manifest:
        containers = [*self._pod["initContainers"], *self._pod["containers"]]
        (found,) = (one for one in containers if one["name"] == name)
        return dict(found)

    def user(self, container: str) -> User:
        """Whose process a container is, with the group that the whole pod has."""
        context = self._container(container)["securityContext"]
        group = self._pod["securityContext"]["fsGroup"]
        return User(context["runAsUser"], context["runAsGroup"], (group,))

    def mounts(self, container: str) -> list[tuple[str, str, bool]]:
        """Volume, path and whether it is read-only."""
        return [
            (mount["name"], mount["mountPath"], mount.get("readOnly", False))
            for mount in self._container(container)["volumeMounts"]
        ]

    @property
    def volumes(self) -> dict[str, MakeVolume]:
        """Name → how the kubelet makes it."""
        claims = {
            template["metadata"]["name"]: _claim
            for template in self._found.get("volumeClaimTemplates", ())
        }
        return {volume["name"]: _maker(volume) for volume in self._pod["volumes"]} | claims


def _maker(volume: renders.Manifest) -> MakeVolume:
    if "hostPath" in volume:
        return _host_path
    return _empty_dir if "emptyDir" in volume else _files


def _empty_dir(place: Path) -> None:
    """In a pod with an fsGroup: everybody may write, the group sticks."""
    _make(place, 0, FS_GROUP, 0o2777)


def _claim(place: Path) -> None:
    """A persistent volume in a pod with an fsGroup: root's, writable for the group."""
    _make(place, 0, FS_GROUP, 0o2775)


def _files(place: Path) -> None:
    """Of a Secret, ConfigMap or token: root's, and mounted read-only."""
    _make(place, 0, FS_GROUP, 0o2755)


def _host_path(place: Path) -> None:
    """Of the node, made by the drainer for its user; fsGroup leaves it alone."""
    _make(place, DAEMON.uid, DAEMON.gid, 0o700)


def _make(place: Path, uid: int, gid: int, mode: int) -> None:
    place.mkdir()
    os.chown(place, uid, gid)
    place.chmod(mode)


DAEMON: Final = Workload(DEPLOYMENT).user("gatepost")
AGENT: Final = Workload(DEPLOYMENT).user("agent")
(FS_GROUP,) = AGENT.groups
