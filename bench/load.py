"""The load generator: a closed loop of requests over some connections, one process.

Owns: sending, waiting, and the latencies. Refuses: parsing more HTTP than Content-Length.
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import uvloop


class Plan(msgspec.Struct):
    """``target``: ``unix:<path>`` or ``<host>:<port>``; ``path``: request path."""

    target: str
    path: str
    connections: int
    calls: int
    prompt_characters: int = 4000
    stream: bool = False


class Measured(msgspec.Struct):
    """Latencies in microseconds, sorted; ``first_us``: of the answer's first byte (streams)."""

    seconds: float
    latencies_us: list[int]
    failures: int


def request(plan: Plan) -> bytes:
    """One chat request of ``plan``."""
    words = "the order of the customer is on its way and should arrive tomorrow "
    text = (words * (plan.prompt_characters // len(words) + 1))[: plan.prompt_characters]
    body = msgspec.json.encode(
        {
            "model": "gpt-4o-mini",
            "stream": plan.stream,
            "messages": [{"role": "user", "content": text}],
        }
    )
    return (
        b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer held-by-gatepost\r\naccept: application/json\r\n"
        b"user-agent: OpenAI/Python 3\r\nx-stainless-lang: python\r\n"
        b"content-length: %d\r\n\r\n%b" % (plan.path.encode(), len(body), body)
    )


async def _connection(plan: Plan, data: bytes, calls: int, measured: Measured) -> None:
    if plan.target.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(plan.target[5:])
    else:
        host, _, port = plan.target.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    for _ in range(calls):
        began = time.perf_counter_ns()
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        if b"content-length: " in head:
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
        else:
            await reader.readuntil(b"0\r\n\r\n")
        measured.latencies_us.append((time.perf_counter_ns() - began) // 1000)
        if not head.startswith(b"HTTP/1.1 200"):
            measured.failures += 1
    writer.close()


async def _run(plan: Plan) -> Measured:
    measured = Measured(0.0, [], 0)
    data = request(plan)
    began = time.perf_counter()
    each = plan.calls // plan.connections
    await asyncio.gather(
        *(_connection(plan, data, each, measured) for _ in range(plan.connections))
    )
    measured.seconds = time.perf_counter() - began
    measured.latencies_us.sort()
    return measured


if __name__ == "__main__":
    wanted = msgspec.json.decode(sys.argv[1], type=Plan)
    print(msgspec.json.encode(uvloop.run(_run(wanted))).decode())
