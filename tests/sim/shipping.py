"""A spool with its shipper, and a small store that misbehaves on demand.

For answers that a sound store never gives; the real store meets the real spool elsewhere.
"""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable

import anyio
import msgspec

from gateway import record
from gateway.documents import LogSeen, RequestOf
from gateway.logproof import LeafType
from gateway.ports import ServiceAnswer
from gateway.seal import parse_envelope, record_hash, record_pae, unbase64
from gateway.shipping import ShipAnswer, ShipException, ShipHead, encode_answer
from spool.config import SpoolConfig
from spool.prove import Prover
from spool.recover import find_dead
from spool.seen import SEEN_NAME, SeenLog
from spool.ship import Shipper
from spool.spool import Spool
from tests.sim.disk import SimDisk
from tests.sim.loop import elapse, simulate
from tests.sim.records import PLACE, draft, instance_id, sealer
from tests.sim.shiplog import KEYS, TENANT_REGION, ShipLog

ROOT = "/var/spool"
CONFIG = SpoolConfig(directory=ROOT, segment_bytes=256 * 1024, spool_bytes_max=4 * 1024 * 1024)


class Chance:
    """An ``Entropy`` without chance."""

    def bytes(self, count: int) -> bytes:
        return bytes(count)

    def fraction(self) -> float:
        return 0.5


class Wall:
    """A ``WallClock`` that follows the loop."""

    def wall_us(self) -> int:
        return round(anyio.current_time() * 1_000_000)

    def source(self) -> str:
        return "simulated"

    def error_ms(self) -> int | None:
        return None

    def mono_us(self) -> int:
        return self.wall_us()

    def boot_id(self) -> str | None:
        return None


Misbehave = Callable[[int, list[int]], "ServiceAnswer | Told | None"]
"""(request number, seqs) → an answer instead of the store's own, or None; may raise."""


class Told(msgspec.Struct, frozen=True):
    """An answer in other words than the store would choose, with the proofs that it owes."""

    through_seq: int
    exceptions: list[ShipException] = []
    head: ShipHead | None = None


Came = tuple[str, int, str]
"""(instance, seq, record hash)"""


class Store:
    """Keeps what comes: (instance, seq) → record hash. Implements ``ports.Service``.

    ``seen``: the size that the daemon on the other side says it saw, as a signed request would.
    """

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], str] = {}
        self.log = ShipLog()
        self.sizes: list[int] = []
        self.times: list[float] = []
        self.of: list[RequestOf | None] = []
        self.keep_first = False
        self.seen: Callable[[], LogSeen | None] = lambda: None
        self.misbehave: Misbehave | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        of: RequestOf | None = None,
        answer_bytes_max: int | None = None,
        timeout_seconds: float | None = None,
    ) -> ServiceAnswer:
        assert (method, path) == ("POST", "/v1/records")
        assert headers == {"content-type": "application/jsonl", "content-encoding": "gzip"}
        await elapse(0.01)
        came = [self.read_line(line) for line in gzip.decompress(body).splitlines()]
        seqs = [seq for _, seq, _ in came]
        assert seqs == sorted(set(seqs)), "in seq order"
        assert of is None or (of.first_seq, of.last_seq) == (seqs[0], seqs[-1])
        self.sizes.append(len(came))
        self.times.append(anyio.current_time())
        self.of.append(of)
        if self.keep_first:
            self._keep(came)
        other = None if self.misbehave is None else self.misbehave(len(self.sizes), seqs)
        if isinstance(other, ServiceAnswer):
            return other
        if other is None:
            head = ShipHead(seq=seqs[-1], record_hash=came[-1][2])
            other = Told(seqs[-1], self._keep(came), head)
        return self._answer(other, came)

    def _keep(self, came: list[Came]) -> list[ShipException]:
        exceptions = []
        for instance, seq, digest in came:
            if self.kept.setdefault((instance, seq), digest) != digest:
                exceptions.append(ShipException(seq=seq, code="fork"))
        return exceptions

    def _answer(self, told: Told, came: list[Came]) -> ServiceAnswer:
        refused = {one.seq for one in told.exceptions if one.code not in ("duplicate", "retry")}
        kinds = dict.fromkeys(refused, LeafType.EVIDENCE)
        for instance, seq, digest in came:
            kind = kinds.get(seq, LeafType.RECORD)
            self.log.add(instance, seq, digest, kind, round(anyio.current_time() * 1_000_000))
        seen = self.seen()
        answer = ShipAnswer(
            through_seq=told.through_seq,
            exceptions=told.exceptions,
            runs=self.log.runs(came, kinds),
            head=told.head,
            checkpoint=self.log.note(),
            consistency=[] if seen is None else self.log.consistency(seen.size),
        )
        return ServiceAnswer(status=200, headers={}, body=encode_answer(answer))

    def read_line(self, line: bytes) -> Came:
        envelope = parse_envelope(line)
        payload = unbase64(envelope.payload, "payload")
        chain = record.decode_leading(payload).chain
        signature = unbase64(envelope.signatures[0].sig, "signature")
        return chain.instance, chain.seq, record_hash(record_pae(payload), signature)


def taken(
    through_seq: int, exceptions: list[ShipException] | None = None, head: ShipHead | None = None
) -> Told:
    """An answer in these words."""
    return Told(through_seq, exceptions or [], head)


def refusal(status: int, code: str = "", **headers: str) -> ServiceAnswer:
    body = msgspec.json.encode({"error": {"type": "gatepost", "code": code}})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ServiceAnswer(status=status, headers=named, body=body)


class World:
    """A spool and its shipper, both running."""

    def __init__(self, disk: SimDisk, spool: Spool, shipper: Shipper, store: Store) -> None:
        self.disk = disk
        self.spool = spool
        self.shipper = shipper
        self.store = store
        self.certified = True
        self.posted: list[str] = []

    async def commit(self, count: int, payload_bytes: int = 300) -> None:
        for first in range(0, count, 10):
            size = min(10, count - first)
            reservation = self.spool.reserve(size)
            drafts = [draft(f"r{first + index}", payload_bytes) for index in range(size)]
            await self.spool.commit(reservation, *drafts)

    async def shipped(self, seconds: float = 3_600.0) -> None:
        """Until nothing is left, within that virtual time."""
        with anyio.fail_after(seconds):
            while self.shipper.backlog_records:
                await elapse(0.01)

    @property
    def left(self) -> list[str]:
        """Files on the volume, but for what is kept beside the spools."""
        return [path for path in self.disk.paths() if path != f"{ROOT}/{SEEN_NAME}"]

    @property
    def seqs(self) -> list[int]:
        """What the store has of this instance."""
        return sorted(seq for instance, seq in self.store.kept if instance == self.spool.instance)


def ship(
    script: Callable[[World], Awaitable[None]],
    misbehave: Misbehave | None = None,
    *,
    config: SpoolConfig = CONFIG,
    disk: SimDisk | None = None,
    number: int = 1,
    seed: int = 1,
    store: Store | None = None,
) -> World:
    """Run ``script`` in a world with a running spool and shipper; returns that world.

    ``store``: that of an earlier world, where both are about one volume.
    """
    place = disk or SimDisk(seed)
    store = store or Store()
    store.misbehave = misbehave
    worlds: list[World] = []

    async def world() -> None:
        dead, _ = await find_dead(place, ROOT, PLACE, wall_us=0)
        seen = SeenLog(place, ROOT)
        await seen.load()
        store.seen = seen.stated
        spool = await Spool.open(
            place, config, sealer(number), instance_id(number), before_delete=seen.keep
        )

        async def post_certificate(instance: str) -> None:
            made.posted.append(instance)

        shipper = Shipper(
            spool,
            store,
            config=config,
            entropy=Chance(),
            clock=Wall(),
            may_ship=lambda: made.certified,
            post_certificate=post_certificate,
            prover=Prover(seen, TENANT_REGION, lambda: KEYS),
            dead=dead,
        )
        made = World(place, spool, shipper, store)
        worlds.append(made)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spool.run)
            tasks.start_soon(shipper.run)
            await script(made)
            tasks.cancel_scope.cancel()

    simulate(seed, world)
    return worlds[0]
