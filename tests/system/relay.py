"""A port of the node, for services that listen on loopback only: ``python -m tests.system.relay``.

Takes an address to listen on and a loopback port to pass everything on to, prints the port that it
got, and ends when its standard input does. Owns: bytes both ways, and the end of either. Refuses:
knowing what they are.
"""

from __future__ import annotations

import sys

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketStream

_BYTES = 65_536


async def _pass_on(
    source: ByteReceiveStream, sink: ByteSendStream, both: anyio.CancelScope
) -> None:
    try:
        while True:
            await sink.send(await source.receive(_BYTES))
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        both.cancel()


async def main(host: str, port: int) -> None:
    async def carry(near: SocketStream) -> None:
        async with near:
            try:
                far = await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                return
            async with far, anyio.create_task_group() as ways:
                ways.start_soon(_pass_on, near, far, ways.cancel_scope)
                ways.start_soon(_pass_on, far, near, ways.cancel_scope)

    async with await anyio.create_tcp_listener(local_host=host) as listener:
        sys.stdout.write(f"{listener.extra(anyio.abc.SocketAttribute.local_port)}\n")
        sys.stdout.flush()
        async with anyio.create_task_group() as serving:
            serving.start_soon(listener.serve, carry)
            await anyio.to_thread.run_sync(sys.stdin.buffer.read)
            serving.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]))
