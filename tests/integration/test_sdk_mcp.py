"""The unmodified MCP client through the daemon, in both forms of the protocol."""

from __future__ import annotations

import mcp
import pytest

from tests.integration.system import Daemon

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
REFUND = {"order_id": "42", "currency": "EUR"}


async def _call(daemon: Daemon, mode: str, tool: str, arguments: dict[str, object]) -> str:
    """The text of a tool's answer; a protocol error is raised outside the client's task group."""
    refused: mcp.MCPError | None = None
    async with mcp.Client(daemon.tools_url, mode=mode) as client:
        try:
            result = await client.call_tool(tool, arguments)
        except mcp.MCPError as error:
            refused = error
    if refused is not None:
        raise refused
    assert not result.is_error
    return str(result.content)


def _ran(daemon: Daemon) -> int:
    counts = daemon.site.central.ends.tools.counts()
    return sum(count for name, count in counts.items() if name.startswith("tool:"))


@MODES
async def test_an_allowed_tool_runs_once(daemon: Daemon, mode: str) -> None:
    before = _ran(daemon)
    assert "is on its way" in await _call(daemon, mode, "lookup_order", {"order_id": "42"})
    assert _ran(daemon) == before + 1


@MODES
async def test_tools_are_listed(daemon: Daemon, mode: str) -> None:
    async with mcp.Client(daemon.tools_url, mode=mode) as client:
        listed = await client.list_tools()
    assert "refund" in [tool.name for tool in listed.tools]


@MODES
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("delete_customer", {"customer_id": "7"}),
        ("refund", REFUND | {"amount": 900}),
        ("refund", REFUND | {"amount": 900.5}),
        ("refund", {"order_id": "42", "currency": "USD", "amount": 1}),
        ("lookup_order", {"order_id": "4111 1111 1111 1111"}),
    ],
)
async def test_a_refused_tool_is_a_json_rpc_error_and_does_not_run(
    daemon: Daemon, mode: str, tool: str, arguments: dict[str, object]
) -> None:
    before = _ran(daemon)
    with pytest.raises(mcp.MCPError) as raised:
        await _call(daemon, mode, tool, arguments)
    assert raised.value.error.code == -32050
    assert "the policy does not allow this call" in raised.value.error.message
    assert raised.value.error.data["code"] == "denied"
    assert raised.value.error.data["retryable"] is False
    assert _ran(daemon) == before


async def test_a_session_outlives_a_refusal(daemon: Daemon) -> None:
    async with mcp.Client(daemon.tools_url, mode="legacy") as client:
        with pytest.raises(mcp.MCPError):
            await client.call_tool("delete_customer", {"customer_id": "7"})
        result = await client.call_tool("lookup_order", {"order_id": "42"})
    assert not result.is_error


async def test_the_record_holds_the_arguments_that_the_rules_read(daemon: Daemon) -> None:
    with pytest.raises(mcp.MCPError) as raised:
        await _call(daemon, "auto", "refund", REFUND | {"amount": 900})
    decision = daemon.records.decision(raised.value.error.data["decision_id"])
    assert (decision["model"]["tool_server"], decision["model"]["tool"]) == ("orders", "refund")
    # The currency was not read any more: the amount had settled the matter.
    assert decision["facts"]["inputs"] == {"args.amount": 900}
    assert decision["decision"]["reason"] == "no_grant"
