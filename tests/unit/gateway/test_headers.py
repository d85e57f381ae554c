"""What crosses the gateway is an allow-list, and no allow-list lets a credential cross."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import __version__
from gateway.call import Head
from gateway.headers import outgoing_headers, returned_headers
from gateway.wire import UpstreamHead

OWN = {
    "accept-encoding": "identity",
    "user-agent": f"gatepost/{__version__}",
    "via": "1.1 gatepost",
}
CREDENTIALS = [
    "authorization",
    "api-key",
    "cookie",
    "ocp-apim-subscription-key",
    "proxy-authorization",
    "x-amz-security-token",
    "x-api-key",
    "x-gatepost-delegation",
    "x-gatepost-parent",
    "x-goog-api-key",
]
HOP_BY_HOP = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "content-encoding",
    "expect",
    "host",
]


def head(**headers: str) -> Head:
    return Head(
        method="POST",
        target="/",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        content_length=None,
        chunked=False,
        expect_continue=False,
        keep_alive=True,
    )


def outgoing(given: Head, *allow: str, extra: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    fields = outgoing_headers(given, frozenset(allow), extra)
    assert len({name for name, _ in fields}) == len(fields)
    return dict(fields)


def returned(fields: list[tuple[str, str]], *allow: str) -> tuple[tuple[str, str], ...]:
    return returned_headers(UpstreamHead(status=200, headers=tuple(fields)), frozenset(allow))


def test_only_what_is_allowed_goes_upstream() -> None:
    sent = outgoing(
        head(content_type="a/b", accept="*/*", anthropic_version="1", x_secret="s"),
        "anthropic-version",
    )
    assert sent == {"content-type": "a/b", "accept": "*/*", "anthropic-version": "1", **OWN}


@pytest.mark.parametrize("name", [*CREDENTIALS, *HOP_BY_HOP])
def test_no_allow_list_lets_a_credential_or_a_hop_by_hop_header_upstream(name: str) -> None:
    assert outgoing(head(**{name: "v"}), name, "*") == OWN


@pytest.mark.parametrize(
    "name", [*CREDENTIALS, *HOP_BY_HOP, "set-cookie", "www-authenticate", "location", "alt-svc"]
)
def test_no_allow_list_lets_a_credential_or_a_hop_by_hop_header_back(name: str) -> None:
    assert returned([(name, "v")], name, "*") == ()


def test_what_connection_names_goes_nowhere() -> None:
    assert outgoing(head(connection="close, Accept", accept="*/*")) == OWN
    fields = [("connection", "x-request-id"), ("x-request-id", "1"), ("connection", "Date")]
    assert returned([*fields, ("date", "d"), ("content-type", "a/b")]) == (("content-type", "a/b"),)


def test_encoding_and_agent_are_ours_whatever_was_asked() -> None:
    given = head(accept_encoding="gzip", user_agent="sdk/1", via="1.1 other")
    assert outgoing(given, "accept-encoding", "user-agent", "via") == OWN


def test_the_companys_credential_replaces_what_the_application_sent() -> None:
    given = head(authorization="Bearer theirs", anthropic_version="theirs")
    sent = outgoing(
        given,
        "anthropic-version",
        extra=(("authorization", "Bearer ours"), ("anthropic-version", "ours")),
    )
    assert sent == {"authorization": "Bearer ours", "anthropic-version": "ours", **OWN}


@pytest.mark.parametrize(
    "pair",
    [
        ("authorization", "Bearer key\n"),
        ("authorization", "a\r\nx: b"),
        ("authorization", "a\0b"),
        ("authorization", " key"),
        ("authorization", "schl\xfcssel"),
        ("Authorization", "key"),
        ("x y", "key"),
        ("", "key"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("host", "other"),
    ],
)
def test_a_credential_that_is_no_header_is_a_fault_of_the_configuration(
    pair: tuple[str, str],
) -> None:
    with pytest.raises(ValueError, match="cannot be sent upstream"):
        outgoing(head(), extra=(pair,))


def test_a_prefix_allows_a_family() -> None:
    fields = [
        ("anthropic-ratelimit-tokens-remaining", "1"),
        ("x-ratelimit-limit-requests", "2"),
        ("openai-organization", "acme"),
        ("x-other", "3"),
    ]
    assert returned(fields) == tuple(fields[:2])
    assert returned(fields, "X-Oth*") == (*fields[:2], fields[3])


def test_values_are_checked_again_on_the_way() -> None:
    given = [("x-request-id", "a\r\nset-cookie: b"), ("retry-after", "1\0"), ("date", "ok")]
    assert returned(given) == (("date", "ok"),)
    assert outgoing(head(accept="a\nb")) == OWN


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12)), st.booleans())
def test_what_passes_can_always_be_written(fields: dict[str, str], everything: bool) -> None:
    allow = ("*",) if everything else tuple(fields)
    for name, value in (*outgoing(head(**fields), *allow).items(), *returned([*fields.items()])):
        assert name == name.lower()
        assert not set(f"{name}{value}") & set("\r\n\0")
