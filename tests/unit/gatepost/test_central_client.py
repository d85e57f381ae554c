"""Asking the central services as a person: a token goes to them and to nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gatepost.central_client import CentralClient
from gatepost.faults import InputOutputError
from tests.unit.gatepost.answering import Answering


def test_the_token_goes_with_each_call() -> None:
    with Answering(200, b"[]") as service:
        client = CentralClient(service.url, "gpp_secret")
        assert client.get("/v1/records", {"limit": 5, "person": "a b&c"}) == b"[]"
        assert client.post("/v1/x", b"body") == b"[]"
    get, post = service.asked
    assert get.startswith("GET /v1/records?limit=5&person=a+b%26c HTTP/1.1")
    assert post.startswith("POST /v1/x HTTP/1.1")
    assert all("Authorization: Bearer gpp_secret" in one for one in service.asked)


def test_an_answer_is_saved_as_it_came(tmp_path: Path) -> None:
    body = bytes(range(256)) * 4_000
    with Answering(200, body) as service:
        saved = CentralClient(service.url, "t").save("/v1/exports", tmp_path / "export")
    assert saved == len(body)
    assert (tmp_path / "export").read_bytes() == body


def test_a_refusal_comes_with_the_services_own_words() -> None:
    with (
        Answering(403, b'{"error":{"code":"role_insufficient"}}') as service,
        pytest.raises(InputOutputError, match=r"GET /v1/x: 403 .*role_insufficient"),
    ):
        CentralClient(service.url, "t").get("/v1/x")


def test_words_have_an_end() -> None:
    with Answering(500, b"x" * 100_000) as service, pytest.raises(InputOutputError) as caught:
        CentralClient(service.url, "t").get("/v1/x")
    assert len(str(caught.value)) < 3_000


def test_a_redirect_is_not_followed_with_the_token() -> None:
    with Answering(200, b"theirs") as other:
        for status in (301, 302, 303, 307, 308):
            headers = f"Location: {other.url}/\r\n"
            with (
                Answering(status, b"", headers) as service,
                pytest.raises(InputOutputError, match=str(status)),
            ):
                CentralClient(service.url, "gpp_secret").get("/v1/x")
    assert other.asked == []


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_no_proxy_of_the_environment_sees_the_token(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Answering(200, b"proxied") as proxy, Answering(200, b"direct") as service:
        monkeypatch.setenv(name, proxy.url)
        assert CentralClient(service.url, "gpp_secret").get("/v1/x") == b"direct"
    assert proxy.asked == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 403 x\r\nContent-Length: 100\r\n\r\nshort",
    ],
)
def test_what_is_no_whole_answer_is_an_error_and_no_traceback(tmp_path: Path, raw: bytes) -> None:
    asks: list[Callable[[CentralClient], object]] = [
        lambda client: client.get("/v1/x"),
        lambda client: client.post("/v1/x", b""),
        lambda client: client.save("/v1/x", tmp_path / "saved"),
    ]
    for ask in asks:
        with Answering(raw=raw) as service, pytest.raises(InputOutputError):
            ask(CentralClient(service.url, "t"))
    assert not (tmp_path / "saved").exists(), "a part of an export would pass for a whole one"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[", "ftp://127.0.0.1:1"])
def test_a_service_that_is_not_there_is_named(url: str) -> None:
    with pytest.raises(InputOutputError) as caught:
        CentralClient(url, "t").get("/v1/x")
    assert url in str(caught.value)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with Answering(200, b"x") as service, pytest.raises(InputOutputError, match="absent"):
        CentralClient(service.url, "t").save("/v1/exports", tmp_path / "absent" / "export")
