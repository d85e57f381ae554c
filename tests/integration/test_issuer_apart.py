"""An issuer that is a process of its own, and a daemon that its cluster's token attests."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from gatepost.home import REGION, TENANT
from gatepost.process import Children
from gateway.documents import KeyCert
from gateway.io.clock import SystemClock
from tests.integration import raw
from tests.integration.conftest import MakeSite
from tests.integration.rules import MODEL
from tests.integration.system import Central, Edit, replaced
from tests.unit.central.key_server import KeyServer, serving
from tests.unit.gateway import token_factory as make
from tests.unit.gateway_io.authority import Authority

pytestmark = pytest.mark.integration

CLUSTER: Final = "https://cluster.example"
POD_UID: Final = "0f3e1c1e-6c2b-4a53-9a3a-8d0f6a1b2c3d"


def _pod_token(key: str = "ec-cluster") -> str:
    now = SystemClock().wall_us() // 1_000_000
    claims = {
        "iss": CLUSTER,
        "sub": "system:serviceaccount:agents:bot",
        "aud": ["gatepost-enrol"],
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "kubernetes.io": {
            "namespace": "agents",
            "pod": {"name": "bot-1", "uid": POD_UID},
            "serviceaccount": {"name": "bot"},
        },
    }
    return make.token(claims, key, header={"typ": None})


def _configuration(central: Central, directory: Path, server: KeyServer, ca_file: str) -> str:
    """That of the issuer: the central services' own, without the key of the log."""
    text = replaced(data_directory=f'"{directory}/data"', port="0")(
        central.home.central_toml.read_text()
    )
    kept = "".join(line for line in text.splitlines(True) if not line.startswith("log = "))
    return f"""{kept}
[[issuer.clusters]]
name = "test"
issuer = "{CLUSTER}"
jwks_url = "{server.url}"
ca_file = "{ca_file}"
[[issuer.clusters.workloads]]
namespace = "agents"
service_account = "bot"
tenant = "{TENANT}"
regions = ["{REGION}"]
"""


@contextmanager
def _issuer(central: Central, directory: Path) -> Iterator[str]:
    """The URL of an issuer that runs apart and asks its cluster for keys."""
    authority = Authority(directory)
    with ExitStack() as running:
        server = running.enter_context(serving(authority))
        server.jwks = make.jwks("ec-cluster")
        config = directory / "issuer.toml"
        config.write_text(_configuration(central, directory, server, authority.ca_file))
        children = running.enter_context(Children(directory))
        child = children.start("issuer", "gatepost", ["issuer", "--config", str(config)])
        yield str(child.wait_ready()["url"])
        assert server.asked == [None], "fetched once, and used offline"


def _attested_by(token: Path, issuer: str) -> Edit:
    def edit(text: str) -> str:
        lines = [line for line in text.splitlines(True) if "one_time_token_file" not in line]
        text = replaced(host_key_file=f'"{token}"')("".join(lines))
        text = text.replace("host_key_file", "service_account_token_file")
        return text.replace("[central]\n", f'[central]\nissuer_url = "{issuer}"\n')

    return edit


def test_a_pods_calls_are_recorded_under_a_certificate_of_the_issuer_apart(
    central: Central, make_site: MakeSite, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(_pod_token("ec-stranger"))
    with _issuer(central, tmp_path) as url:
        daemon = make_site(_attested_by(token, url)).start()
        daemon.wait_status(
            lambda status: "attestation_invalid" in (status.instance.enrolment_error or ""),
            "a refusal: that key is none of the cluster's",
        )
        token.write_text(_pod_token())
        daemon.wait_status(
            lambda status: status.instance.certificate_serial is not None, "a certificate"
        )
        reply = raw.ask(daemon.port, raw.chat_request(MODEL))
        assert reply.status == 200
        central.records.decision(reply.decision_id)
        envelope = central.records.detail(reply.decision_id)["certificate"]
        certificate = msgspec.json.decode(base64.b64decode(envelope["payload"]), type=KeyCert)
        attested = certificate.attestation
        assert (attested.type, attested.pod_uid) == ("k8s_sa", POD_UID)
        assert daemon.stop() == 0
