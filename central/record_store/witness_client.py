"""One witness, as a log talks to it (C2SP tlog-witness).

Owns: a request for one checkpoint, started again once from the size that the witness names, and
what each answer means. Refuses: keeping anything, trying again later (``witnesses.py``), and
believing an answer: only a cosignature that is valid under the configured key is returned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal
from urllib.parse import urlsplit

from central.record_store.cosignatures import Cosignature
from gateway import witness as protocol
from gateway.checkpoint import Checkpoint
from gateway.errors import ConfigInvalid, DocumentInvalid
from gateway.io.service import CentralService
from gateway.note import NOTE_BYTES_MAX, Note
from gateway.ports import Dialer, Service, ServiceAnswer, ServiceUnreachable
from gateway.witness import AddCheckpoint
from gateway.witness_policy import Witness

Failure = Literal["unreachable", "refused", "bad_answer", "ahead", "contradicts"]
"""``refused``: it does not know the log or its key; ``ahead``: it cosigned leaves that the log does
not have any more; ``contradicts``: it cosigned another history."""

Prove = Callable[[int], Awaitable[list[bytes]]]
"""Size → the consistency proof from there to the checkpoint that is asked about."""

_HEADERS: Final = {"content-type": "text/plain; charset=utf-8"}
_BUSY: Final = frozenset({429, 500, 502, 503, 504})


class WitnessFailed(Exception):
    """No cosignature was got, and why."""

    def __init__(self, code: Failure, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: Failure = code
        self.detail = detail


class WitnessClient:
    """``path``: of the submission prefix, without a slash at its end."""

    def __init__(
        self, witness: Witness, service: Service, path: str, answer_seconds: float
    ) -> None:
        self.witness = witness
        self._service = service
        self._path = path + protocol.PATH
        self._answer_seconds = answer_seconds

    def __repr__(self) -> str:
        return f"WitnessClient({self.witness.name})"

    async def cosign(
        self, signed: Note, found: Checkpoint, old_size: int, prove: Prove
    ) -> Cosignature:
        """The witness's cosignature of ``found``, which stands in ``signed``.

        ``old_size``: what it cosigned last, as far as is known. Raises WitnessFailed.
        """
        answer = await self._ask(AddCheckpoint(old_size, await prove(old_size), signed))
        if answer.status == 409:
            known = _size_of(answer)
            if known > found.size:
                raise WitnessFailed("ahead", f"it cosigned {known} leaves, here are {found.size}")
            if known != old_size:
                old_size = known
                answer = await self._ask(AddCheckpoint(known, await prove(known), signed))
        if answer.status == 200:
            return self._checked(signed, answer)
        raise _failure(answer, old_size)

    async def _ask(self, request: AddCheckpoint) -> ServiceAnswer:
        try:
            return await self._service.call(
                "POST",
                self._path,
                headers=_HEADERS,
                body=request.encode(),
                answer_bytes_max=NOTE_BYTES_MAX,
                timeout_seconds=self._answer_seconds,
            )
        except ServiceUnreachable as error:
            raise WitnessFailed("unreachable", str(error)) from error

    def _checked(self, signed: Note, answer: ServiceAnswer) -> Cosignature:
        try:
            line, time = protocol.cosignature(signed.text, answer.body, self.witness.key)
        except DocumentInvalid as error:
            raise WitnessFailed("bad_answer", str(error)) from error
        return Cosignature(self.witness.key, line, time)


def client(witness: Witness, dialer: Dialer, answer_seconds: float) -> WitnessClient:
    """A client over HTTP. Raises ConfigInvalid: no URL, or one that is no submission prefix."""
    if witness.url is None:
        raise ConfigInvalid(f"witness {witness.name}: its line has no URL to push checkpoints to")
    try:
        parts = urlsplit(witness.url)
    except ValueError as error:
        raise ConfigInvalid(f"witness {witness.name}: {witness.url!r}: {error}") from error
    path = parts.path.rstrip("/")
    base = parts._replace(path="").geturl()
    if not path.isascii() or not path.isprintable():
        raise ConfigInvalid(f"witness {witness.name}: {witness.url!r} is not in ASCII")
    service = CentralService(base, dialer, idempotent=frozenset({("POST", path + protocol.PATH)}))
    return WitnessClient(witness, service, path, answer_seconds)


def _size_of(answer: ServiceAnswer) -> int:
    try:
        return protocol.size_of(answer.body)
    except DocumentInvalid as error:
        raise WitnessFailed("bad_answer", f"status 409: {error}") from error


def _failure(answer: ServiceAnswer, old_size: int) -> WitnessFailed:
    if answer.status == 422:
        return WitnessFailed("contradicts", f"no proof from {old_size} leaves is accepted")
    if answer.status == 409:
        known = _size_of(answer)
        if known == old_size:
            return WitnessFailed("contradicts", f"it cosigned another root of {known} leaves")
        return WitnessFailed("bad_answer", f"it cosigned {old_size} leaves, then {known}")
    if answer.status in _BUSY:
        return WitnessFailed("unreachable", f"status {answer.status}")
    return WitnessFailed("refused", f"status {answer.status}")
