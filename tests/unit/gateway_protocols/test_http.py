"""Plain HTTP tools as calls."""

from __future__ import annotations

import pytest

from gateway.errors import RequestRefused, TurnAway
from gateway.protocols import read_calls
from tests.unit.gateway_protocols.routes import call_of, head_for, route_for, texts_of


def test_body_query_path_and_method_are_arguments() -> None:
    call = call_of("http", "/v1/pay%20now?dry=true", {"amount": 10, "to": "DE89"})
    assert (call.operation, call.tool) == ("http_call", "payments")
    assert call.args == {
        "_method": "POST",
        "_path": "/v1/pay now",
        "dry": "true",
        "amount": 10,
        "to": "DE89",
    }
    assert call.input == b'{"amount": 10, "to": "DE89"}'
    assert {"DE89", "true", "/v1/pay now"} <= set(texts_of(call))


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "OPTIONS"])
def test_a_call_may_have_no_body(method: str) -> None:
    call = call_of("http", "/x?a=1&b%5B%5D=2&b%5B%5D=3", b"", method, content_type="")
    assert call.args == {"_method": method, "_path": "/x", "a": "1", "b[]": ["2", "3"]}
    assert call.input == b"a=1&b%5B%5D=2&b%5B%5D=3"


def test_a_body_that_is_no_object_stands_under_its_own_name() -> None:
    call = call_of("http", "", [1, "two"])
    assert isinstance(call.args, dict)
    assert call.args["_body"] == [1, "two"]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("?a=1&a=2", b"", "duplicate_keys"),
        ("?a=1&A=2", b"", "duplicate_keys"),
        ("?a=1&%61=2", b"", "duplicate_keys"),
        ("?a=1", {"a": 2}, "duplicate_keys"),
        ("?a=1", {"A": 2}, "duplicate_keys"),
        ("", {"_path": "/other"}, "duplicate_keys"),
        ("?_method=GET", b"", "duplicate_keys"),
        ("", {"a": {"b": 1, "B": 2}}, "duplicate_keys"),
        ("?a=1;b=2", b"", "unreadable_body"),
        ("?a=%ff", b"", "unreadable_body"),
        ("", b"a=1", "unreadable_body"),
    ],
)
def test_arguments_with_two_readings_are_refused(path: str, body: object, code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        call_of("http", path, body)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/xml", ""])
def test_a_body_that_is_not_json_is_refused(kind: str) -> None:
    with pytest.raises(RequestRefused, match="Content-Type"):
        call_of("http", "", {"a": 1}, content_type=kind)


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "get"])
def test_other_methods_are_not_forwarded(method: str) -> None:
    with pytest.raises(TurnAway, match="method_not_allowed"):
        call_of("http", "", b"", method)


@pytest.mark.parametrize("path", ["/a/%2e%2e/b", "/a/%00", "/%ff"])
def test_a_path_that_may_mean_another_is_not_forwarded(path: str) -> None:
    with pytest.raises(TurnAway, match="unknown_route"):
        call_of("http", path, b"", "GET")


def test_a_streamed_upload_is_opaque() -> None:
    route = route_for("http", opaque_upload=True)
    head = head_for("PUT", "/tool/payments/blob", content_type="application/pdf")
    (call,) = read_calls(route, head, b"").calls
    assert call.opaque == ("",)
    assert call.args == {"_method": "PUT", "_path": "/blob"}
