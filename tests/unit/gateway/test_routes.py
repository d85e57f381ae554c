"""Routes: whole segments, the longest prefix, and a target that carries no caller's key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RequestRefused, TurnAway
from gateway.protocols import query
from gateway.routes import RouteTable, upstream_target
from tests.unit.gateway.world_builder import head_of, route, upstream

OPENAI, DEEPER = route("openai", "openai"), route("openai/eu", "openai")
TABLE = RouteTable([OPENAI, DEEPER, route("erp", "mcp")])
UP = upstream("far")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/openai", "openai"),
        ("/openai/", "openai"),
        ("/openai/v1/chat/completions", "openai"),
        ("/openai/eu/v1", "openai/eu"),
        ("/openai/europe", "openai"),
        ("/erp?x=/openai", "erp"),
    ],
)
def test_the_longest_prefix_of_whole_segments_wins(path: str, name: str) -> None:
    assert TABLE.match(head_of(path)).name == name
    assert RouteTable(reversed(list(TABLE))).match(head_of(path)).name == name


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/openaiv1",
        "/OpenAI/v1",
        "/other",
        "//openai",
        "/openai//v1",
        "/openai/..",
        "/openai/../erp",
        "/openai/./v1",
        "/openai/%2e%2E/erp",
        "/openai/.%2e/erp",
        "/openai/a%2Fb",
        "/openai/a%5cb",
        "/openai/a\\b",
    ],
)
def test_a_path_that_another_reader_could_resolve_is_no_route(path: str) -> None:
    with pytest.raises(TurnAway) as caught:
        TABLE.match(head_of(path))
    assert caught.value.code == "unknown_route"


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/openai/v1/models", "/base/v1/models"),
        ("/openai", "/base"),
        ("/openai/", "/base/"),
        ("/openai/v1?a=1&b=2", "/base/v1?a=1&b=2"),
        ("/openai/v1?", "/base/v1"),
        ("/openai/v1?&&a=1&", "/base/v1?a=1"),
        ("/openai/v1?key=sk", "/base/v1"),
        ("/openai/v1?KEY=sk&a=1", "/base/v1?a=1"),
        ("/openai/v1?k%65y=sk&a=1", "/base/v1?a=1"),
        ("/openai/v1?%61pi%5Fkey=sk", "/base/v1"),
        ("/openai/v1?access_token", "/base/v1"),
        ("/openai/v1?monkey=1&keys=2", "/base/v1?monkey=1&keys=2"),
        ("/openai/v1?a=%6bey", "/base/v1?a=%6bey"),
    ],
)
def test_the_target_keeps_its_bytes_and_loses_credentials(target: str, sent: str) -> None:
    assert upstream_target(OPENAI, UP, head_of(target)) == sent


def test_a_base_path_of_a_slash_adds_nothing() -> None:
    bare = upstream("far")
    for base in ("", "/"):
        at = type(bare)(
            **{**{f: getattr(bare, f) for f in bare.__struct_fields__}, "base_path": base}
        )
        assert upstream_target(OPENAI, at, head_of("/openai/v1")) == "/v1"
        assert upstream_target(OPENAI, at, head_of("/openai")) == "/"


NAMES = st.sampled_from(["key", "Key", "k%65y", "token", "a", "api-key", "ap%69_key", "%6B+ey"])


@given(st.lists(st.tuples(NAMES, st.sampled_from(["sk-1", "x", ""])), max_size=5))
def test_what_goes_upstream_is_what_was_read(pairs: list[tuple[str, str]]) -> None:
    head = head_of("/openai/v1?" + "&".join(f"{name}={value}" for name, value in pairs))
    try:
        read = query.parameters(head)
    except RequestRefused:
        return
    forwarded = head_of(upstream_target(OPENAI, UP, head))
    assert len([part for part in forwarded.query.split("&") if part]) == len(read)
    assert query.parameters(forwarded) == read
