"""A daemon's own parts in this process, without its listeners: certified, its spool running.

Owns: the start of the parts that recording and shipping need. Refuses: shipping before the
block asks for it; what is measured decides when.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TextIO

import anyio

from gateway import __version__
from gateway.io.clock import SystemClock
from gateway.seal import sha256_text
from sidecar import journal
from sidecar.config import SidecarConfig
from sidecar.eventlog import EventLog
from sidecar.outside import real_outside
from sidecar.parts import Parts, build_parts


@asynccontextmanager
async def certified_instance(config: SidecarConfig, events: TextIO) -> AsyncIterator[Parts]:
    """Parts of a new instance whose start record is durable and whose certificate is held."""
    parts = await build_parts(config, real_outside(config), EventLog(SystemClock(), events))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.spool.run)
        tasks.start_soon(parts.policy.run)
        tasks.start_soon(parts.enroller.run)
        await parts.instance.certified.wait()
        await parts.write_own(
            journal.start(
                parts.scribe,
                parts.outside.clock.wall_us(),
                public=parts.instance.signer.public,
                certificate=parts.instance.certificate_envelope,
                config_digest=sha256_text(b"the benchmark"),
                build=f"gatepost/{__version__}",
                continues=parts.continues,
                continues_reason=parts.continues_reason,
            )
        )
        yield parts
        await parts.spool.close()
        tasks.cancel_scope.cancel()
    await parts.aclose()
