"""The steps before the decision: identify, read the body, parse it, classify it.

Owns: their order, and stopping at the first refusal with everything known so far, because a
refused call is recorded as fully as an allowed one. Refuses: ruling (``ruling.py``).
"""

from __future__ import annotations

import anyio
import msgspec

from gateway.call import CallView, Label, Principal
from gateway.errors import RULING_ON_KNOWN_ROUTE, RequestRefused, TurnAway
from gateway.identity import TokenRejected
from gateway.protocols import Reading, read_calls
from gateway.record import Parent
from gateway.world import Context


class Understood(msgspec.Struct, kw_only=True):
    """What is known of a request. ``refused`` is the step that failed, None if all went well.

    ``body`` and ``request_digest`` are None where no body was held whole (opaque uploads).
    """

    principal: Principal
    refused: RequestRefused | None = None
    body: bytes | None = None
    request_digest: str | None = None
    reading: Reading | None = None
    labels: tuple[Label, ...] = ()
    parent: Parent | str | None = None
    classify_us: int = 0

    @property
    def calls(self) -> tuple[CallView | None, ...]:
        """One entry per ruling to make; None stands for a call that could not be read."""
        return (None,) if self.reading is None else self.reading.calls

    @property
    def batch(self) -> tuple[CallView, ...]:
        """The messages of a JSON-RPC batch, which are answered together; else nothing."""
        return self.reading.calls if self.reading is not None and self.reading.batch else ()


async def understand(context: Context) -> Understood:
    """Find out who asks for what. Raises TurnAway where no ruling is possible."""
    world, incoming = context.world, context.incoming
    now_us = max(world.clock.wall_us(), world.signed_time_us())
    try:
        principal = world.identify(incoming.peer, incoming.head, now_us)
    except TokenRejected as rejected:
        _limit_failures(context)
        return Understood(principal=rejected.principal, refused=rejected)
    known = Understood(principal=principal)
    try:
        await _read(context, known)
    except RequestRefused as refused:
        known.refused = refused
    return known


async def _read(context: Context, known: Understood) -> None:
    world, route = context.world, context.route
    if not route.opaque_upload:
        known.body = await _whole_body(context)
        known.request_digest = world.scribe.digest(known.body)
    head = context.incoming.head
    known.parent = world.lineage.parent_of(head, known.body or b"")
    known.reading = read_calls(route, head, known.body or b"")
    began_us = world.clock.mono_us()
    labels = [await world.classify(call) for call in known.reading.calls]
    known.labels = tuple(labels)
    known.classify_us = context.micros_since(began_us)


async def _whole_body(context: Context) -> bytes:
    encoding = context.incoming.head.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise RequestRefused("content_encoding_unsupported")
    try:
        return await context.incoming.read_body(
            context.route.body_bytes_max, context.admission.hold
        )
    except TurnAway as turned_away:
        # Head and route were understood: then this is a ruling, and is recorded.
        if turned_away.code in RULING_ON_KNOWN_ROUTE:
            raise RequestRefused(turned_away.code, turned_away.detail) from turned_away
        raise


def _limit_failures(context: Context) -> None:
    peer = context.incoming.peer
    key = f"{peer.listener}/{peer.uid}"
    if not context.world.identity_failures.take(key, anyio.current_time()):
        raise TurnAway("identity_rate_limited")
