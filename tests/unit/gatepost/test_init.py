"""``gatepost init``: a configuration to start from, or a clear no."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from central import config as central_config
from central.policy_mirror import config as mirror_config
from central.witness import config as witness_config
from sidecar.config import read
from tests.unit.gatepost.running import gatepost

ROOT = "sha256:" + "ab" * 32


def test_what_it_writes_is_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    options = ["--tenant", "initech", "--region", "us-east-1", "--agent", "spiffe://x/claims bot"]
    ended = gatepost("init", path, *options, "--uid", 4242, "--root", ROOT)
    assert (ended.code, ended.err) == (0, "")
    assert f"wrote {path}" in ended.out
    config = read(str(path))
    assert (config.tenant, config.region) == ("initech", "us-east-1")
    assert config.listen.unix[0].agent == "spiffe://x/claims bot"
    assert (config.listen.agents[0].uid, config.trust.root_sha256) == (4242, ROOT)
    assert "placeholder" not in ended.out


def test_without_a_root_it_says_what_is_missing(tmp_path: Path) -> None:
    ended = gatepost("init", tmp_path / "a.toml")
    assert ended.code == 0
    assert "trust.root_sha256 is a placeholder" in ended.out


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text("mine")
    ended = gatepost("init", path)
    assert ended.code == 2
    assert f"{path} exists; choose another name or remove it" in ended.err
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value", "place"),
    [
        ("--tenant", "Not A Name", "$.tenant"),
        ("--region", "", "$.region"),
        ("--root", "sha256:1", "$.trust.root_sha256"),
        ("--central", "ftp://x", "$.central"),
        ("--uid", "-1", "$.listen.agents[0].uid"),
        ("--runtime", "/" + "x" * 100, "107 bytes"),
        ("--agent", "", "`id`"),
        ("--agent", "\udcff", "surrogates"),
    ],
)
def test_an_option_that_does_not_fit_is_named_and_nothing_is_written(
    tmp_path: Path, option: str, value: str, place: str
) -> None:
    path = tmp_path / "sidecar.toml"
    ended = gatepost("init", path, option, value)
    assert ended.code == 2
    assert place in ended.err
    assert not path.exists()


@pytest.mark.parametrize("agent", ['a"b', "a\\b", "a\nb", "a]b", "{x}", "a'b"])
def test_what_toml_would_read_as_its_own_is_escaped(tmp_path: Path, agent: str) -> None:
    path = tmp_path / "sidecar.toml"
    assert gatepost("init", path, "--agent", agent, "--state", f"/s/{agent}").code == 0
    config = read(str(path))
    assert config.identity.agents[0].id == agent
    assert config.spool.directory == f"/s/{agent}/spool"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    ended = gatepost("init", tmp_path / "absent" / "sidecar.toml")
    assert ended.code == 2
    assert "absent/sidecar.toml: No such file or directory" in ended.err


def test_json_says_what_was_written_and_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.toml"
    ended = gatepost("init", path, "--json")
    assert json.loads(ended.out) == {"written": str(path), "root_missing": True}
    assert path.exists()


def test_every_service_has_a_configuration_to_start_from(tmp_path: Path) -> None:
    words = ("--tenant", "initech", "--region", "us-east-1", "--root", ROOT, "--state", "/s p")
    loaders: dict[str, Callable[[str], object]] = {
        "drain": read,
        "central": central_config.load,
        "issuer": lambda path: central_config.load(path, "issuer"),
        "mirror": mirror_config.load,
        "witness": witness_config.load,
    }
    found: dict[str, Any] = {}
    for kind, load in loaders.items():
        path = tmp_path / f"{kind}.toml"
        ended = gatepost("init", "--for", kind, path, *words)
        assert (ended.code, ended.err) == (0, "")
        assert path.name in ended.out.partition("then: ")[2]
        found[kind] = load(str(path))
    assert found["drain"].tenant == "initech"
    assert found["drain"].spool.directory == "/s p/spool"
    assert found["central"].services == ["policy", "records"]
    assert found["central"].keys.log == "/s p/keys/log.key"
    assert found["issuer"].keys.issuer == "/s p/keys/issuer.key"
    assert found["issuer"].keys.log is None
    for kind in ("central", "issuer"):
        assert found[kind].root_fingerprint == ROOT
        assert found[kind].has_place("initech", "us-east-1")
    assert found["central"].issuer_url == f"http://127.0.0.1:{found['issuer'].listening_port}"
    assert found["issuer"].record_store_url == "http://127.0.0.1:4143"
    mirror = found["mirror"]
    assert (mirror.mirror_of, mirror.root_fingerprint) == ("http://127.0.0.1:4143", ROOT)
    assert [one.scope for one in mirror.scopes] == ["initech/prod/us-east-1"]
    assert (found["witness"].key, found["witness"].logs) == ("/s p/witness.key", [])


@pytest.mark.parametrize("kind", ["sidecar", "drain", "central", "issuer", "mirror", "witness"])
def test_a_configuration_names_the_command_that_reads_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.toml"
    gatepost("init", "--for", kind, path)
    text = path.read_text()
    assert "mine.toml" in text
    assert not re.search(r"[{}]", re.sub(r"#.*", "", text))


def test_what_is_nobody_s_is_said(tmp_path: Path) -> None:
    ended = gatepost("init", "--for", "issuer", tmp_path / "issuer.toml")
    assert "root_fingerprint is a placeholder" in ended.out
    assert "each sha256 of zeros is a placeholder" in ended.out
    ended = gatepost(
        "init", "--for", "central", tmp_path / "a.toml", "--issuer", "http://x.example"
    )
    assert ended.code == 2
    assert "issuer_url" in ended.err
