"""All that one call may touch, and one call's own context.

Owns: two frozen bundles of values that every step is handed. Refuses: behaviour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from gateway.call import CallView, Head, Label, Peer, Principal, Route, Segment
from gateway.classify.classifier import Analysis
from gateway.inflight import Admission, InFlight
from gateway.lineage import Lineage
from gateway.ports import Receipt, RecordLog, WallClock
from gateway.rate import KeyedBuckets
from gateway.record import Decision
from gateway.recording import Scribe
from gateway.routes import RouteTable
from gateway.snapshot import Snapshot
from gateway.tally import Tally
from gateway.wire import Incoming, Upstreams


class World(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's surroundings. Built once, by the composition root.

    ``signed_time_us``: the newest time that a verified signature vouches for; identity and
    policy use the later of it and the wall clock. ``classify`` reads a call's texts once;
    ``analyse`` tells what stands where in any texts, for redaction. ``pseudonym_key``: None where
    none is configured. ``decided``: told of each submitted decision, for
    counters and onlookers. ``report``: an unexpected fault, for the log. ``overhead_header``:
    whether answers say how much time they spent here. ``parent_header``: the signed link to a
    decision of ours for a request with these bytes after so many hops (``lineage.parent_header``);
    None while our key has no certificate that another gateway would believe.
    """

    routes: RouteTable
    identify: Callable[[Peer, Head, int], Principal]
    classify: Callable[[CallView], Awaitable[Label]]
    analyse: Callable[[Sequence[Segment]], Awaitable[Analysis]]
    policy: Callable[[], Snapshot | None]
    signed_time_us: Callable[[], int]
    log: RecordLog
    upstreams: Upstreams
    credentials: Callable[[str | None], tuple[tuple[str, str], ...]]
    scribe: Scribe
    tally: Tally
    decided: Callable[[Decision], None]
    in_flight: InFlight
    clock: WallClock
    lineage: Lineage
    parent_header: Callable[[Receipt, bytes, int], str | None]
    identity_failures: KeyedBuckets[str]
    denials: KeyedBuckets[str]
    report: Callable[[str, BaseException], None]
    overhead_header: bool = False
    pseudonym_key: bytes | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One call. ``started_us``: the monotonic time at which it was admitted."""

    world: World
    incoming: Incoming
    route: Route
    admission: Admission
    started_us: int

    def micros_since(self, began_us: int) -> int:
        """Microseconds from ``began_us``, a reading of ``clock.mono_us``, until now.

        Durations come from the clock port and not from the event loop, whose own clock may tick
        in milliseconds only.
        """
        return self.world.clock.mono_us() - began_us
