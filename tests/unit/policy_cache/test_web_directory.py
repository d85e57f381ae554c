"""The scope's files on a plain web server: no entity tags, no long polls, no policy service."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.errors import ConfigInvalid
from gateway.io.dial import AnyioDialer
from gateway.io.service import CentralService
from gateway.io.service_address import split_directory_url
from policy_cache.fetch import FetchFailed, directory_source
from tests.unit.policy_cache import laid_out
from tests.unit.policy_cache.policy_world import Publisher


@contextmanager
def web_server(directory: Path) -> Iterator[str]:
    """``python -m http.server`` of ``directory``; its URL."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--directory", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            assert server.stdout is not None
            said = re.search(rb"port (\d+)", server.stdout.readline())
            assert said is not None
            yield f"http://127.0.0.1:{int(said[1])}"
        finally:
            server.kill()


@pytest.mark.anyio
async def test_a_directory_on_a_plain_web_server_serves_a_daemon(tmp_path: Path) -> None:
    publisher = Publisher()
    first, second = publisher.bundle(1), publisher.bundle(2)
    place = tmp_path / "web" / "acme" / "prod"
    laid_out.write(place, laid_out.nested(publisher, first, publisher.head(first)))
    with web_server(tmp_path / "web") as url:
        origin, path = split_directory_url(f"{url}/acme/prod/")
        service = CentralService(origin, AnyioDialer(any_address=True))
        held = laid_out.acquirer(directory_source(service, path), publisher, tmp_path / "cache")
        await held.load()
        assert await held.refresh(probe_root=True) == "activated"
        assert await held.refresh(probe_root=True) == "unchanged"
        publisher.add_root()
        head = publisher.head(second, 2, bundle_version=2)
        laid_out.write(place, laid_out.nested(publisher, second, head))
        assert await held.refresh(probe_root=False) == "activated"
        assert (laid_out.in_force(held).version, held.root_version) == (2, 2)
        lock = publisher.head(second, 3, bundle_version=2, lock="incident")
        laid_out.write(place, {"head": lock.envelope})
        assert await held.refresh(probe_root=False) == "activated"
        assert laid_out.in_force(held).locked
        (place / "head").unlink()
        with pytest.raises(FetchFailed) as failed:
            await held.refresh(probe_root=False)
        assert failed.value.kind == "missing"
        assert laid_out.in_force(held).locked
        await service.aclose()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://bucket.example/a/b/", ("https://bucket.example", "/a/b")),
        ("http://127.0.0.1:8080", ("http://127.0.0.1:8080", "")),
        ("https://bucket.example/a%20b", ("https://bucket.example", "/a%20b")),
    ],
)
def test_a_directorys_url_is_an_origin_and_a_path(url: str, expected: tuple[str, str]) -> None:
    assert split_directory_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "ftp://bucket.example/a",
        "unix:/run/web.sock",
        "https://bucket.example/a?token=1",
        "https://bucket.example/a#b",
        "https://user:secret@bucket.example/a",
        "https://bucket.example/a b",
        "https://bucket.example/%zz",
        "https://bucket.example:99999/a",
        "https://[bucket/a",
        "https:///a",
    ],
)
def test_a_directorys_url_holds_nothing_else(url: str) -> None:
    with pytest.raises(ConfigInvalid, match=re.escape("http")):
        split_directory_url(url)
