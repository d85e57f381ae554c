"""The parts of every daemon, built and wired but not yet running.

Owns: the order of building (policy and key before the spool) and the callbacks between parts.
Refuses: running them (``lifecycle.py``), what only calls need (``call_path.py``), and any part's
own work.
"""

from __future__ import annotations

import anyio

from gateway import __version__, documents, limits, record
from gateway.acknowledgement import LogKeys
from gateway.documents import Envelope, KeyCert, RequestOf
from gateway.errors import ConfigInvalid, TurnAway
from gateway.inflight import InFlight
from gateway.io.service import CentralService
from gateway.ports import Receipt, Reservation
from gateway.recording import Scribe
from gateway.roots import role_keys
from gateway.seal import Signer
from gateway.tally import Tally
from gateway.timestamp import time_micros
from policy_cache.cache import PolicyCache
from policy_cache.config import CacheConfig
from sidecar import journal, recovery
from sidecar.attesting import attestor_of
from sidecar.config import SidecarConfig
from sidecar.enrol import Enroller, Place
from sidecar.eventlog import EventLog
from sidecar.instance import Instance
from sidecar.outside import Outside
from sidecar.policy_origin import PolicyOrigin
from sidecar.policy_reporter import PolicyReporter
from sidecar.recent import RecentDecisions
from sidecar.upkeep import Upkeep
from spool.dead import DeadInstance
from spool.dead import Place as SpoolPlace
from spool.prove import Prover
from spool.recover import LeftAlone, find_dead, newest
from spool.seen import SeenLog
from spool.ship import Shipper
from spool.spool import Spool

Found = tuple[list[DeadInstance], list[LeftAlone]]
"""Dead instances whose locks are held now, and directories that were not touched."""

_ROOM_SECONDS = 1.0
"""Between two looks for room; nothing tells when a volume has some again."""


class Parts:
    """Everything a running daemon is made of. ``build_parts`` fills it."""

    def __init__(self, config: SidecarConfig, outside: Outside, log: EventLog) -> None:
        self.config = config
        self.outside = outside
        self.log = log
        self.instance = Instance(outside.entropy, outside.clock)
        self.seen = SeenLog(outside.disk, config.spool.directory)
        self.tally = Tally()
        self.recent = RecentDecisions()
        self.scribe = Scribe(
            tenant=config.tenant,
            region=config.region,
            topology=config.topology,
            digest_key=self.instance.digest_key,
            clock=outside.clock,
            entropy=outside.entropy,
        )
        self.in_flight = InFlight(key_usable=self.key_usable)
        central = config.central
        self.store = self._service(central.store_url or central.url, keeps_log=True)
        # Chain-heads are posted whether or not shipping works: they share no connection with it.
        self.heads = self._service(central.store_url or central.url)
        self.issuer = self._service(central.issuer_url or central.url)
        self.policy_service = self._service(central.url)
        # A long poll or a large bundle must not hold up what is reported, nor the other way round.
        self.reports = self._service(central.url)
        self.policy_origin = PolicyOrigin(config.policy, outside, self.policy_service, log)
        self._signed_time: tuple[int, int] | None = None
        self.dead: list[DeadInstance] = []
        self.left_alone: list[LeftAlone] = []
        self.recovery = recovery.NOTHING
        self.started = anyio.Event()
        self.continues: record.Continues | None = None
        self.continues_reason: str | None = None
        self.policy: PolicyCache
        self.spool: Spool
        self.shipper: Shipper
        self.enroller: Enroller
        self.upkeep: Upkeep
        self.policy_reporter: PolicyReporter

    def _service(self, url: str, *, keeps_log: bool = False) -> CentralService:
        audience = self.config.central.audience

        def sign(method: str, path: str, content: bytes, of: RequestOf | None) -> str:
            seen = self.seen.stated() if keeps_log else None
            return self.instance.sign_call(audience, method, path, content, of, seen)

        return CentralService(
            url,
            self.outside.network.services,
            sign=sign,
            idempotent=frozenset({("POST", "/v1/records"), ("POST", "/v1/certificates")}),
            user_agent=f"gatepost/{__version__}",
        )

    async def aclose(self) -> None:
        """Close idle connections and give the policy directory's lock back."""
        for service in (
            self.store,
            self.heads,
            self.issuer,
            self.policy_service,
            self.reports,
        ):
            await service.aclose()
        await self.policy_origin.aclose()
        await self.policy.aclose()

    # -- the key ------------------------------------------------------------------------------

    def key_usable(self) -> bool:
        """Whether the key may sign rulings now: certified, or uncertified for not too long.

        The bundle says how long. Without one the default holds, and every ruling is a refusal.
        """
        snapshot = self.policy.current()
        bound = (
            limits.UNCERTIFIED_SECONDS_MAX if snapshot is None else snapshot.uncertified_seconds_max
        )
        return self.instance.uncertified_seconds(self.outside.clock.wall_us()) <= bound

    async def certified(self, envelope: Envelope, cert: KeyCert, signer: Signer | None) -> None:
        """A certificate came: for the current key, or for ``signer``, which then takes over.

        Raises TurnAway (``spool_full``) when there was no room for a ``rotate`` up to the end of
        the current certificate: the current key then needs another one before anything else.
        """
        self.note_signed_time(time_micros(cert.issued))
        if signer is not None:
            reservation = await self.own_room(rotate=True)
            draft = journal.rotate(
                self.scribe,
                self.outside.clock.wall_us(),
                next_kid=signer.kid,
                next_certificate=envelope,
            )
            try:
                commit = self.spool.submit(reservation, draft)
                self.instance.sealer.rotate(signer)
                self.instance.accept(envelope, cert)
                await commit.wait()
            except TurnAway as failed:
                # The disk failed, and that ends the daemon.
                self.log.warning("record_lost", kind="rotate", code=failed.code)
        else:
            self.instance.accept(envelope, cert)
            if self.started.is_set():
                # Too late for the start record: a heartbeat carries it.
                await self.upkeep.heartbeat(envelope)
        self.shipper.wake()

    def note_signed_time(self, signed_us: int) -> None:
        """The issuer's time, just now: what the wall clock is held against from here on."""
        self._signed_time = (signed_us, self.outside.clock.mono_us())
        if self.clock_suspect:
            self.log.warning("clock_suspect")

    @property
    def clock_suspect(self) -> bool:
        """Whether the wall clock is over a minute away from the issuer's, gone on monotonically."""
        if self._signed_time is None:
            return False
        clock, (signed_us, seen_us) = self.outside.clock, self._signed_time
        skew_us = abs(clock.wall_us() - (signed_us + clock.mono_us() - seen_us))
        return skew_us > limits.CLOCK_SUSPECT_SECONDS * 1_000_000

    # -- records of our own -------------------------------------------------------------------

    async def own_room(self, *, rotate: bool = False) -> Reservation:
        """Room for one record about the instance itself, as soon as there is some: what dead
        instances left may fill the volume until it is shipped.

        For a ``rotate`` it waits no longer than the current certificate lives: without one
        nothing is shipped, and so no room is made. Raises TurnAway (``disk_failed``; for a
        ``rotate`` also ``spool_full``).
        """
        said = False
        while True:
            try:
                return self.spool.kept_reservation(rotate=rotate)
            except TurnAway as full:
                if full.code != "spool_full" or (rotate and not self.instance.may_ship()):
                    raise
            if not said:
                self.log.warning("spool_full")
            said = True
            await anyio.sleep(_ROOM_SECONDS)

    @property
    def has_own_room(self) -> bool:
        """Whether there is room for one record about the instance itself now."""
        return self.spool.quota.admits_kept(final=False)

    async def wait_own_room(self) -> None:
        """Return when there is. Raises TurnAway (``disk_failed``)."""
        (await self.own_room()).release()

    async def write_own(self, draft: record.Record, *, final: bool = False) -> Receipt:
        """Write one record about the instance itself, from the kept bytes.

        ``final``: the seal, for which there is room or not; others wait. Raises TurnAway.
        """
        reservation = self.spool.kept_reservation(final=True) if final else await self.own_room()
        receipts = await self.spool.submit(reservation, draft).wait()
        return receipts[0]

    def decided(self, draft: record.Decision) -> None:
        """A ruling was submitted."""
        self.tally.decided(draft.decision.outcome)
        self.recent.add(draft)

    async def post_certificate(self, instance: str) -> None:
        """Give the store what it lacks of ``instance``: ours, or what a dead one recorded."""
        await self.enroller.post_certificate(self.instance.id)
        for dead in self.shipper.dead:
            if dead.instance == instance:
                for envelope in dead.findings.certificates:
                    await self.store.call(
                        "POST", "/v1/certificates", body=documents.encode(envelope)
                    )

    # -- what dead instances left -----------------------------------------------------------

    def take_in(self, found: Found) -> None:
        """Ship what a further look found, and count what it had to leave alone."""
        dead, left_alone = found
        self.note_left_alone(left_alone)
        self.spool.quota.left_alone_bytes = sum(left.bytes_used for left in left_alone)
        self.shipper.take_in(dead)
        self.note_look(found, took_us=0)

    def note_look(self, found: Found, *, took_us: int) -> None:
        """Count what a look for dead instances found, for the status."""
        dead, left_alone = found
        self.recovery = recovery.add_look(
            self.recovery,
            dead,
            left_alone,
            wall_us=self.outside.clock.wall_us(),
            took_us=took_us,
        )

    def note_left_alone(self, left_alone: list[LeftAlone]) -> None:
        """Keep, and say once of each, why it is not touched."""
        said = {(left.instance, left.why) for left in self.left_alone}
        for left in left_alone:
            if (left.instance, left.why) not in said:
                self.log.error("recovery_failed", instance=left.instance, reason=left.why)
        self.left_alone = left_alone

    # -- policy -------------------------------------------------------------------------------

    def log_keys(self) -> LogKeys | None:
        """Who may speak for the store's log, by the trusted root; None before there is one."""
        root = self.policy.root
        if root is None:
            return None
        return LogKeys(log=role_keys(root, "log"), revocation=role_keys(root, "revocation"))

    def issuer_keys(self) -> dict[str, bytes]:
        """Keys that may sign certificates, by the trusted root; none before there is one."""
        root = self.policy.root
        return {} if root is None else role_keys(root, "issuer").keys

    async def wait_issuer_keys(self) -> dict[str, bytes]:
        """The same, once a root is held."""
        await self.policy.wait_root()
        return self.issuer_keys()

    async def watch_lock(self) -> None:
        """Cut every stream while the policy is locked."""
        while True:
            await self.policy.wait_locked()
            cut = self.in_flight.cut_all("response_blocked")
            self.log.warning("policy_locked", cut=cut)
            await self.policy.wait_unlocked()


async def look_for_dead(config: SidecarConfig, outside: Outside) -> Found:
    """Take what can be taken of the spool's volume. Raises ConfigInvalid."""
    return await find_dead(
        outside.disk,
        config.spool.directory,
        SpoolPlace(config.tenant, config.region),
        wall_us=outside.clock.wall_us(),
    )


async def build_parts(
    config: SidecarConfig, outside: Outside, log: EventLog, found: Found | None = None
) -> Parts:
    """Build and wire everything. ``found``: of a look for dead instances that was made before.

    Raises ConfigInvalid; nothing listens yet.
    """
    parts = Parts(config, outside, log)
    parts.policy = PolicyCache(
        parts.policy_origin.source,
        outside.disk,
        outside.clock,
        outside.entropy,
        CacheConfig(
            scope=config.policy.scope,
            root_fingerprint=config.trust.root_sha256,
            directory=config.policy.directory,
            own_version=__version__,
            refresh_seconds_min=config.policy.refresh_seconds_min,
            refresh_seconds_max=config.policy.refresh_seconds_max,
            threads=outside.threads,
            placement=config.policy.placement or f"{outside.host_name}:{config.policy.directory}",
            require_offline_root=config.trust.require_offline_root,
        ),
        lambda event, detail: (
            log.info(event, detail=detail)
            if event == "policy_activated"
            else log.warning(event, detail=detail)
        ),
    )
    await parts.policy.load()
    began_us = outside.clock.mono_us()
    found = found or await look_for_dead(config, outside)
    parts.note_look(found, took_us=outside.clock.mono_us() - began_us)
    await _open_spool(parts, found)
    _connect(parts)
    return parts


async def _open_spool(parts: Parts, found: Found) -> None:
    config, outside = parts.config, parts.outside
    await parts.seen.load()
    parts.dead, left_alone = found
    parts.note_left_alone(left_alone)
    parts.continues = newest(parts.dead)
    if parts.continues is None:
        parts.continues_reason = "predecessor_unreadable" if parts.left_alone else "first_start"
    parts.spool = await Spool.open(
        outside.disk,
        config.spool,
        parts.instance.sealer,
        parts.instance.id,
        dead_bytes=sum(dead.bytes_used for dead in parts.dead),
        left_alone_bytes=sum(left.bytes_used for left in left_alone),
        timer=lambda: outside.clock.mono_us() / 1e6,
        before_delete=parts.seen.keep,
    )


def _connect(parts: Parts) -> None:
    config, outside = parts.config, parts.outside
    enrolment = config.enrolment

    attestor = attestor_of(enrolment, outside.disk, outside.entropy)
    if attestor is None:
        raise ConfigInvalid(
            "enrolment: set service_account_token_file, spiffe_jwt_file or host_key_file; there is "
            "nothing to attest by"
        )
    parts.enroller = Enroller(
        instance=parts.instance,
        place=Place(
            tenant=config.tenant,
            region=config.region,
            topology=config.topology,
            worker=enrolment.worker,
        ),
        issuer=parts.issuer,
        store=parts.store,
        attestor=attestor,
        issuer_keys=parts.wait_issuer_keys,
        certified=parts.certified,
        clock=outside.clock,
        entropy=outside.entropy,
        log=parts.log,
    )
    parts.shipper = Shipper(
        parts.spool,
        parts.store,
        config=config.spool,
        entropy=outside.entropy,
        clock=outside.clock,
        may_ship=parts.instance.may_ship,
        post_certificate=parts.post_certificate,
        prover=Prover(parts.seen, (config.tenant, config.region), parts.log_keys),
        dead=parts.dead,
    )
    parts.upkeep = Upkeep(
        instance=parts.instance,
        spool=parts.spool,
        scribe=parts.scribe,
        tally=parts.tally,
        store=parts.heads,
        shipper=parts.shipper,
        seen=parts.seen,
        post_certificate=parts.post_certificate,
        clock=outside.clock,
        log=parts.log,
    )
    parts.policy_reporter = PolicyReporter(
        instance=parts.instance,
        policy=parts.policy,
        scope=config.policy.scope,
        service=parts.reports,
        seconds=config.policy.report_seconds,
        entropy=outside.entropy,
        log=parts.log,
    )
