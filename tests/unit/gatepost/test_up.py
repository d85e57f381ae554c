"""``gatepost up``: ports that are taken, and when policy is published again."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from gatepost import up
from gatepost.faults import InputOutputError
from gatepost.home import BUNDLE_LIFE_US, Home
from gatepost.samples import sample
from tests.sim.clock import EPOCH_US
from tests.sim.entropy import SeededEntropy
from tests.unit.gatepost.answering import Answering
from tests.unit.gatepost.running import gatepost
from tests.unit.sidecar.hand_clock import HandClock

FREE = ["--port", "0", "--probe-port", "0", "--central-port", "0"]


@pytest.fixture(params=["127.0.0.1", "::1"])
def taken(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A port on which somebody listens."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as listener:
        yield request.param, listener.getsockname()[1]


def run(tmp_path: Path, *options: object) -> tuple[int, str]:
    """A run that ends before anything is started, and leaves nothing behind."""
    ended = gatepost("up", "--home", tmp_path / "home", *options)
    assert not (tmp_path / "home").exists()
    return ended.code, ended.err


def test_a_taken_port_is_named_with_its_option(tmp_path: Path, taken: tuple[str, int]) -> None:
    host, port = taken
    code, told = run(tmp_path, *FREE, "--port", port)
    assert code == 2
    assert f"port {port} is taken on {host}" in told
    assert "choose another with --port" in told


@pytest.mark.parametrize("option", ["--probe-port", "--central-port"])
def test_every_port_is_looked_at(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, told = run(tmp_path, *FREE, option, port)
    assert code == 2
    assert f"port {port} is taken on 127.0.0.1" in told
    assert f"choose another with {option}" in told


def test_one_port_for_two_is_a_usage_error(tmp_path: Path) -> None:
    code, told = run(tmp_path, *FREE, "--port", 5_000, "--central-port", 5_000)
    assert code == 2
    assert "--port and --central-port are both 5000" in told


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_is_a_port(tmp_path: Path, port: str) -> None:
    assert run(tmp_path, "--probe-port", port)[0] == 2


def test_a_key_file_must_be_there(tmp_path: Path) -> None:
    code, told = run(tmp_path, *FREE, "--openai-key-file", tmp_path / "absent")
    assert code == 2
    assert "absent" in told


# -- publishing ------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make(SeededEntropy(1), EPOCH_US, sample("policy.json"))
    return made


def published(home: Home, clock: HandClock, newest: int) -> list[str]:
    """What is asked of a service whose newest version is ``newest``: method and path."""
    log = msgspec.json.encode([{"version": number} for number in range(1, newest + 1)])
    with Answering(200, log) as service:
        up._publish_if_new(home, service.url, clock, Console(file=io.StringIO()))
    return [" ".join(one.split()[:2]) for one in service.asked]


PUBLISHED = ["GET /v1/policy/acme%2Fdev/log", "POST /v1/policy/acme%2Fdev/bundles"]


def test_policy_is_published_once_and_again_when_it_was_edited(home: Home) -> None:
    clock = HandClock()
    assert published(home, clock, 0) == PUBLISHED
    assert published(home, clock, 1) == []
    home.policy_json.write_bytes(home.policy_json.read_bytes() + b"\n")
    assert published(home, clock, 1) == PUBLISHED


def test_it_is_published_again_before_it_runs_out(home: Home) -> None:
    clock = HandClock()
    published(home, clock, 0)
    clock.now_us += BUNDLE_LIFE_US // 2 - 1
    assert published(home, clock, 1) == []
    clock.now_us += 1
    assert published(home, clock, 1) == PUBLISHED


@pytest.mark.parametrize("note", [b"", b"nonsense", b"{}", None])
def test_an_interrupted_run_is_made_up_for_by_the_services_word(
    home: Home, note: bytes | None
) -> None:
    if note is not None:
        (home.directory / "published.json").write_bytes(note)
    assert published(home, HandClock(), 3) == PUBLISHED


def test_a_policy_that_is_gone_is_named(home: Home) -> None:
    home.policy_json.unlink()
    with pytest.raises(InputOutputError, match=r"policy\.json: No such file"):
        published(home, HandClock(), 0)
