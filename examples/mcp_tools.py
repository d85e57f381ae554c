"""An MCP client whose tool calls are decided one by one: the small refund, not the large one.

python examples/mcp_tools.py http://127.0.0.1:4141/mcp/orders
"""

from __future__ import annotations

import sys

import anyio
import mcp


async def main(url: str) -> None:
    async with mcp.Client(url) as client:
        for amount in (120, 900):
            order = {"order_id": "42", "amount": amount, "currency": "EUR"}
            try:
                result = await client.call_tool("refund", order)
                print(result.structured_content)
            except mcp.MCPError as denied:
                print(f"denied: {denied}")


anyio.run(main, sys.argv[1])
