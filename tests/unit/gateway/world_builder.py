"""A whole ``World`` for tests of the call path: real parts, and fakes only at the two ends.

Real are the identifier, the compiled policy (issued and verified as in production), the scribe,
the sealer and the spool, on a simulated disk that keeps *written* and *durable* apart, so that a
law about durability is asserted against what a power cut would leave. Time is the seeded loop's.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache

import anyio
import msgspec

from gateway import limits, record
from gateway.call import CallView, Head, Label, Peer, Route, Segment, Upstream
from gateway.classify.classifier import Analysis, Finding
from gateway.exchange import handle_exchange
from gateway.headers import REQUEST_HEADERS_OF, RESPONSE_HEADERS_OF
from gateway.inflight import InFlight
from gateway.lineage import Lineage
from gateway.rate import KeyedBuckets
from gateway.recording import Scribe
from gateway.roots import role_keys
from gateway.routes import RouteTable
from gateway.seal import Sealer, Signer
from gateway.snapshot import Snapshot
from gateway.tally import Tally
from gateway.world import World
from policy_cache import trusted
from spool import read
from spool.config import SpoolConfig
from spool.spool import Spool
from tests.sim.disk import Faults, SimDisk
from tests.sim.files import SimFiles
from tests.sim.loop import elapse, simulate
from tests.sim.records import instance_id
from tests.unit.gateway import identity_world
from tests.unit.gateway.call_ends import Application, FarEnds, Script, Steps
from tests.unit.policy_cache.policy_world import (
    OWN_VERSION,
    SCOPE,
    T0,
    Clock,
    Publisher,
    policy,
)

DIGEST_KEY = bytes(range(32))
INSTANCE = instance_id(1)
KEY = Signer(bytes([9]) * 32)
SPOOL = SpoolConfig(directory="/spool", segment_bytes=256 * 1024, spool_bytes_max=2 * 1024 * 1024)
ALL = json.dumps({"grants": [{"id": "all", "actions": ["*"]}]})


class SlowClock(Clock):
    """A clock that moves while code runs: ``slow_us`` is added, beside the loop's time."""

    def __init__(self, began_seconds: float) -> None:
        super().__init__(began_seconds)
        self.slow_us = 0

    def mono_us(self) -> int:
        return super().mono_us() + self.slow_us


class Chance:
    """Entropy without repetition, so that ids differ."""

    def __init__(self) -> None:
        self._drawn = 0

    def bytes(self, count: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(count, "big")

    def fraction(self) -> float:
        return 0.5


@lru_cache
def publisher() -> Publisher:
    return Publisher()


def policy_text(**members: object) -> str:
    """A policy as an author writes it; grants everything unless told otherwise."""
    return json.dumps({"grants": [{"id": "all", "actions": ["*"]}], **members})


@lru_cache
def snapshot(text: str = ALL, version: int = 1, lock: str | None = None) -> Snapshot:
    """A policy issued, signed and verified as a daemon does it."""
    made = publisher()
    bundle = made.bundle(version, policy(**json.loads(text)))
    head = made.head(bundle, version, bundle_version=version, lock=lock)
    root = made.open_root()
    opened = trusted.open_head(head.envelope, root, SCOPE, trusted.Floors(), T0, OWN_VERSION)
    content = trusted.open_bundle(bundle.envelope, root, opened, T0)
    return trusted.snapshot_of(root, opened, content, 0)


def upstream(name: str, region: str = "eu-west-1", credential: str | None = "company") -> Upstream:
    return Upstream(
        name=name,
        host=f"{name}.example",
        port=443,
        tls=True,
        base_path="/base",
        region=region,
        credential_id=credential,
    )


def route(name: str, protocol: str, *upstreams: Upstream, **changes: object) -> Route:
    made = msgspec.convert(
        {
            "name": name,
            "prefix": f"/{name}",
            "protocol": protocol,
            "provider": protocol if protocol in ("openai", "anthropic") else None,
            "server": name if protocol in ("mcp", "http") else None,
            "upstreams": [],
            "request_headers": [],
            "response_headers": [],
            "body_bytes_max": 64 * 1024,
            "idempotent": False,
            "opaque_upload": False,
            "first_byte_seconds_max": 30.0,
            "stream_idle_seconds_max": 30.0,
            "call_seconds_max": 60.0,
        },
        Route,
    )
    return msgspec.structs.replace(
        made,
        upstreams=upstreams or (upstream(name),),
        request_headers=REQUEST_HEADERS_OF[made.protocol],
        response_headers=RESPONSE_HEADERS_OF[made.protocol],
        **changes,
    )


def routes() -> list[Route]:
    return [
        route("openai", "openai"),
        route("anthropic", "anthropic"),
        route("erp", "mcp"),
        route("tools", "mcp", upstream("first"), upstream("second")),
        route("pay", "http"),
        route("drop", "http", upstream("first"), upstream("second"), opaque_upload=True),
        route("pair", "openai", upstream("first"), upstream("second", "us-east-1", None)),
        route("again", "openai", upstream("first"), upstream("second"), idempotent=True),
    ]


def analysis_of(segments: Sequence[Segment]) -> Analysis:
    """As ``label_of``, with the first SECRET of each text."""
    found = [
        Finding(
            rule="secret",
            entity="secret",
            category="secret.test",
            level="restricted",
            pointer=segment.pointer,
            segment=index,
            start=segment.text.index("SECRET"),
            end=segment.text.index("SECRET") + len("SECRET"),
            view="plain",
            disguised=False,
        )
        for index, segment in enumerate(segments)
        if "SECRET" in segment.text
    ]
    call = msgspec.structs.replace(NO_CALL, segments=tuple(segments))
    return Analysis(label_of(call), tuple(found))


NO_CALL = CallView(protocol="openai", operation="chat", provider=None, model=None, stream=False)


def label_of(call: CallView) -> Label:
    """SECRET in any text is restricted data; the real classifier has tests of its own."""
    secret = any("SECRET" in segment.text for segment in call.segments)
    return Label(
        level="restricted" if secret else "internal",
        categories=("secret.test",) if secret else (),
        completeness="opaque" if call.opaque else "full",
        classifier="test@1",
    )


class Place:
    """One daemon's call path. ``labels``, ``policy`` and ``signed_us`` may be set at any time."""

    def __init__(self, disk: SimDisk, spool: Spool, policy_now: Snapshot | None) -> None:
        self.disk = disk
        self.spool = spool
        self.steps: Steps = []
        self.far = FarEnds(self.steps)
        self.policy = policy_now
        self.policy_reads = 0
        self.spool_opened_at = anyio.current_time()
        self.signed_us = 0
        self.key_usable = True
        self.label: Callable[[CallView], Label] = label_of
        self.identifier = identity_world.identifier()
        self.tally = Tally()
        self.clock = SlowClock(self.spool_opened_at)
        self.faults: list[tuple[str, BaseException]] = []
        self.decided: list[record.Decision] = []
        self.in_flight = InFlight(key_usable=lambda: self.key_usable)
        self.world = self._world()

    def _world(self) -> World:
        async def classify(call: CallView) -> Label:
            self.steps.append(("gateway", "classify"))
            return self.label(call)

        async def analyse(segments: Sequence[Segment]) -> Analysis:
            return analysis_of(segments)

        def policy_now() -> Snapshot | None:
            self.policy_reads += 1
            return self.policy

        def credentials(name: str | None) -> tuple[tuple[str, str], ...]:
            return () if name is None else (("authorization", f"Bearer {name}-key"),)

        def decided(draft: record.Decision) -> None:
            self.decided.append(draft)
            self.tally.decided(draft.decision.outcome)

        return World(
            routes=RouteTable(routes()),
            identify=lambda peer, head, now_us: self.identifier.identify(peer, head, now_us),
            classify=classify,
            analyse=analyse,
            policy=policy_now,
            signed_time_us=lambda: self.signed_us,
            log=self.spool,
            upstreams=self.far,
            credentials=credentials,
            scribe=scribe(self.clock),
            tally=self.tally,
            decided=decided,
            in_flight=self.in_flight,
            clock=self.clock,
            lineage=Lineage(lambda: role_keys(publisher().newest_root, "issuer").keys),
            parent_header=lambda receipt, body, hops: None,
            identity_failures=KeyedBuckets(limits.IDENTITY_FAILURES_PER_SECOND_MAX, 20, 64),
            denials=KeyedBuckets(limits.DENIALS_PER_SECOND_MAX, limits.DENIALS_BURST_MAX, 64),
            report=lambda event, error: self.faults.append((event, error)),
        )

    def change(self, **members: object) -> None:
        self.world = msgspec.structs.replace(self.world, **members)

    def application(self, head: Head, *parts: bytes, **options: object) -> Application:
        return Application(self.steps, self.durable, head, *parts, **options)  # type: ignore[arg-type]  # as Application names them

    async def serve(self, application: Application) -> Application:
        await handle_exchange(application, self.world)
        return application

    async def call(self, head: Head, *parts: bytes, **options: object) -> Application:
        return await self.serve(self.application(head, *parts, **options))

    # -- what is on the disk ------------------------------------------------------------------

    def durable(self) -> set[str]:
        """Ids of the records that a power cut at this moment would leave."""
        left = SimFiles(self.disk.cut(keep=0.0))
        return {one.leading.id for one in read.records(left, self.spool.directory)}

    def records(self) -> list[record.Record]:
        """Everything written so far, decoded and so checked for its exact form."""
        written = read.records(SimFiles(self.disk), self.spool.directory)
        return [record.decode(one.payload) for one in written]

    @property
    def decisions(self) -> list[record.Decision]:
        return [one for one in self.records() if isinstance(one, record.Decision)]

    @property
    def completions(self) -> list[record.Completion]:
        return [one for one in self.records() if isinstance(one, record.Completion)]

    @property
    def turned_away(self) -> dict[str, dict[str, int]]:
        return self.tally.counters().turned_away


def scribe(clock: Clock) -> Scribe:
    return Scribe(
        tenant="acme",
        region="eu-west-1",
        topology="sidecar",
        digest_key=DIGEST_KEY,
        clock=clock,
        entropy=Chance(),
    )


def run(
    script: Callable[[Place], Awaitable[None]],
    *,
    text: str = ALL,
    faults: Faults | None = None,
    seed: int = 1,
) -> Place:
    """Run ``script`` in a world of its own, with the policy of ``text`` in force."""
    disk = SimDisk(seed, faults)
    places: list[Place] = []

    async def world() -> None:
        spool = await Spool.open(disk, SPOOL, Sealer(KEY, INSTANCE), INSTANCE)
        place = Place(disk, spool, snapshot(text))
        places.append(place)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.run)
            tasks.start_soon(place.in_flight.watch_hang_ups)
            with anyio.fail_after(10_000):
                await script(place)
            await elapse(1)  # completions reach the disk
            tasks.cancel_scope.cancel()

    simulate(seed, world)
    return places[0]


class Served(msgspec.Struct, frozen=True):
    """One call that is over, and the world it was served in."""

    place: Place
    application: Application

    @property
    def decision(self) -> record.Decision:
        (one,) = self.place.decisions
        return one

    @property
    def completion(self) -> record.Completion:
        (one,) = self.place.completions
        return one

    @property
    def code(self) -> str:
        """The code of the refusal that was given."""
        assert self.application.given is not None
        error = json.loads(self.application.received)["error"]
        return str(error["code"] if "code" in error else error["data"]["code"])


def serve_one(
    head: Head,
    *parts: bytes,
    text: str = ALL,
    faults: Faults | None = None,
    scripts: dict[str, Script] | None = None,
    prepare: Callable[[Place], None] | None = None,
    peer: Peer | None = None,
    **options: object,
) -> Served:
    """One call in a world of its own. ``prepare`` changes the world before it."""
    applications: list[Application] = []
    if peer is not None:
        options["peer"] = peer

    async def script(place: Place) -> None:
        for name, one in (scripts or {}).items():
            place.far.set(name, one)
        if prepare is not None:
            prepare(place)
        applications.append(await place.call(head, *parts, **options))

    place = run(script, text=text, faults=faults)
    return Served(place, applications[0])


# -- requests -------------------------------------------------------------------------------


def head_of(target: str, method: str = "POST", **headers: str) -> Head:
    given = {"host": "gw", "content-type": "application/json"}
    given.update({name.replace("_", "-"): value for name, value in headers.items()})
    return Head(
        method=method,
        target=target,
        headers={name: value for name, value in given.items() if value},
        content_length=None,
        chunked=False,
        expect_continue=False,
        keep_alive=True,
    )


CHAT = head_of("/openai/v1/chat/completions")
MCP = head_of("/erp")
TOOL = head_of("/pay/refunds")
UPLOAD = msgspec.structs.replace(head_of("/drop/files", content_type="x/y"), chunked=True)


def chat(text: str = "hello", **members: object) -> bytes:
    message = {"role": "user", "content": text}
    return json.dumps({"model": "gpt-4o", "messages": [message], **members}).encode()


def tool_call(tool: str = "lookup", rpc_id: int = 1, **arguments: object) -> dict[str, object]:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": rpc_id, "method": "tools/call", "params": params}


def sent(document: object) -> bytes:
    return json.dumps(document).encode()
