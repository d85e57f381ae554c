"""Tokens of a platform: read anew each time, judged by the real issuer, never a reason to end."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anyio
import msgspec
import pytest

from central.config import IssuerSettings
from central.workload_config import Cluster, ServiceAccountPlace, SpiffePlace, TrustDomain
from gateway import limits
from gateway.io.disk import ThreadDisk
from gateway.io.entropy import SystemEntropy
from sidecar.attesting import HostKey, PlatformToken, attestor_of
from sidecar.config import Enrolment
from sidecar.parts import Parts
from tests import signed_specimens
from tests.sim.central import REGION, TENANT
from tests.sim.clock import EPOCH_US
from tests.sim.disk import SimDisk
from tests.sim.loop import elapse
from tests.unit.gateway import token_factory as make
from tests.unit.sidecar.enrolment_world import World, enrol, play

TOKEN: Final = "/state/platform.token"
POD_UID: Final = "0f3e1c1e-6c2b-4a53-9a3a-8d0f6a1b2c3d"
LIFE_SECONDS: Final = 7_200
_START: Final = EPOCH_US // 1_000_000


def settings(directory: Path) -> IssuerSettings:
    """An issuer that knows one cluster and one trust domain."""
    jwks = directory / "platform.json"
    jwks.write_bytes(make.jwks("ec-platform"))
    return IssuerSettings(
        certificate_seconds=LIFE_SECONDS,
        clusters=[
            Cluster(
                name="prod",
                issuer="https://cluster.example",
                jwks_file=str(jwks),
                workloads=[
                    ServiceAccountPlace(
                        namespace="agents", service_account="bot", tenant=TENANT, regions=[REGION]
                    )
                ],
            )
        ],
        trust_domains=[
            TrustDomain(
                name="prod.example",
                jwks_file=str(jwks),
                workloads=[SpiffePlace(path_prefix="/bot", tenant=TENANT, regions=[REGION])],
            )
        ],
    )


def pod_token(until_seconds: int) -> bytes:
    """A projected token that ends that long after the world's beginning."""
    claims = {
        "iss": "https://cluster.example",
        "sub": "system:serviceaccount:agents:bot",
        "aud": ["gatepost-enrol"],
        "exp": _START + until_seconds,
        "kubernetes.io": {
            "namespace": "agents",
            "pod": {"name": "bot-1", "uid": POD_UID},
            "serviceaccount": {"name": "bot"},
        },
    }
    return make.token(claims, "ec-platform", header={"typ": None}).encode() + b"\n"


def svid() -> bytes:
    claims = {
        "sub": "spiffe://prod.example/bot",
        "aud": "gatepost-enrol",
        "exp": _START + 3_600,
    }
    return make.token(claims, "ec-platform", header={"typ": "JWT"}).encode()


def by_pod_token(**members: object) -> dict[str, object]:
    return {"enrolment": {"service_account_token_file": TOKEN}, **members}


def test_a_projected_token_is_read_anew_at_every_enrolment(tmp_path: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        world.disk.put(TOKEN, pod_token(3_600))
        await parts.instance.certified.wait()
        first = parts.instance.certificate
        assert first is not None
        assert (first.attestation.type, first.attestation.pod_uid) == ("k8s_sa", POD_UID)
        await elapse(3_700)
        world.disk.put(TOKEN, pod_token(9_000))
        await elapse(1_500)
        again = parts.instance.certificate
        assert again is not None
        assert again.serial != first.serial, "renewed with the token of that hour"

    world = play(script, tmp_path, place=by_pod_token(), issuer=settings(tmp_path))
    assert world.lines("enrolment_failed") == []


def test_a_svid_file_enrols(tmp_path: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        world.disk.put(TOKEN, svid())
        await parts.instance.certified.wait()
        assert parts.instance.certificate is not None
        assert parts.instance.certificate.attestation.subject == "spiffe://prod.example/bot"

    place = {"enrolment": {"spiffe_jwt_file": TOKEN}}
    play(script, tmp_path, place=place, issuer=settings(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"x" * (limits.TOKEN_BYTES_MAX + 1), "longer than"),
        (b"\xff\xfe", "attestation_invalid"),
        (pod_token(-60), "token_expired"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_named_and_tried_again(
    tmp_path: Path, text: bytes | None, said: str
) -> None:
    async def script(world: World, parts: Parts) -> None:
        if text is not None:
            world.disk.put(TOKEN, text)
        await elapse(120)
        assert said in (parts.enroller.last_error or "")
        assert parts.enroller.refused is None
        world.disk.put(TOKEN, pod_token(3_600))
        await elapse(60)
        assert parts.instance.may_ship()

    play(script, tmp_path, place=by_pod_token(), issuer=settings(tmp_path))


def test_a_topology_that_the_workload_may_not_have_is_final(tmp_path: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        world.disk.put(TOKEN, pod_token(3_600))
        await parts.enroller.refused_for_good.wait()
        assert parts.enroller.refused is not None
        assert parts.enroller.refused.code == "topology_not_allowed"

    place = by_pod_token(topology="regional")
    play(script, tmp_path, place=place, issuer=settings(tmp_path))


def test_who_is_superseded_says_so_and_goes_on_until_its_certificate_ends(tmp_path: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        world.disk.put(TOKEN, pod_token(100_000))
        await parts.instance.certified.wait()
        twin = await world.build(
            spool={"directory": "/state/spool2"},
            **by_pod_token(policy={"scope": "acme/prod", "directory": "/p2"}),
        )
        await enrol(twin)
        seen = [parts.enroller.conflict]
        await elapse(LIFE_SECONDS * 2 // 3 + 60)
        assert [*seen, parts.enroller.conflict] == [False, True]
        assert parts.instance.may_ship(), "what it has is good until it ends"
        assert world.rows("issuer", "SELECT instance, superseded_by FROM conflict") == [
            (parts.instance.id, twin.instance.id)
        ]
        await twin.aclose()

    play(
        script,
        tmp_path,
        certificate_seconds=LIFE_SECONDS,
        place=by_pod_token(),
        issuer=settings(tmp_path),
    )


def test_the_configuration_chooses_one_way() -> None:
    disk, chance = SimDisk(), SystemEntropy()

    def chosen(**members: str) -> object:
        return attestor_of(msgspec.convert(members, Enrolment), disk, chance)

    assert chosen() is None
    assert isinstance(chosen(host_key_file="/h"), HostKey)
    for name, kind in (("service_account_token_file", "k8s_sa"), ("spiffe_jwt_file", "spiffe_jwt")):
        found = chosen(**{name: "/t"})
        assert isinstance(found, PlatformToken)
        assert found.kind == kind
        with pytest.raises(ValueError, match="attested in one way"):
            chosen(**{name: "/t", "host_key_file": "/h"})


def test_what_the_kubelet_mounts_is_a_link_and_is_followed_anew(tmp_path: Path) -> None:
    """The kubelet swaps the link ``..data``; the path stays."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(f"token.{name}.x\n")
    data, path = tmp_path / "..data", tmp_path / "token"
    data.symlink_to("1")
    path.symlink_to("..data/token")
    attestor = PlatformToken(ThreadDisk(), "k8s_sa", str(path))

    async def read() -> list[str]:
        first = await attestor.token(signed_specimens.ENROL)
        data.unlink()
        data.symlink_to("2")
        return [first, await attestor.token(signed_specimens.ENROL)]

    assert anyio.run(read) == ["token.1.x", "token.2.x"]
