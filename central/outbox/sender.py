"""Sends what the record store lacks of a service's own chains, for as long as it takes.

Owns: one request at a time, the oldest records first, what its answer means, and when the next one
follows; and sealing a chain when nobody acts for a while. Refuses: giving a record up: what the
store does not take stays unsent and is said, and nothing that was sent is deleted. So no proofs are
asked for, as a daemon does, which deletes: that the store has put an act into its log shows in what
an auditor exports.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from typing import Final

import anyio

from central.config import CentralConfig
from central.database import Database
from central.errors import Refused
from central.outbox import shelf
from central.outbox.answer import Unsendable, resolved
from central.outbox.shelf import Unsent
from central.own_chain import Chain
from central.register import Place, Register
from gateway import __version__, documents, shipping
from gateway.documents import RequestOf
from gateway.io.service import CentralService
from gateway.ports import Dialer, Entropy, ServiceAnswer, ServiceUnreachable, WallClock
from gateway.signed_request import sign_request

_log: Final = logging.getLogger("gatepost.central")
_CERTIFICATES_PATH: Final = "/v1/certificates"
_REPEATABLE: Final = frozenset(("POST", p) for p in (shipping.RECORDS_PATH, _CERTIFICATES_PATH))
_QUIET_SECONDS: Final = 60.0
"""Nobody has acted for so long: the chains are sealed, so that none stays open between acts."""
_RETRY_SECONDS: Final = 1.0
_RETRY_SECONDS_MAX: Final = 60.0


class Sender:
    """``trouble``: why the last attempt sent nothing, or None."""

    def __init__(
        self,
        config: CentralConfig,
        register: Register,
        database: Database,
        dialer: Dialer,
        clock: WallClock,
        entropy: Entropy,
    ) -> None:
        assert config.record_store_url is not None
        self._url = config.record_store_url
        self._audience = config.audience
        self._register = register
        self._database = database
        self._dialer = dialer
        self._clock = clock
        self._entropy = entropy
        self._services: dict[Place, CentralService] = {}
        self._chains: dict[Place, Chain] = {}
        self._wake = anyio.Event()
        self.trouble: str | None = None

    def wake(self) -> None:
        """There is something new to send."""
        self._wake.set()

    async def aclose(self) -> None:
        """Close kept connections."""
        for service in self._services.values():
            await service.aclose()

    async def run(self) -> None:
        """Send, wait, seal what is quiet; for ever."""
        failures = 0
        while True:
            self._wake = anyio.Event()
            try:
                await self.send_all()
            except (Unsendable, Refused) as error:
                self._say(str(error))
                failures += 1
                ceiling = min(_RETRY_SECONDS_MAX, _RETRY_SECONDS * 2.0 ** min(failures, 10))
                await anyio.sleep(ceiling * (0.5 + self._entropy.fraction() / 2))
                continue
            failures, self.trouble = 0, None
            await self._wait()

    async def send_all(self, *, ending: bool = False) -> None:
        """Everything that the store lacks; ``ending``: no chain is begun for it any more.

        Raises Unsendable, and Refused (``storage_failed``).
        """
        for place in await self._database.read(shelf.places):
            self._chains[place] = await self._signing_chain(place, ending=ending)
            while batch := await self._next(place):
                await self._send(place, batch)

    async def _wait(self) -> None:
        """Until there is something to send; after a quiet while that is the end of the chains."""
        with anyio.move_on_after(_QUIET_SECONDS):
            await self._wake.wait()
            return
        if self._register.has_chains:
            await self._register.rest()
        else:
            await self._wake.wait()

    async def _next(self, place: Place) -> Unsent | None:
        return await self._database.read(lambda c: shelf.unsent(c, *place))

    async def _signing_chain(self, place: Place, *, ending: bool) -> Chain:
        """The chain whose key signs what is sent of ``place``, whichever chains that is about.

        The one that is open, or the one that was used last: for the seal of a chain that nobody
        goes on with, another one must not be begun.
        """
        for chain in (self._register.chain(place), self._chains.get(place)):
            if chain is not None and self._is_certified(chain):
                return chain
        if ending:
            raise Unsendable("no certified chain is left to send with")
        begun = await self._register.go_on(place)
        if not self._is_certified(begun):
            raise Unsendable("the issuer has not certified this service's chain yet")
        return begun

    def _is_certified(self, chain: Chain) -> bool:
        return chain.renew_us is not None and self._clock.wall_us() < chain.renew_us

    async def _send(self, place: Place, batch: Unsent) -> None:
        body = gzip.compress(b"".join(line + b"\n" for line in batch.lines), mtime=0)
        answer = await self._post(place, batch, body)
        if answer.status == 412 and (
            shipping.refusal_code(answer.body) == shipping.CERTIFICATE_UNKNOWN
        ):
            await self._post_certificate(place)
            answer = await self._post(place, batch, body)
        if answer.status != 200:
            code = shipping.refusal_code(answer.body) or "without a code"
            raise Unsendable(f"the record store answered {answer.status} {code}")
        through_seq, lost = resolved(answer.body, batch)
        if lost:
            _log.error("acts_not_taken: the record store kept %d records as evidence only", lost)
        await self._database.write(lambda c: shelf.note_sent(c, batch, through_seq, lost))

    async def _post(self, place: Place, batch: Unsent, body: bytes) -> ServiceAnswer:
        own = self._chains[place].instance == batch.instance
        return await self._call(
            place,
            shipping.RECORDS_PATH,
            {"content-type": shipping.CONTENT_TYPE, "content-encoding": "gzip"},
            body,
            None if own else RequestOf(batch.instance, batch.first_seq, batch.last_seq),
        )

    async def _post_certificate(self, place: Place) -> None:
        certificate = self._chains[place].certificate
        assert certificate is not None
        body = documents.encode(certificate)
        answer = await self._call(
            place, _CERTIFICATES_PATH, {"content-type": "application/json"}, body, None
        )
        if answer.status >= 300:
            code = shipping.refusal_code(answer.body) or "without a code"
            raise Unsendable(f"the record store refuses our certificate: {answer.status} {code}")

    async def _call(
        self, place: Place, path: str, headers: dict[str, str], body: bytes, of: RequestOf | None
    ) -> ServiceAnswer:
        service = self._services.get(place)
        if service is None:
            service = self._services[place] = CentralService(
                self._url,
                self._dialer,
                sign=self._signing(place),
                idempotent=_REPEATABLE,
                user_agent=f"gatepost/{__version__}",
            )
        try:
            return await service.call("POST", path, headers=headers, body=body, of=of)
        except ServiceUnreachable as error:
            raise Unsendable(f"the record store cannot be reached: {error}") from error

    def _signing(self, place: Place) -> Callable[[str, str, bytes, RequestOf | None], str]:
        def sign(method: str, path: str, body: bytes, of: RequestOf | None) -> str:
            chain = self._chains[place]
            return sign_request(
                chain.signer,
                chain.instance,
                audience=self._audience,
                method=method,
                path=path,
                body=body,
                now_us=self._clock.wall_us(),
                of=of,
            )

        return sign

    def _say(self, trouble: str) -> None:
        """Once for each new cause: a store that is away for hours says nothing new each minute."""
        if trouble != self.trouble:
            _log.warning("acts_unsent: %s; they are kept and sent later", trouble)
        self.trouble = trouble
