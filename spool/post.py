"""One request to the record store, and what its answer means.

Owns: headers, the certificate that a 412 asks for, and turning every answer into an outcome or
a ``Delayed``. Refuses: waiting, repeating (``ship.py``), and what becomes of records.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gateway import shipping
from gateway.errors import DocumentInvalid
from gateway.ports import Service, ServiceAnswer, ServiceUnreachable, WallClock
from gateway.shipping import ShipAnswer
from spool import retry
from spool.answer import check_answer
from spool.batch import Body
from spool.prove import Prover
from spool.retry import Delayed
from spool.source import Source, request_of

_REASON_BYTES = 256


class Taken(msgspec.Struct, frozen=True):
    """``resolved``: how many records of the body, from the first, are resolved and proved to be
    kept; at least one."""

    answer: ShipAnswer
    resolved: int


class Refused(msgspec.Struct, frozen=True):
    """The body was refused for what is in it, or (``too_large``) for its size."""

    status: int
    reason: str
    too_large: bool


class Poster:
    """Sends bodies. ``post_certificate``: posts what the store lacks of an instance;
    ``prover``: asked before an answer counts."""

    def __init__(
        self,
        service: Service,
        clock: WallClock,
        own: str,
        post_certificate: Callable[[str], Awaitable[None]],
        prover: Prover,
    ) -> None:
        self._service = service
        self._clock = clock
        self._own = own
        self._post_certificate = post_certificate
        self._prover = prover

    async def post(self, source: Source, body: Body) -> Taken | Refused:
        """One attempt. Raises Delayed when nothing is decided about the records, and OSError."""
        try:
            answer = await self._call(source, body)
            if answer.status == 412 and _code(answer) == shipping.CERTIFICATE_UNKNOWN:
                for instance in dict.fromkeys((self._own, source.instance)):
                    await self._post_certificate(instance)
                answer = await self._call(source, body)
        except ServiceUnreachable as error:
            raise Delayed(str(error), environment=error.kind == "tls") from error
        meaning = retry.meaning(answer.status)
        if meaning == "taken":
            return await self._taken(answer, body)
        why = f"the store answered {answer.status} {_code(answer) or 'without a code'}"
        if meaning in ("refused", "too_large"):
            reason = f"{why}: {answer.body[:_REASON_BYTES].decode('utf-8', 'replace')}"
            return Refused(answer.status, reason, meaning == "too_large")
        raise Delayed(
            why,
            status=answer.status,
            environment=meaning == "environment",
            retry_after_seconds=retry.retry_after_seconds(answer, self._clock.wall_us()),
        )

    async def _call(self, source: Source, body: Body) -> ServiceAnswer:
        return await self._service.call(
            "POST",
            shipping.RECORDS_PATH,
            headers={"content-type": shipping.CONTENT_TYPE, "content-encoding": "gzip"},
            body=body.data,
            of=request_of(source, body.records),
        )

    async def _taken(self, answer: ServiceAnswer, body: Body) -> Taken:
        """What of the batch is resolved, in the store's words, and proved by the log's."""
        try:
            read = shipping.decode_answer(answer.body)
            resolved = check_answer(read, body.records)
        except DocumentInvalid as error:
            why = f"the store's answer cannot be believed: {error}"
            raise Delayed(why, status=answer.status) from error
        if resolved == 0:
            raise Delayed("the store took nothing of the batch", status=answer.status)
        proven = await self._prover.prove(read, body.records)
        count = 0
        while count < resolved and body.records[count].seq in proven:
            count += 1
        if count == 0:
            why = self._prover.trouble or "the store proves nothing of what it took"
            raise Delayed(why, status=answer.status)
        return Taken(read, count)


def _code(answer: ServiceAnswer) -> str | None:
    return shipping.refusal_code(answer.body)
