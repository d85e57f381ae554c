"""Builds the values that policy tests are about, with everything not under test already good."""

from __future__ import annotations

import msgspec

from gateway import policy
from gateway.call import CallView, Label, Principal, Route, Upstream
from gateway.inputs import Inputs, gather
from gateway.policy import Policy
from gateway.snapshot import Snapshot
from gateway.table import Table, compile_policy

NOW_US = 1_800_000_000_000_000
KEY = b"k" * 32
SECOND = 1_000_000


def policy_of(**members: object) -> Policy:
    """A policy from what an author would write; no grants unless given."""
    return policy.decode_policy(policy.json_text({"grants": [], **members}))


def table_of(**members: object) -> Table:
    return compile_policy(policy_of(**members))


def snapshot(table: Table, **changes: object) -> Snapshot:
    fresh = Snapshot(
        scope="acme/prod",
        version=7,
        digest="sha256:" + "0" * 64,
        engine="table/1",
        root_version=1,
        epoch=1,
        head_version=9,
        issued_us=NOW_US - SECOND,
        fresh_until_us=NOW_US + 120 * SECOND,
        head_expires_us=NOW_US + 3_600 * SECOND,
        rest_expires_us=NOW_US + 30 * 86_400 * SECOND,
        floor_us=NOW_US - SECOND,
        lock_reason=None,
        refresh_seconds_min=30.0,
        refresh_seconds_max=60.0,
        table=table,
    )
    return msgspec.structs.replace(fresh, **changes)


def principal(**changes: object) -> Principal:
    person = Principal(
        person_id="ada",
        person_iss="https://idp.example",
        token_id="t1",
        assurance="delegated",
        agent_id="billing-bot",
        attested_by="uds_uid",
        agent_name=None,
        agent_version=None,
        agent_session=None,
        roles=("analyst", "support"),
        scopes=("llm:invoke",),
        delegation=(),
        absent=(),
    )
    return msgspec.structs.replace(person, **changes)


def label(**changes: object) -> Label:
    plain = Label(level="internal", categories=(), completeness="full", classifier="base@1")
    return msgspec.structs.replace(plain, **changes)


def chat(**changes: object) -> CallView:
    call = CallView(
        protocol="openai", operation="chat", provider="openai", model="gpt-4o", stream=False
    )
    return msgspec.structs.replace(call, **changes)


def tool_call(**changes: object) -> CallView:
    call = CallView(
        protocol="mcp",
        operation="tool_call",
        provider=None,
        model=None,
        stream=False,
        tool="refund",
        tool_server="erp",
        args={"amount": 100},
        input=b'{"amount":100}',
    )
    return msgspec.structs.replace(call, **changes)


def upstream(name: str = "main", region: str = "eu-west-1") -> Upstream:
    return Upstream(
        name=name,
        host="api.example",
        port=443,
        tls=True,
        base_path="",
        region=region,
        credential_id=None,
    )


def route(*upstreams: Upstream, name: str = "openai", opaque_upload: bool = False) -> Route:
    return Route(
        name=name,
        prefix=f"/{name}",
        protocol="openai",
        provider="openai",
        server=None,
        upstreams=upstreams or (upstream(),),
        request_headers=frozenset(),
        response_headers=frozenset(),
        body_bytes_max=1024,
        idempotent=False,
        opaque_upload=opaque_upload,
        first_byte_seconds_max=1.0,
        stream_idle_seconds_max=1.0,
        call_seconds_max=1.0,
    )


def inputs(call: CallView | None = None, **changes: object) -> Inputs:
    """Inputs of a call; ``changes``: of the principal."""
    return gather(principal(**changes), label(), call or chat(), route(), NOW_US)
