"""Enrolment: an instance key gets its certificate, and a new key before the old one ends.

Owns: the talk with the issuer (nonce, proof of possession, attestation), the checks on what it
answers, renewal at two thirds of a certificate's life, and telling the record store about each
certificate. Refuses: deciding without a certificate (``Instance`` and ``InFlight`` hold that
window) and trusting an issuer key that is not in the pinned root.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio
import msgspec

from gateway import attestation, documents, limits, seal
from gateway.documents import Enrol, EnrolAttestation, Envelope, KeyCert
from gateway.errors import UNREADABLE, ConfigInvalid, DocumentInvalid, TurnAway
from gateway.ports import Entropy, Service, ServiceUnreachable, WallClock
from gateway.timestamp import time_micros, time_text
from sidecar.attesting import Attestor
from sidecar.eventlog import EventLog
from sidecar.instance import Instance

_T = TypeVar("_T", bound=msgspec.Struct)

_RETRY_SECONDS: Final = 1.0
_RENEW_AT: Final = 2 / 3
_LOOK_SECONDS: Final = 60.0
"""Between two looks at the wall clock while nothing is due."""


class EnrolmentRefused(Exception):
    """The issuer answered no; ``final`` means that asking again cannot help (exit 78)."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.final = code in ("wrong_tenant", "topology_not_allowed")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What an enrolment states about the daemon."""

    tenant: str
    region: str
    topology: str
    worker: int


class Enroller:
    """Keeps the instance certified. ``attestor``: proves what we are.

    ``conflict``: the issuer says that a newer instance took the place of this one.
    """

    def __init__(
        self,
        *,
        instance: Instance,
        place: Place,
        issuer: Service,
        store: Service,
        attestor: Attestor,
        issuer_keys: Callable[[], Awaitable[dict[str, bytes]]],
        certified: Callable[[Envelope, KeyCert, seal.Signer | None], Awaitable[None]],
        clock: WallClock,
        entropy: Entropy,
        log: EventLog,
    ) -> None:
        self._instance = instance
        self._place = place
        self._issuer = issuer
        self._store = store
        self._attestor = attestor
        self._issuer_keys = issuer_keys
        self._certified = certified
        self._clock = clock
        self._entropy = entropy
        self._log = log
        self.last_error: str | None = None
        self.conflict = False
        self.refused: EnrolmentRefused | None = None
        self.refused_for_good = anyio.Event()

    async def run(self) -> None:
        """Enrol, renew, for ever; returns only when the issuer refuses this place for good.

        Raises ConfigInvalid for a host key or one-time token file that cannot be used at the start.
        """
        await self._attestor.prepare()
        following: seal.Signer | None = None
        failures = 0
        while True:
            try:
                await self._obtain(following)
            except EnrolmentRefused as refused:
                self._failed(str(refused))
                self.conflict = refused.code == "instance_conflict"
                if refused.final:
                    self.refused = refused
                    self.refused_for_good.set()
                    return
            except (ServiceUnreachable, DocumentInvalid, TurnAway) as error:
                self._failed(str(error))
            except ConfigInvalid as error:
                if self._instance.certificate is None:
                    raise
                # A daemon that serves is not ended by a file that broke since.
                self._failed(str(error))
            else:
                failures = 0
                self.last_error = None
                self.conflict = False
                await self._sleep_until_renewal()
                following = seal.Signer(self._entropy.bytes(seal.SEED_BYTES))
                continue
            failures += 1
            await anyio.sleep(self._retry_seconds(failures))

    async def post_certificate(self, instance: str) -> None:
        """Give the store our certificates (again): what a 412 ``certificate_unknown`` asks for.

        Those of earlier keys too: a store restored from a backup may have lost them all, and would
        reject what they signed.
        """
        if instance == self._instance.id:
            for envelope in self._instance.certificate_envelopes:
                await self._post(envelope)

    async def _obtain(self, following: seal.Signer | None) -> None:
        """A certificate for the current key, or for ``following``, which then takes over.

        Where the issuer was away beyond the current key's window, that key is certified once
        more, so that what it signed since verifies.
        """
        # Before the issuer is asked: a certificate that nobody can check would only grow old.
        keys = await self._issuer_keys()
        if following is None:
            await self._certify(self._instance.signer, None, keys)
            return
        if self._instance.uncertified_seconds(self._clock.wall_us()) > 0:
            await self._certify(self._instance.signer, None, keys)
        await self._certify(following, following, keys)

    async def _certify(
        self, key: seal.Signer, following: seal.Signer | None, keys: dict[str, bytes]
    ) -> None:
        envelope = await self._ask(key)
        certificate = self._check(envelope, key, keys)
        await self._certified(envelope, certificate, following)
        self._log.info(
            "enrolled" if following is None else "certificate_rotated",
            serial=certificate.serial,
            not_after=certificate.not_after,
        )
        await self._post(envelope)

    async def _ask(self, key: seal.Signer) -> Envelope:
        try:
            return await self._enrol(key)
        except EnrolmentRefused as refused:
            # Anything but an unknown host is not cured by registering it.
            if refused.code != "attestation_invalid":
                raise
            place = self._place
            registration = await self._attestor.registration(place.tenant, place.region)
            if registration is None:
                raise
            await self._call("/v1/hosts", msgspec.json.encode(registration), wanted=(200, 201))
            return await self._enrol(key)

    async def _enrol(self, key: seal.Signer) -> Envelope:
        answer = await self._call("/v1/enrol/nonce", b"", wanted=(200, 201))
        nonce = _decoded(answer, attestation.NonceAnswer).nonce
        place, instance = self._place, self._instance
        draft = Enrol(
            audience=attestation.ENROL_AUDIENCE,
            nonce=nonce,
            pub=base64.b64encode(key.public).decode(),
            instance=instance.id,
            tenant=place.tenant,
            region=place.region,
            topology=place.topology,
            not_before=time_text(self._window_start_us(key)),
            digest_key=base64.b64encode(instance.digest_key).decode(),
            attestation=EnrolAttestation(type=self._attestor.kind, token="", worker=place.worker),
        )
        token = await self._attestor.token(draft)
        request = msgspec.structs.replace(
            draft, attestation=msgspec.structs.replace(draft.attestation, token=token)
        )
        body = documents.encode(key.sign_document(documents.ENROL, request))
        answer = await self._call("/v1/enrol", body, wanted=(201,))
        return _decoded(answer, attestation.EnrolAnswer).certificate

    def _window_start_us(self, key: seal.Signer) -> int:
        """Where the window of ``key`` should begin: it is to cover what was signed uncertified."""
        if key is not self._instance.signer:
            return self._clock.wall_us()
        certificate = self._instance.certificate
        return (
            self._instance.started_us if certificate is None else time_micros(certificate.not_after)
        )

    def _check(self, envelope: Envelope, key: seal.Signer, keys: dict[str, bytes]) -> KeyCert:
        certificate = seal.open_certificate(envelope, keys)
        mine = (key.kid, self._instance.id, self._place.tenant, self._place.region)
        theirs = (certificate.kid, certificate.instance, certificate.tenant, certificate.region)
        if mine != theirs:
            raise DocumentInvalid("certificate", "it is for another key, instance or place")
        return certificate

    async def _post(self, envelope: Envelope) -> None:
        try:
            answer = await self._store.call(
                "POST", "/v1/certificates", body=documents.encode(envelope)
            )
        except ServiceUnreachable as unreachable:
            # The store asks for it with 412 when it is back.
            self._log.warning("certificate_refused", reason=unreachable.kind)
            return
        if answer.status >= 300:
            self._log.warning("certificate_refused", status=answer.status)

    async def _call(self, path: str, body: bytes, *, wanted: tuple[int, ...]) -> bytes:
        answer = await self._issuer.call(
            "POST", path, headers={"content-type": "application/json"}, body=body
        )
        if answer.status in wanted:
            return answer.body
        code, message = _problem(answer.body)
        raise EnrolmentRefused(answer.status, code, message)

    async def _sleep_until_renewal(self) -> None:
        """Sleep for two thirds of the life of the certificate that was issued just now.

        By both clocks: a wall clock that is wrong, or set back, must not change the hour, and
        the other one stands still while the machine sleeps.
        """
        certificate = self._instance.certificate
        assert certificate is not None
        life_us = time_micros(certificate.not_after) - time_micros(certificate.issued)
        seconds = max(_RETRY_SECONDS, life_us / 1e6 * _RENEW_AT)
        due_us = self._clock.wall_us() + int(seconds * 1e6)
        due = anyio.current_time() + seconds
        while True:
            left = due - anyio.current_time()
            if left <= 0 or self._clock.wall_us() >= due_us:
                return
            await anyio.sleep(min(left, _LOOK_SECONDS))

    def _retry_seconds(self, failures: int) -> float:
        """Full jitter: a fleet that lost its issuer must not come back in step."""
        ceiling = min(limits.SHIP_RETRY_SECONDS_MAX, _RETRY_SECONDS * 2.0 ** min(failures, 10))
        return 0.05 + ceiling * self._entropy.fraction()

    def _failed(self, error: str) -> None:
        self.last_error = error
        self._log.warning("enrolment_failed", error=error)


class _Problem(msgspec.Struct):
    code: str = "unknown"
    message: str = ""


class _ProblemBody(msgspec.Struct):
    error: _Problem = msgspec.field(default_factory=_Problem)


def _problem(body: bytes) -> tuple[str, str]:
    try:
        problem = msgspec.json.decode(body, type=_ProblemBody).error
    except UNREADABLE:
        return "unreadable", "the answer is not an error object"
    return problem.code, problem.message


def _decoded(body: bytes, struct: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=struct)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"the issuer's answer: {error}") from error
