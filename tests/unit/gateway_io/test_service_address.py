from __future__ import annotations

import pytest

from gateway.errors import ConfigInvalid
from gateway.io.service_address import ServiceAddress, parse_service_url


def tcp(host: str, port: int, authority: str, *, tls: bool = False) -> ServiceAddress:
    return ServiceAddress(host=host, port=port, tls=tls, path=None, authority=authority)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://store:4144", tcp("store", 4144, "store:4144")),
        ("http://store:4144/", tcp("store", 4144, "store:4144")),
        ("http://store", tcp("store", 80, "store")),
        ("https://Store.Example", tcp("store.example", 443, "store.example", tls=True)),
        ("https://127.0.0.1:4143", tcp("127.0.0.1", 4143, "127.0.0.1:4143", tls=True)),
        ("http://[::1]:4143", tcp("::1", 4143, "[::1]:4143")),
        ("unix:/run/central.sock", ServiceAddress("", 0, False, "/run/central.sock", "localhost")),
        (
            "unix:///run/central.sock",
            ServiceAddress("", 0, False, "/run/central.sock", "localhost"),
        ),
    ],
)
def test_the_urls_of_services_are_taken_apart(url: str, expected: ServiceAddress) -> None:
    assert parse_service_url(url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "a service is http"),
        ("store:4144", "a service is http"),
        ("ftp://store", "a service is http"),
        ("http://", "a service is http"),
        ("http://user:secret@store", "only scheme, host and port"),
        ("http://store/v1", "only scheme, host and port"),
        ("http://store?x=1", "only scheme, host and port"),
        ("http://store#x", "only scheme, host and port"),
        ("http://store:99999", "is not a URL"),
        ("http://store:port", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://sto re", "without spaces"),
        ("http://störe", "in ASCII"),
        ("unix:run/central.sock", "unix:/absolute/path"),
        ("unix:", "unix:/absolute/path"),
    ],
)
def test_other_urls_are_configuration_errors_that_say_why(url: str, words: str) -> None:
    with pytest.raises(ConfigInvalid, match=words):
        parse_service_url(url)
