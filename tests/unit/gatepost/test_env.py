"""``gatepost env``: lines that a shell evaluates, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from gatepost.env import variables
from sidecar.config import parse
from sidecar.status import ListenerStatus
from tests.unit.gatepost.running import admin_socket, gatepost
from tests.unit.sidecar.config_text import SMALLEST, WHOLE, Document, changed, toml
from tests.unit.sidecar.operators_end import Daemon
from tests.unit.sidecar.status_specimen import STATUS

PROVIDERS = {"openai": "/openai", "anthropic": "/anthropic", "gemini": "/g", "bedrock": "/b"}
EVERY = SMALLEST | {
    "upstreams": [{"name": "u", "url": "https://u.example", "region": "us"}],
    "routes": [
        {"name": name, "prefix": prefix, "protocol": name, "upstreams": ["u"]}
        for name, prefix in PROVIDERS.items()
    ],
}
CLEAN: dict[str, str | None] = {"NO_PROXY": None, "no_proxy": None}


def written(tmp_path: Path, document: Document) -> Path:
    path = tmp_path / "sidecar.toml"
    path.write_text(toml(document))
    return path


def evaluated(text: str, *names: str) -> list[str]:
    """What a POSIX shell has in ``names`` after ``eval``."""
    script = 'eval "$1"; shift; for name in "$@"; do eval "printf \'%s\\n\' \\"\\$$name\\""; done'
    shell = subprocess.run(
        ["sh", "-euc", script, "sh", text, *names], capture_output=True, text=True, check=True
    )
    return shell.stdout.splitlines()


def test_a_shell_gets_the_variables_that_sdks_read(tmp_path: Path) -> None:
    ended = gatepost("env", "--config", written(tmp_path, EVERY), env=CLEAN)
    assert (ended.code, ended.err) == (0, "")
    wanted = {
        "OPENAI_BASE_URL": "http://127.0.0.1:4141/openai/v1",
        "OPENAI_API_KEY": "held-by-gatepost",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:4141/anthropic",
        "ANTHROPIC_API_KEY": "held-by-gatepost",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:4141/g",
        "GEMINI_API_KEY": "held-by-gatepost",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://127.0.0.1:4141/b",
        "NO_PROXY": "127.0.0.1,localhost,::1",
        "no_proxy": "127.0.0.1,localhost,::1",
    }
    assert evaluated(ended.out, *wanted) == list(wanted.values())


def test_json_is_one_object_of_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, EVERY)
    ended = gatepost("env", "--config", path, "--json", env=CLEAN)
    assert ended.json == variables(parse(path.read_text()), 4141)


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        (".corp,10.0.0.0/8", ".corp,10.0.0.0/8,127.0.0.1,localhost,::1"),
        ("localhost, .corp", "localhost,.corp,127.0.0.1,::1"),
        ("127.0.0.1,localhost,::1", "127.0.0.1,localhost,::1"),
        ("a b;$(touch x)", "a b;$(touch x),127.0.0.1,localhost,::1"),
    ],
)
def test_what_is_kept_from_the_proxy_stays_so(tmp_path: Path, kept: str, wanted: str) -> None:
    path = written(tmp_path, EVERY)
    for name in ("NO_PROXY", "no_proxy"):
        ended = gatepost("env", "--config", path, env={**CLEAN, name: kept})
        assert evaluated(ended.out, "NO_PROXY", "no_proxy") == [wanted, wanted]


def test_two_routes_of_a_provider_leave_the_first(tmp_path: Path) -> None:
    second = {"name": "eu", "prefix": "/eu", "protocol": "openai", "upstreams": ["u"]}
    ended = gatepost("env", "--config", written(tmp_path, changed("routes.4", second, EVERY)))
    assert "/openai/v1" in ended.out
    assert "/eu/v1" not in ended.out


def test_a_port_that_the_daemon_picked_is_asked_of_it(tmp_path: Path) -> None:
    admin = str(tmp_path / "a" / "admin.sock")
    document = changed("listen", {"tcp_port": 0, "admin_socket": admin}, EVERY)
    path = written(tmp_path, document)
    absent = gatepost("env", "--config", path)
    assert absent.code == 2
    assert "is the daemon running?" in absent.err
    daemon = Daemon()
    bound = (ListenerStatus("one", "/run/a.sock"), ListenerStatus("tcp", "127.0.0.1:51234"))
    daemon.status = msgspec.structs.replace(STATUS, listeners=bound)
    with admin_socket(daemon, admin):
        ended = gatepost("env", "--config", path)
        assert evaluated(ended.out, "OPENAI_BASE_URL") == ["http://127.0.0.1:51234/openai/v1"]
        daemon.status = msgspec.structs.replace(STATUS, listeners=())
        starting = gatepost("env", "--config", path)
    assert starting.code == 2
    assert "does not listen on loopback yet" in starting.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "start `gatepost up`, or name the daemon's configuration"),
        (b"tenant = 1", "$.tenant"),
        (b"\xff\xfe", "not UTF-8"),
        (toml(changed("listen.tcp", False)).encode(), "listen.tcp is false"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_printed(
    tmp_path: Path, text: bytes | None, words: str
) -> None:
    path = tmp_path / "sidecar.toml"
    if text is not None:
        path.write_bytes(text)
    ended = gatepost("env", "--config", path)
    assert (ended.code, ended.out) == (2, "")
    assert "sidecar.toml" in ended.err
    assert words in ended.err


def test_tool_routes_have_no_variable() -> None:
    found = variables(parse(toml(WHOLE)), 1)
    assert {name for name in found if name.endswith("URL")} == {"OPENAI_BASE_URL"}
