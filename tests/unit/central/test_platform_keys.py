"""A platform's keys: fetched over TLS, read again when that helps, kept when it does not."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from central.config import IssuerSettings
from central.errors import Refused
from central.issuer.platform_keys import PlatformKeys
from central.workload_config import Cluster, jwks_address
from gateway import limits, token
from gateway.errors import ConfigInvalid, IdentityRejected
from tests.unit.central.deployment import Daemon, Deployment, HandClock
from tests.unit.central.key_server import KeyServer, serving
from tests.unit.central.workload_world import ask, pod_token, settings
from tests.unit.gateway import token_factory as make
from tests.unit.gateway_io.authority import Authority

pytestmark = pytest.mark.anyio
_SECOND_US = 1_000_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority) -> Iterator[KeyServer]:
    with serving(authority) as running:
        running.jwks = make.jwks("rsa-cluster")
        yield running


def cluster(directory: Path, **origin: object) -> Cluster:
    """The cluster of the other tests, with its keys from elsewhere."""
    known = settings(directory).clusters[0]
    return msgspec.structs.replace(known, **{"jwks_file": None, **origin})


def keys_of(
    server: KeyServer, authority: Authority, tmp_path: Path, clock: HandClock
) -> PlatformKeys:
    return PlatformKeys(cluster(tmp_path, jwks_url=server.url, ca_file=authority.ca_file), clock)


def signed_by(key: str) -> token.Token:
    return token.read_token(pod_token(None, key, "ES256" if key.startswith("ec") else "RS256"))


async def refused(keys: PlatformKeys, key: str) -> str:
    """The code of a refusal by ``keys``."""
    try:
        await keys.verify(signed_by(key))
    except (Refused, IdentityRejected) as error:
        return error.code
    return ""


async def test_keys_are_fetched_once_and_used_offline(
    server: KeyServer, authority: Authority, tmp_path: Path
) -> None:
    keys = keys_of(server, authority, tmp_path, HandClock())
    assert server.asked == [], "nothing is fetched before it is needed"
    for _ in range(3):
        assert await refused(keys, "rsa-cluster") == ""
    assert server.asked == [None]
    await keys.aclose()


async def test_an_unknown_kid_makes_the_set_be_read_again_but_not_for_everybody_who_asks(
    server: KeyServer, authority: Authority, tmp_path: Path
) -> None:
    clock = HandClock()
    keys = keys_of(server, authority, tmp_path, clock)
    assert await refused(keys, "rsa-cluster") == ""
    server.jwks = make.jwks("rsa-cluster", "ec-cluster")
    for _ in range(5):
        assert await refused(keys, "ec-cluster") == "token_key_unknown"
    assert len(server.asked) == 1, "read just now"
    clock.now_us += limits.ATTESTATION_KEYS_REFRESH_SECONDS_MIN * _SECOND_US
    assert await refused(keys, "ec-cluster") == ""
    assert await refused(keys, "rsa-stranger") == "token_key_unknown"
    assert len(server.asked) == 2
    await keys.aclose()


async def test_a_key_that_was_withdrawn_ends_within_the_hour(
    server: KeyServer, authority: Authority, tmp_path: Path
) -> None:
    clock = HandClock()
    keys = keys_of(server, authority, tmp_path, clock)
    assert await refused(keys, "rsa-cluster") == ""
    server.jwks = make.jwks("ec-cluster")
    clock.now_us += limits.ATTESTATION_KEYS_AGE_SECONDS_MAX * _SECOND_US
    assert await refused(keys, "rsa-cluster") == ""
    clock.now_us += 1
    assert await refused(keys, "rsa-cluster") == "token_key_unknown"
    await keys.aclose()


async def test_a_key_ends_within_a_day_where_the_platform_cannot_be_asked(
    server: KeyServer, authority: Authority, tmp_path: Path
) -> None:
    """Who holds a withdrawn key and keeps the platform away must not use it for ever."""
    clock = HandClock()
    keys = keys_of(server, authority, tmp_path, clock)
    assert await refused(keys, "rsa-cluster") == ""
    server.status = 503
    clock.now_us += limits.ATTESTATION_KEYS_STALE_SECONDS_MAX * _SECOND_US
    assert await refused(keys, "rsa-cluster") == ""
    clock.now_us += 1
    assert await refused(keys, "rsa-cluster") == "attestation_keys_unavailable"
    server.status = 200
    clock.now_us += limits.ATTESTATION_KEYS_REFRESH_SECONDS_MIN * _SECOND_US
    assert await refused(keys, "rsa-cluster") == ""
    await keys.aclose()


@pytest.mark.parametrize(
    ("status", "jwks"),
    [
        (500, b""),
        (302, b""),
        (200, b'{"keys":[]}'),
        (200, b"not JSON"),
        (200, make.jwks("ed-1")),
        (200, b"x" * (limits.ATTESTATION_KEYS_BYTES_MAX + 1)),
    ],
)
async def test_a_platform_that_fails_does_not_take_the_last_good_keys_away(
    server: KeyServer,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    status: int,
    jwks: bytes,
) -> None:
    clock = HandClock()
    keys = keys_of(server, authority, tmp_path, clock)
    assert await refused(keys, "rsa-cluster") == ""
    server.status, server.jwks = status, jwks
    clock.now_us += 2 * limits.ATTESTATION_KEYS_AGE_SECONDS_MAX * _SECOND_US
    with caplog.at_level(logging.WARNING, "gatepost.central"):
        assert await refused(keys, "rsa-cluster") == ""
    assert len(server.asked) == 2
    assert "attestation_keys_unreadable: issuer.clusters 'prod'" in caplog.text
    await keys.aclose()


async def test_without_any_keys_nothing_is_attested_and_it_may_be_tried_again(
    server: KeyServer, authority: Authority, tmp_path: Path
) -> None:
    clock = HandClock()
    keys = keys_of(server, authority, tmp_path, clock)
    server.status = 503
    assert await refused(keys, "rsa-cluster") == "attestation_keys_unavailable"
    server.status = 200
    assert await refused(keys, "rsa-cluster") == "attestation_keys_unavailable"
    clock.now_us += limits.ATTESTATION_KEYS_REFRESH_SECONDS_MIN * _SECOND_US
    assert await refused(keys, "rsa-cluster") == ""
    await keys.aclose()


async def test_a_server_that_another_authority_vouches_for_is_not_asked(
    server: KeyServer, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path)
    keys = keys_of(server, stranger, tmp_path, HandClock())
    assert await refused(keys, "rsa-cluster") == "attestation_keys_unavailable"
    assert server.asked == []


async def test_a_server_of_another_name_is_not_asked(authority: Authority, tmp_path: Path) -> None:
    with serving(authority, name="other.example") as other:
        other.jwks = make.jwks("rsa-cluster")
        keys = keys_of(other, authority, tmp_path, HandClock())
        assert await refused(keys, "rsa-cluster") == "attestation_keys_unavailable"
        assert other.asked == []


async def test_the_bearer_token_is_read_each_time(
    server: KeyServer, authority: Authority, tmp_path: Path
) -> None:
    clock, file = HandClock(), tmp_path / "bearer"
    origin = {"jwks_url": server.url, "ca_file": authority.ca_file}
    keys = PlatformKeys(cluster(tmp_path, bearer_token_file=str(file), **origin), clock)
    assert await refused(keys, "rsa-cluster") == "attestation_keys_unavailable", "no such file"
    for text in ("first", "second"):
        file.write_text(text + "\n")
        clock.now_us += 2 * limits.ATTESTATION_KEYS_AGE_SECONDS_MAX * _SECOND_US
        assert await refused(keys, "rsa-cluster") == ""
    assert server.asked == ["Bearer first", "Bearer second"]
    await keys.aclose()


async def test_a_file_is_read_again_for_a_kid_that_it_lacked(tmp_path: Path) -> None:
    clock, file = HandClock(), tmp_path / "keys.json"
    file.write_bytes(make.jwks("rsa-cluster"))
    keys = PlatformKeys(cluster(tmp_path, jwks_file=str(file)), clock)
    file.write_bytes(make.jwks("ec-cluster"))
    assert await refused(keys, "ec-cluster") == ""
    assert await refused(keys, "rsa-cluster") == "token_key_unknown"


@pytest.mark.parametrize("text", [b"", b'{"keys":[]}', make.jwks("ed-1")])
def test_a_file_that_cannot_be_used_ends_the_start(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(text)
    with pytest.raises(ConfigInvalid, match=r"issuer\.clusters 'prod'"):
        PlatformKeys(cluster(tmp_path, jwks_file=str(file)), HandClock())


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/jwks",
        "https:///jwks",
        "https://user@localhost/jwks",
        "https://localhost/jwks#x",
        "https://localhost/a b",
        "localhost/jwks",
    ],
)
def test_an_address_that_is_not_plain_https_is_refused(url: str) -> None:
    with pytest.raises(ConfigInvalid):
        jwks_address(url)


def test_a_pod_enrols_by_keys_from_its_cluster(
    server: KeyServer, authority: Authority, tmp_path: Path
) -> None:
    """The whole way, through the application."""
    one = cluster(tmp_path, jwks_url=server.url, ca_file=authority.ca_file)
    made = Deployment(tmp_path, ["issuer"], issuer=IssuerSettings(clusters=[one]))
    numbers = itertools.count(1)
    with made.http:
        assert ask(Daemon(made, next(numbers)), "k8s_sa", pod_token())[0] == 201
        forged = pod_token(None, "rsa-stranger")
        assert ask(Daemon(made, next(numbers)), "k8s_sa", forged) == (403, "attestation_invalid")
        assert ask(Daemon(made, next(numbers)), "spiffe_jwt", "t") == (
            501,
            "attestation_not_configured",
        )
    assert len(server.asked) == 1
