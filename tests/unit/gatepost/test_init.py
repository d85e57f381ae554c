"""``gatepost init``: a configuration to start from, or a clear no."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
