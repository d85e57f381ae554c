"""URLs of upstreams: one meaning each, or none at all."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.upstream_url import UpstreamAddress, parse_upstream_url


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "base_path"),
    [
        ("https://api.openai.com", "api.openai.com", 443, True, ""),
        ("https://api.openai.com/", "api.openai.com", 443, True, ""),
        ("http://api.example", "api.example", 80, False, ""),
        ("HTTPS://API.Example", "api.example", 443, True, ""),
        ("http://127.0.0.1:8080/mcp", "127.0.0.1", 8080, False, "/mcp"),
        ("http://host/a/b-c/v1beta~2/", "host", 80, False, "/a/b-c/v1beta~2"),
        ("https://[2001:db8::1]:8443", "2001:db8::1", 8443, True, ""),
        ("http://my_service:1", "my_service", 1, False, ""),
        ("https://host:65535/v1.1", "host", 65_535, True, "/v1.1"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, tls: bool, base_path: str) -> None:
    wanted = UpstreamAddress(host=host, port=port, tls=tls, base_path=base_path)
    assert parse_upstream_url(url) == wanted


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "spaces, control characters"),
        ("ftp://host", "is not http"),
        ("host", "is not http"),
        ("//host", "is not http"),
        ("http://", "is not http"),
        ("http://:80", "is not http"),
        ("http:///path", "is not http"),
        ("http://user@host", "neither user nor query"),
        ("http://user:secret@host", "neither user nor query"),
        ("http://@host", "neither user nor query"),
        ("http://host?", "neither user nor query"),
        ("http://host/?a=b", "neither user nor query"),
        ("http://host#", "neither user nor query"),
        ("http://host:0", "port 0"),
        ("http://host:65536", "out of range"),
        ("http://host:x", "Port could not be cast"),
        ("http://[::1", "Invalid IPv6"),
        ("http://[host]", "host"),
        ("http://[fe80::1%25eth0]", "fe80"),
        ("http://ho st", "spaces"),
        ("http://ho\nst", "control characters"),
        (" http://host", "spaces"),
        ("http://höst", "ASCII"),
        ("http://-host", "neither a host name"),
        ("http://host-", "neither a host name"),
        ("http://a..b", "neither a host name"),
        ("http://host%2fx", "neither a host name"),
        ("http://" + "a" * 254, "neither a host name"),
        ("http://host//a", "dot segments or needs encoding"),
        ("http://host/a/../b", "dot segments"),
        ("http://host/.", "dot segments"),
        ("http://host/a%20b", "needs encoding"),
        ("http://host/a;b", "needs encoding"),
    ],
)
def test_what_is_not_one_address_is_refused(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_upstream_url(url)
    assert repr(url) in str(caught.value)


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF), max_size=20))
def test_nothing_but_a_value_error_escapes(rest: str) -> None:
    with contextlib.suppress(ValueError):
        address = parse_upstream_url(f"http://{rest}")
        assert address.host
        assert 0 < address.port < 65_536
        assert ".." not in address.base_path.split("/")
