"""The configurations of ``gatepost init`` start what they are for, with keys of one set."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gatepost.key_file import write_secret
from gatepost.process import Children
from gateway import note
from tests.unit.gatepost.running import gatepost

pytestmark = pytest.mark.integration

SEED = b"w" * 32


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    with Children(tmp_path) as started:
        yield started


def written(kind: str, state: Path, *options: str) -> Path:
    """The sample of ``kind`` on a free port."""
    path = state / f"{kind}.toml"
    ended = gatepost("init", "--for", kind, path, "--state", state, *options)
    assert ended.code == 0, ended.err
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join("port = 0\n" if line.startswith("port =") else line for line in lines))
    return path


def url_of(children: Children, command: str, path: Path) -> str:
    announced = children.start(command, "gatepost", [command, "--config", str(path)]).wait_ready()
    return str(announced["url"])


@pytest.mark.timeout(180)
def test_the_services_start_from_their_samples(tmp_path: Path, children: Children) -> None:
    set_of_keys = ("--custody", "development", "--directory", tmp_path, "--scope", "acme/prod/*")
    made = gatepost("keys", "init", *set_of_keys, "--json")
    assert made.code == 0, made.err
    root = str(msgspec.json.decode(made.out)["fingerprint"])
    issuer = url_of(children, "issuer", written("issuer", tmp_path, "--root", root))
    central = written("central", tmp_path, "--root", root, "--issuer", issuer)
    assert url_of(children, "central", central).startswith("http://127.0.0.1:")
    write_secret(tmp_path / "witness.key", SEED)
    witness = children.start(
        "witness", "gatepost", ["witness", "--config", str(written("witness", tmp_path))]
    ).wait_ready()
    assert note.parse_key(str(witness["key"])).name == "witness.example/w1"
    mirror = children.start(
        "mirror",
        "gatepost",
        ["central", "policy", "--config", str(written("mirror", tmp_path, "--root", root))],
    ).wait_ready()
    assert str(mirror["url"]).startswith("http://127.0.0.1:")
    checked = gatepost("check-config", written("drain", tmp_path, "--root", root), "--json")
    assert msgspec.json.decode(checked.out)["effective"]["trust"]["root_sha256"] == root
    assert base64.b64decode((tmp_path / "witness.key").read_bytes()) == SEED
