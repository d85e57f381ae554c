"""The configuration file: what it takes, and that everything else is refused at its place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect as types

from gateway import limits
from gateway.errors import ConfigInvalid
from sidecar import callers
from sidecar.config import OWN_LISTENERS, SidecarConfig, parse, read
from sidecar.fields import Section
from tests.unit.sidecar.config_text import SMALLEST, WHOLE, Document, changed, toml


def refused(document: Document) -> str:
    """The message with which ``document`` is refused."""
    with pytest.raises(ConfigInvalid) as caught:
        parse(toml(document), "sidecar.toml")
    message = str(caught.value)
    assert message.startswith("sidecar.toml: ")
    return message


# -- what is taken ---------------------------------------------------------------------------


def test_a_daemon_needs_six_settings_and_the_rest_has_defaults() -> None:
    config = parse(toml(SMALLEST))
    assert (config.listen.tcp_port, config.listen.probe_port) == (4141, 4142)
    assert config.listen.admin_socket == "/run/gatepost/admin/admin.sock"
    assert config.listen.allow_uid_0 is False
    assert config.enrolment.wait_ms == 2_000
    assert (config.policy.refresh_seconds_min, config.policy.refresh_seconds_max) == (30, 60)
    assert config.topology == "sidecar"
    assert config.grace_seconds == 25


@pytest.mark.parametrize("member", ["tenant", "region", "central", "trust", "policy"])
def test_without_them_there_is_no_daemon(member: str) -> None:
    document = {name: value for name, value in SMALLEST.items() if name != member}
    assert f"`{member}`" in refused(document)


def test_every_section_can_be_written() -> None:
    config = parse(toml(WHOLE))
    assert [entry.name for entry in config.listen.unix] == ["one", "two"]
    assert [entry.name for entry in config.routes] == ["openai", "orders"]


def structs(found: type = SidecarConfig) -> Iterator[type]:
    """Every struct of a configuration, itself included."""
    yield found
    info = types.type_info(found)
    assert isinstance(info, types.StructType)
    for field in info.fields:
        kind: Any = field.type
        while isinstance(kind, types.Metadata) or hasattr(kind, "item_type"):
            kind = kind.type if isinstance(kind, types.Metadata) else kind.item_type
        if isinstance(kind, types.StructType):
            yield from structs(kind.cls)


def test_nothing_needs_a_null_because_toml_has_none() -> None:
    for struct in structs():
        info = types.type_info(struct)
        assert isinstance(info, types.StructType)
        for field in info.fields:
            kind: Any = field.type
            kind = kind.type if isinstance(kind, types.Metadata) else kind
            nullable = isinstance(kind, types.UnionType) and kind.includes_none
            assert not (nullable and field.required), f"{struct.__name__}.{field.name}"


# -- what is unknown or no number ------------------------------------------------------------


def sections(document: Any, path: str = "") -> Iterator[str]:
    """The path of every table in ``document``."""
    if isinstance(document, dict):
        yield path
        for name, value in document.items():
            yield from sections(value, f"{path}.{name}" if path else name)
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from sections(value, f"{path}.{number}")


def where(path: str) -> str:
    """``a.0.b`` as messages write it."""
    return "$." + re.sub(r"\.(\d+)", r"[\1]", path)


@pytest.mark.parametrize("section", list(sections(WHOLE)))
def test_an_unknown_setting_is_refused_in_every_section(section: str) -> None:
    path = f"{section}.misspelt" if section else "misspelt"
    message = refused(changed(path, 1))
    assert "unknown field `misspelt`" in message
    if section:
        assert f"`{where(section)}`" in message


def test_every_section_refuses_what_it_does_not_know() -> None:
    seen = list(structs())
    assert len(seen) >= 15
    assert all(struct.__struct_config__.forbid_unknown_fields for struct in seen)  # type: ignore[attr-defined]  # msgspec's own
    assert Section.__struct_config__.frozen


def numbers(struct: type = SidecarConfig, path: str = "") -> Iterator[str]:
    """Dotted path of every fractional setting of a daemon."""
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    for field in info.fields:
        kind: Any = field.type
        array = ""
        while isinstance(kind, types.Metadata) or hasattr(kind, "item_type"):
            array = array or (".0" if hasattr(kind, "item_type") else "")
            kind = kind.type if isinstance(kind, types.Metadata) else kind.item_type
        name = f"{path}{field.encode_name}{array}"
        if isinstance(kind, types.StructType):
            yield from numbers(kind.cls, f"{name}.")
        elif isinstance(kind, types.FloatType):
            yield name


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -1.0])
@pytest.mark.parametrize("path", list(numbers()))
def test_no_time_is_endless_negative_or_no_number(path: str, value: float) -> None:
    assert path.rpartition(".")[2] in refused(changed(path, value))


# -- one rule after the other ----------------------------------------------------------------

LONG = "/" + "x" * limits.UNIX_PATH_BYTES_MAX


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("tenant", "Acme", "$.tenant"),
        ("tenant", "acme\n", "$.tenant"),
        ("region", "eu west", "$.region"),
        ("topology", "moon", "$.topology"),
        ("grace_seconds", 0, "$.grace_seconds"),
        ("grace_seconds", 3601, "$.grace_seconds"),
        ("listen.tcp_port", 65_536, "$.listen.tcp_port"),
        ("listen.probe_port", -1, "$.listen.probe_port"),
        ("listen.probe_port", 4141, "`tcp_port` and `probe_port` are both 4141"),
        ("listen.tcp_hosts", [], "$.listen.tcp_hosts"),
        ("listen.admin_socket", "/run/a.sock", "unix: path stands twice: '/run/a.sock'"),
        ("listen.admin_socket", LONG, "has at most 107 bytes"),
        ("listen.admin_socket", "", "$.listen.admin_socket"),
        ("listen.unix.0.path", LONG, "$.listen.unix[0]"),
        ("listen.unix.0.path", "/run/\0", "$.listen.unix[0].path"),
        ("listen.unix.1.path", "/run/a.sock", "unix: path stands twice"),
        ("listen.unix.1.name", "one", "unix: name stands twice: 'one'"),
        ("listen.unix.1.name", "A", "$.listen.unix[1].name"),
        ("listen.unix.1.uids", [-1], "$.listen.unix[1].uids"),
        ("listen.unix.1.uids", [2**32 - 1], "$.listen.unix[1].uids"),
        ("listen.unix.1.group", -1, "$.listen.unix[1].group"),
        ("listen.unix.0.agent", "nobody", "$.listen.unix[0].agent"),
        ("listen.agents.0.agent", "nobody", "$.listen.agents[0].agent"),
        ("listen.agents.0.uid", -1, "$.listen.agents[0].uid"),
        ("listen.agents.1", {"uid": 1000, "agent": "bot"}, "agents: uid stands twice: 1000"),
        ("listen", {"tcp": False}, "no agent could call"),
        ("central.url", "ftp://x", "`url`: 'ftp://x'"),
        ("central.url", "http://x/path", "$.central"),
        ("central.store_url", "store:4144", "`store_url`"),
        ("central.issuer_url", "unix:relative", "`issuer_url`"),
        ("central.audience", "", "$.central.audience"),
        ("trust.root_sha256", "sha256:00", "$.trust.root_sha256"),
        ("trust.root_sha256", "sha256:" + "a" * 64 + "\n", "$.trust.root_sha256"),
        ("enrolment", {"one_time_token_file": "/t"}, "needs a `host_key_file`"),
        (
            "enrolment",
            {"host_key_file": "/h", "spiffe_jwt_file": "/s"},
            "name one of `host_key_file`, `spiffe_jwt_file`",
        ),
        ("enrolment.worker", 1_024, "$.enrolment.worker"),
        ("enrolment.wait_ms", 60_001, "$.enrolment.wait_ms"),
        ("policy.scope", "acme/../x", "$.policy.scope"),
        ("policy.scope", "/acme", "$.policy.scope"),
        ("policy.scope", "a" * 64, "$.policy.scope"),
        ("policy.refresh_seconds_min", 61, "`refresh_seconds_min` is above"),
        ("policy.files_url", "https://bucket.example/?key=1", "`files_url`"),
        ("policy.mounted_directory", "", "$.policy.mounted_directory"),
        (
            "policy",
            {"scope": "a", "files_url": "https://a.example", "mounted_directory": "/m"},
            "name one of `files_url`, `mounted_directory`",
        ),
        ("spool.segment_bytes", 1, "spool.segment_bytes is 1"),
        ("spool.spool_bytes_max", 1, "spool.spool_bytes_max is 1"),
        ("identity.audience", [], "$.identity"),
        ("identity.tokens.0.agent", "nobody", "$.identity"),
        ("classification.pack_file", "", "$.classification.pack_file"),
        ("credentials.0.style", "basic", "$.credentials[0].style"),
        ("credentials.1", {"id": "key", "file": "/x"}, "credentials: id stands twice: 'key'"),
        ("upstreams.1.name", "us", "upstreams: name stands twice: 'us'"),
        ("upstreams.0.region", "US", "$.upstreams[0].region"),
        ("upstreams.0.credential", "other", "$.upstreams[0].credential"),
        ("upstreams.0.url", "ftp://x", "$.upstreams[0]"),
        ("routes.0.upstreams", [], "$.routes[0].upstreams"),
        ("routes.0.upstreams", ["eu"], "$.routes[0].upstreams"),
        ("routes.0.upstreams", ["us", "us"], "upstreams stands twice: 'us'"),
        ("routes.0.upstreams", ["a", "b", "c", "d", "e"], "$.routes[0].upstreams"),
        ("routes.0.protocol", "soap", "$.routes[0].protocol"),
        ("routes.0.server", "x", "openai routes have no `server`"),
        ("routes.1.protocol", "http", ""),
        ("routes.1", WHOLE["routes"][0] | {"prefix": "/x"}, "routes: name stands twice"),
        ("routes.1", WHOLE["routes"][0] | {"name": "x"}, "routes: prefix stands twice"),
        ("routes.2", {**WHOLE["routes"][0], "name": "m", "protocol": "mcp"}, "need `server`"),
        ("routes.0.body_bytes_max", 0, "$.routes[0].body_bytes_max"),
        ("routes.0.body_bytes_max", 2**30, "`opaque_upload`"),
        ("routes.0.request_headers", ["no space"], "$.routes[0].request_headers"),
        ("routes.0.request_headers", ["*mid*dle"], "$.routes[0].request_headers"),
        ("routes.0.response_headers", [""], "$.routes[0].response_headers"),
        ("routes.0.first_byte_seconds_max", 0, "$.routes[0].first_byte_seconds_max"),
    ],
)
def test_a_rule_refuses_with_the_place_that_broke_it(path: str, value: object, words: str) -> None:
    document = changed(path, value)
    if not words:
        parse(toml(document))
        return
    assert words in refused(document)


@pytest.mark.parametrize(
    ("prefix", "taken"),
    [
        ("/openai", True),
        ("/openai/v1", True),
        ("/.well-known", True),
        ("/a..b", True),
        ("/", False),
        ("openai", False),
        ("/openai/", False),
        ("//openai", False),
        ("/..", False),
        ("/a/./b", False),
        ("/a%2fb", False),
        ("/a b", False),
        ("/openai\n", False),
        ("/ü", False),
    ],
)
def test_a_prefix_is_whole_plain_segments(prefix: str, taken: bool) -> None:
    document = changed("routes.0.prefix", prefix)
    if taken:
        assert parse(toml(document)).routes[0].prefix == prefix
    else:
        assert "prefix" in refused(document)


def test_an_upload_that_streams_may_be_larger_than_memory() -> None:
    document = changed("routes.0.opaque_upload", True)
    document = changed("routes.0.body_bytes_max", 2**40, document)
    assert parse(toml(document)).routes[0].body_bytes_max == 2**40


def test_a_listener_name_fits_the_counters_of_a_heartbeat() -> None:
    longest = "n" * limits.LISTENER_NAME_BYTES_MAX
    assert parse(toml(changed("listen.unix.0.name", longest))).listen.unix[0].name == longest
    assert "$.listen.unix[0].name" in refused(changed("listen.unix.0.name", longest + "n"))


@pytest.mark.parametrize("name", OWN_LISTENERS)
def test_the_daemons_own_listeners_keep_their_names(name: str) -> None:
    assert "name stands twice" in refused(changed("listen.unix.0.name", name))
    assert callers.TCP_LISTENER in OWN_LISTENERS


def test_there_are_never_more_listeners_than_counters_have_room_for() -> None:
    most = limits.LISTENERS_MAX - len(OWN_LISTENERS)
    entries = [{"path": f"/run/{n}.sock", "name": f"n{n}"} for n in range(most + 1)]
    assert len(parse(toml(changed("listen.unix", entries[:-1]))).listen.unix) == most
    assert "$.listen.unix" in refused(changed("listen.unix", entries))


# -- the file --------------------------------------------------------------------------------


def test_what_is_not_toml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigInvalid, match=r"sidecar.toml: .*line 2"):
        parse('tenant = "acme"\n= 2\n', "sidecar.toml")


def test_what_is_not_utf_8_is_refused_with_its_place(tmp_path: Any) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_bytes(b'tenant = "\xff"')
    with pytest.raises(ConfigInvalid, match=r"sidecar.toml: not UTF-8 at byte 10"):
        read(str(path))


def test_a_file_is_read_whole(tmp_path: Any) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(toml(WHOLE))
    assert read(str(path)) == parse(toml(WHOLE))
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "absent"))


@given(st.text(max_size=60))
def test_no_text_ends_in_anything_but_a_configuration_or_a_refusal(text: str) -> None:
    try:
        parse(text)
    except ConfigInvalid:
        return
    pytest.fail("a few characters are no configuration")


@given(st.sampled_from(list(sections(WHOLE))), st.text(max_size=5), st.booleans())
def test_no_odd_value_ends_in_anything_but_a_refusal(path: str, text: str, nested: bool) -> None:
    value: object = {text or "x": [text]} if nested else text
    refused(changed(path, value) if path else {"tenant": value})


def test_a_configuration_survives_its_own_json() -> None:
    config = parse(toml(WHOLE))
    again = msgspec.json.decode(msgspec.json.encode(config), type=SidecarConfig)
    assert again == config
