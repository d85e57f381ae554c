"""What a decision costs at 10 to 5,000 rules, beside the same rules in Cedar.

Every rule is a grant for one tool with five conditions, of which the call fulfils only the last
rule's; in the second form a tenth of the rules name no tool, so that no index helps with those.
Both engines are first asked the same calls, and must agree. The conversion of a call to what the
engine reads is part of the figure: it is part of every call.

Owns: the rules in both languages, the calls, and the figures. Refuses: judging Cedar; its own
answer to an attribute that is missing (the rule is skipped) is no part of this.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from typing import Final

import cedarpy
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.call import CallView, Label, Principal, Route, Upstream
from gateway.decide import Permit, decide
from gateway.policy import Policy, decode_policy
from gateway.seal import Signer, verify
from gateway.snapshot import Snapshot
from gateway.table import compile_policy

_SIZES: Final = (10, 100, 1_000, 5_000)
_EVERY_TENTH: Final = 10
_NOW_US: Final = 1_800_000_000_000_000
_DAY_US: Final = 86_400_000_000
_KEY: Final = bytes(range(32))
_SIGNED_BYTES: Final = 600
_ROUNDS: Final = 5
_ROUND_SECONDS: Final = 0.2


class Cost(msgspec.Struct, frozen=True):
    """CPU of one decision, in microseconds, and of making the engine ready, in milliseconds.

    ``wide``: whether a tenth of the rules concern every tool.
    """

    rules: int
    wide: bool
    ours_us: float
    cedar_us: float
    compile_ms: float
    cedar_parse_ms: float


class _Call(msgspec.Struct, frozen=True):
    tool: str
    amount: int
    role: str


def run(console: Console, sizes: Sequence[int] = _SIZES) -> list[Cost]:
    """Each size in both forms. Raises AssertionError where the engines disagree.

    Says first what a check of a signature costs here: a measure for the machine.
    """
    signer, signed = Signer(_KEY), bytes(_SIGNED_BYTES)
    signature = signer.sign(signed)
    checked_us = _micros(lambda: verify(signed, signature, signer.public))
    console.print(
        f"policy: an Ed25519 check of {_SIGNED_BYTES} bytes takes {checked_us:.0f} µs here"
    )
    found = []
    for wide in (False, True):
        for rules in sizes:
            console.print(f"policy: {rules} rules", style="dim")
            found.append(_cost(rules, wide))
    return found


def show(found: Sequence[Cost], console: Console) -> None:
    """One table."""
    table = Table(title="A decision: CPU, ours beside Cedar", title_justify="left", box=None)
    table.add_column("rules", justify="right")
    table.add_column("")
    for name in ("ours µs", "Cedar µs", "ratio", "compile ms", "Cedar parse ms"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            f"{one.rules:,}",
            "a tenth for every tool" if one.wide else "a tool each",
            f"{one.ours_us:.1f}",
            f"{one.cedar_us:.0f}",
            f"{one.cedar_us / one.ours_us:.0f}",
            f"{one.compile_ms:.1f}",
            f"{one.cedar_parse_ms:.1f}",
        )
    console.print(table)


def _cost(rules: int, wide: bool) -> Cost:
    ours_text, cedar_text = _policies(rules, wide)
    document = decode_policy(ours_text)
    snapshot = _snapshot(document)
    policies = cedarpy.PolicySet.from_str(cedar_text)
    for call in _calls(rules):
        allowed = (_by_us(snapshot, call), _by_cedar(policies, call))
        assert allowed[0] == allowed[1], f"{call}: ours {allowed[0]}, Cedar {allowed[1]}"
    asked = _Call(f"tool-{rules - 1}", 500, "support")
    assert _by_us(snapshot, asked)
    return Cost(
        rules=rules,
        wide=wide,
        ours_us=_micros(lambda: _by_us(snapshot, asked)),
        cedar_us=_micros(lambda: _by_cedar(policies, asked)),
        compile_ms=_micros(lambda: compile_policy(document)) / 1e3,
        cedar_parse_ms=_micros(lambda: cedarpy.PolicySet.from_str(cedar_text)) / 1e3,
    )


def _calls(rules: int) -> list[_Call]:
    last = f"tool-{rules - 1}"
    return [
        _Call(last, 500, "support"),
        _Call(last, 501, "support"),
        _Call(last, 1, "guest"),
        _Call("tool-0", 1, "support"),
        _Call("no-such-tool", 1, "support"),
    ]


def _micros(work: Callable[[], object]) -> float:
    """The CPU time of one ``work`` in the best of the rounds, in microseconds: other work on the
    machine only ever adds to it."""
    work()
    found = []
    gc.collect()
    for _ in range(_ROUNDS):
        count, began = 0, time.process_time()
        while (spent := time.process_time() - began) < _ROUND_SECONDS:
            for _ in range(10 if count else 1):
                work()
                count += 1
        found.append(spent / count * 1e6)
    return min(found)


# -- the rules, in both languages ---------------------------------------------------------------


def _policies(rules: int, wide: bool) -> tuple[bytes, str]:
    grants, permits = [], []
    for place in range(rules):
        # A wide rule is for another role, so that it is asked and does not decide.
        everywhere = wide and place % _EVERY_TENTH == 0
        role = "auditor" if everywhere else "support"
        grants.append(
            {
                "id": f"rule-{place}",
                "actions": ["tool_call"],
                **({} if everywhere else {"tools": [f"erp/tool-{place}"]}),
                "when": {
                    "all": [
                        {"has": ["authz.roles", role]},
                        {"has": ["authz.scopes", "erp:write"]},
                        {"at_most": ["data.level", "confidential"]},
                        {"matches": ["model.route", "eu-*"]},
                        {"le": ["args.amount", 500]},
                    ]
                },
            }
        )
        resource = "resource" if everywhere else f'resource == Tool::"erp/tool-{place}"'
        permits.append(
            f'permit(principal, action == Action::"tool_call", {resource}) when {{ '
            f'context.roles.contains("{role}") && context.scopes.contains("erp:write") && '
            f'context.level <= 2 && context.route like "eu-*" && context.amount <= 500 }};'
        )
    return msgspec.json.encode({"grants": grants}), "\n".join(permits)


def _by_us(snapshot: Snapshot, call: _Call) -> bool:
    view = CallView(
        protocol="mcp",
        operation="tool_call",
        provider=None,
        model=None,
        stream=False,
        tool=call.tool,
        tool_server="erp",
        args={"amount": call.amount},
        input=b"{}",
    )
    ruled = decide(snapshot, _principal(call.role), _LABEL, view, _ROUTE, _NOW_US, digest_key=_KEY)
    return isinstance(ruled, Permit)


def _by_cedar(policies: cedarpy.PolicySet, call: _Call) -> bool:
    request = {
        "principal": 'Agent::"agent"',
        "action": 'Action::"tool_call"',
        "resource": f'Tool::"erp/{call.tool}"',
        "context": json.dumps(
            {
                "roles": [call.role],
                "scopes": ["erp:write"],
                "level": 1,
                "route": "eu-tools",
                "amount": call.amount,
            }
        ),
    }
    return bool(cedarpy.is_authorized(request, policies, _NO_ENTITIES).allowed)


_NO_ENTITIES: Final = cedarpy.Entities.from_json_str("[]")
_LABEL: Final = Label(level="internal", categories=(), completeness="full", classifier="base@1")
_ROUTE: Final = Route(
    name="eu-tools",
    prefix="/mcp/erp",
    protocol="mcp",
    provider=None,
    server="erp",
    upstreams=(
        Upstream(
            name="main",
            host="erp.example",
            port=443,
            tls=True,
            base_path="",
            region="eu-west-1",
            credential_id=None,
        ),
    ),
    request_headers=frozenset(),
    response_headers=frozenset(),
    body_bytes_max=1024,
    idempotent=False,
    opaque_upload=False,
    first_byte_seconds_max=1.0,
    stream_idle_seconds_max=1.0,
    call_seconds_max=1.0,
)


def _principal(role: str) -> Principal:
    return Principal(
        person_id="u-1",
        person_iss="https://login.example",
        token_id=None,
        assurance="delegated",
        agent_id="agent",
        attested_by="uds_uid",
        agent_name=None,
        agent_version=None,
        agent_session=None,
        roles=(role,),
        scopes=("erp:write",),
        delegation=(),
        absent=(),
    )


def _snapshot(document: Policy) -> Snapshot:
    return Snapshot(
        scope="acme/prod",
        version=1,
        digest="sha256:" + "0" * 64,
        engine="table/1",
        root_version=1,
        epoch=1,
        head_version=1,
        issued_us=_NOW_US,
        fresh_until_us=_NOW_US + _DAY_US,
        head_expires_us=_NOW_US + _DAY_US,
        rest_expires_us=_NOW_US + _DAY_US,
        floor_us=_NOW_US,
        lock_reason=None,
        refresh_seconds_min=30.0,
        refresh_seconds_max=60.0,
        table=compile_policy(document),
    )
