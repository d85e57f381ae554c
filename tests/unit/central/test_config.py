"""Configuration and key files: what is refused before anything listens."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from central import config as configuration
from central.keys import RootFiles, lets_others_in, read_secret
from gateway.errors import ConfigInvalid
from tests.unit.central.deployment import root_document, write_key

MINIMAL = """
roots_directory = "roots"
[[tenants]]
name = "acme"
regions = ["eu-west-1"]
scope = "acme/prod"
"""


def load(tmp_path: Path, text: str) -> configuration.CentralConfig:
    path = tmp_path / "central.toml"
    path.write_text(text)
    return configuration.load(str(path))


def test_defaults_are_those_of_one_machine(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    assert (config.host, config.listening_port) == ("127.0.0.1", 4143)
    assert config.services == ["issuer", "policy", "records"]
    assert config.policy.head_lifetime_seconds == 4 * 3600
    assert config.roots_directory == str(tmp_path / "roots"), "relative to the file"
    assert config.tenant_of_scope("acme/prod") == "acme"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("port = 70000", "port: 70000"),
        ("colour = 1", "colour"),
        ("services = []", "services"),
        ('services = ["gateway"]', "services"),
        ("[policy]\nresign_seconds = 99999", "resign_seconds"),
        ("[policy]\nrefresh_min_seconds = 61", "refresh_min_seconds"),
        ("[issuer]\ncertificate_seconds = 1", "certificate_seconds"),
        ('[[people]]\nname="a"\ntenant="acme"\nrole="auditor"\nsha256="x"', "people 'a'"),
        (f'[[people]]\nname="a"\ntenant="b"\nrole="auditor"\nsha256="{"0" * 64}"', "tenant 'b'"),
        ('[[people]]\nname="a"\ntenant="acme"\nrole="king"\nsha256="x"', "role"),
        (
            "".join(
                f'[[people]]\nname="{name}"\ntenant="acme"\nrole="operator"\nsha256="{"5" * 64}"\n'
                for name in ("olaf", "olga")
            ),
            "people 'olga': has the token of 'olaf'",
        ),
        ('[[hosts]]\nname="h"\ntenant="acme"\nregion="mars"\npub=""', "region 'mars'"),
        ('[[tenants]]\nname="acme"\nregions=["x"]', "twice"),
        ('[[tenants]]\nname="Acme!"\nregions=["x"]', "Acme!"),
        ('[[tenants]]\nname="b"\nregions=[]', "regions is empty"),
        ('[[tenants]]\nname="b"\nregions=["x"]\nscope="acme/prod"', "same scope"),
        ('[[tenants]]\nname="b"\nregions=["x"]\nscope="../x"', "not a path"),
        ("=", "central.toml"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(tmp_path: Path, extra: str, said: str) -> None:
    before = extra if "[" not in extra.split("\n")[0] or extra.startswith("services") else ""
    text = f"{before}\n{MINIMAL}\n{'' if before else extra}"
    with pytest.raises(ConfigInvalid, match=r"central\.toml") as caught:
        load(tmp_path, text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("services", "port"),
    [
        ('["issuer"]', 4145),
        ('["records"]', 4144),
        ('["policy"]', 4143),
        ('["issuer","policy"]', 4143),
    ],
)
def test_who_runs_apart_has_a_port_of_its_own(tmp_path: Path, services: str, port: int) -> None:
    config = load(tmp_path, f"services = {services}\n{MINIMAL}")
    assert config.listening_port == port
    assert not config.one_operator
    assert load(tmp_path, f"port = 0\nservices = {services}\n{MINIMAL}").listening_port == 0


def test_an_issuer_apart_must_not_hold_the_key_of_the_log(tmp_path: Path) -> None:
    keys = '\n[keys]\nlog = "log.key"\n'
    assert load(tmp_path, MINIMAL + keys).one_operator
    for services in ('["issuer"]', '["issuer", "policy"]'):
        with pytest.raises(ConfigInvalid, match=r"keys\.log: an issuer that runs apart"):
            load(tmp_path, f"services = {services}\n{MINIMAL}{keys}")
    path = str(tmp_path / "central.toml")
    (tmp_path / "central.toml").write_text(MINIMAL)
    assert configuration.load(path, "issuer").services == ["issuer"]
    (tmp_path / "central.toml").write_text(f'services = ["records"]\n{MINIMAL}')
    with pytest.raises(ConfigInvalid, match="this process is issuer alone"):
        configuration.load(path, "issuer")


@pytest.mark.parametrize("url", ["http://issuer.example:4145", "http://192.0.2.7", "http://[::]:1"])
def test_no_token_goes_to_an_issuer_in_plain_text(tmp_path: Path, url: str) -> None:
    def store(issuer: str) -> configuration.CentralConfig:
        return load(tmp_path, f'services = ["records"]\nissuer_url = "{issuer}"\n{MINIMAL}')

    with pytest.raises(ConfigInvalid, match=r"issuer_url: .* is plain HTTP to another machine"):
        store(url)
    for kept in ("https://issuer.example", "http://127.0.0.1:4145", "http://[::1]:1", "unix:/i"):
        assert store(kept).issuer_url == kept


def test_a_record_store_elsewhere_is_for_services_apart_that_somebody_certifies(
    tmp_path: Path,
) -> None:
    def load_with(services: str, *lines: str) -> configuration.CentralConfig:
        return load(tmp_path, "\n".join([f"services = {services}", *lines, MINIMAL]))

    url, issuer = 'record_store_url = "https://store.example"', 'issuer_url = "unix:/issuer"'
    assert load_with('["policy"]', url, issuer).record_store_url == "https://store.example"
    assert load_with('["issuer", "policy"]', url).record_store_url == "https://store.example"
    with pytest.raises(ConfigInvalid, match=r"record_store_url: name issuer_url too"):
        load_with('["policy"]', url)
    with pytest.raises(ConfigInvalid, match=r"record_store_url: the record store runs in this"):
        load_with('["records"]', url, issuer)
    with pytest.raises(ConfigInvalid, match=r"record_store_url: .* is plain HTTP to another"):
        load_with('["policy"]', url.replace("https", "http"), issuer)


@pytest.mark.parametrize("key", ["issuer", "digest_wrap"])
@pytest.mark.parametrize("services", ['["records"]', '["policy"]', '["policy", "records"]'])
def test_nobody_but_the_issuer_holds_its_keys(tmp_path: Path, services: str, key: str) -> None:
    keys = f'\n[keys]\n{key} = "one.key"\n'
    assert load(tmp_path, MINIMAL + keys).one_operator
    assert load(tmp_path, f'services = ["issuer"]\n{MINIMAL}{keys}').services == ["issuer"]
    with pytest.raises(ConfigInvalid, match=rf"keys\.{key}: no issuer runs in this process"):
        load(tmp_path, f"services = {services}\n{MINIMAL}{keys}")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="No such file"):
        configuration.load(str(tmp_path / "none.toml"))


def test_a_key_file_is_read(tmp_path: Path) -> None:
    assert read_secret(write_key(tmp_path / "k", b"k" * 32), "issuer") == b"k" * 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o700 | 0o001])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = write_key(tmp_path / "k", b"k" * 32, mode)
    with pytest.raises(ConfigInvalid, match="lets others in"):
        read_secret(path, "issuer")


def _status(mode: int, owner: int, group: int) -> os.stat_result:
    return os.stat_result((0o100_000 | mode, 1, 1, 1, owner, group, 45, 0, 0, 0))


def test_a_key_that_root_hands_to_this_group_alone_is_private() -> None:
    """As a Kubernetes Secret is: its owner is root, whoever the process is."""
    assert not lets_others_in(_status(0o440, 0, 65_532), 65_532, 65_532)
    assert not lets_others_in(_status(0o600, 65_532, 65_532), 65_532, 65_532)


@pytest.mark.parametrize(
    ("mode", "owner", "group", "user"),
    [
        (0o444, 0, 65_532, 65_532),
        (0o460, 0, 65_532, 65_532),
        (0o440, 1000, 65_532, 65_532),
        (0o440, 0, 100, 65_532),
        (0o440, 0, 65_532, 0),
    ],
)
def test_no_other_group_may_read_a_key(mode: int, owner: int, group: int, user: int) -> None:
    assert lets_others_in(_status(mode, owner, group), user, 65_532)


def test_a_key_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    write_key(tmp_path / "k", b"k" * 32)
    (tmp_path / "link").symlink_to(tmp_path / "k")
    with pytest.raises(ConfigInvalid, match="issuer key"):
        read_secret(str(tmp_path / "link"), "issuer")


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(b"short").decode()])
def test_a_malformed_key_is_refused_and_never_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "k"
    path.write_text(text)
    os.chmod(path, 0o600)
    with pytest.raises(ConfigInvalid) as caught:
        read_secret(str(path), "issuer")
    assert not text or text not in str(caught.value)


def test_roots_must_be_there_and_chain(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"no 1\.json"):
        RootFiles(str(tmp_path), None)
    (tmp_path / "1.json").write_bytes(root_document().envelope)
    assert RootFiles(str(tmp_path), root_document().digest).current.version == 1
    (tmp_path / "2.json").write_bytes(root_document().envelope)
    with pytest.raises(ConfigInvalid, match="version"):
        RootFiles(str(tmp_path), None)
