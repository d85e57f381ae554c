"""A store, two daemons, an issuer, a witness and an auditor, and the export that comes of them.

What a daemon does wrong goes through an honest store: ``World`` with other steps. What a store does
wrong is a change of ``items`` after the fact, logged and signed again with the log's own key; the
auditor's checkpoint, the daemons' ``log_seen`` and the witness's key are out of its reach.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway import checkpoint, documents, note, record, seal
from gateway.documents import LogSeen, Revocation
from gateway.evidence import Asked
from gateway.logproof import Entry
from gateway.note import NoteKey
from gateway.timestamp import time_text
from gateway.witness_policy import some_of
from tests import specimens
from tests.exports import (
    DAY_US,
    LOG_KEY,
    NOW_US,
    ORIGIN,
    REVOCATION_KEY,
    Writer,
    checkpoint_of,
    entry_of,
    line,
    log_lines,
    root,
)

WITNESS = seal.Signer(b"w" * 32)
WITNESS_NAME = "witness.example/1"
WITNESS_KEY = NoteKey(WITNESS_NAME, WITNESS.public, cosigns=True)
MINUTE_US = 60_000_000
STEP_US = 5 * MINUTE_US
"""Between one thing that happens and the next."""
NEXT_KEY = seal.Signer(b"n" * 32)


class Item(msgspec.Struct):
    """One line that was logged. ``head``: it stands among the documents of the export."""

    line: bytes
    received_us: int
    head: bool
    entry: Entry | None = None


class World:
    """``play`` lets everything happen in order; ``lines`` is the export of it."""

    def __init__(self) -> None:
        self.now_us = NOW_US
        self.items: list[Item] = []
        self.first, self.second = Writer(1), Writer(2)
        self.origin = ORIGIN
        self.pinned = ""
        self.cosigned = b""
        self.custom: Callable[[World], None] | None = None
        """What happens before the second daemon ends."""

    # -- what happens ------------------------------------------------------------------------

    def play(self) -> World:
        wide = {"not_before": time_text(NOW_US - DAY_US)}
        self.certify(self.first.certificate(**wide))
        self.certify(self.second.certificate(**wide))
        self.keep(self.first.start())
        self.call(self.first)
        self.beat(self.first)
        self.rotate()
        self.pin()
        self.keep(self.second.start())
        self.call(self.second)
        self.beat(self.second)
        self.call(self.first)
        # It was retired by then, and the witness had seen all that it signed: nothing is lost.
        self.revoke(self.first.signer.kid)
        self.keep(self.first.write(specimens.SEAL))
        if self.custom is not None:
            self.custom(self)
        self.call(self.second)
        self.keep(self.second.write(specimens.SEAL))
        self.cosign()
        return self

    def certify(self, certificate: bytes) -> None:
        self._log(certificate, head=True)

    def keep(self, sealed: seal.Sealed) -> None:
        self._log(line(sealed), head=False)

    def keep_line(self, data: bytes) -> None:
        self._log(data, head=False)

    def call(self, writer: Writer, **changes: object) -> None:
        at = time_text(self.now_us)
        timed = {"time": record.Decided(decided=at, clock=specimens.CLOCK), **changes}
        decision = writer.write(specimens.DECISION, **timed)
        self.keep(decision)
        ended = record.Ended(ended=time_text(self.now_us))
        self.keep(writer.write(specimens.COMPLETION, of=decision.id, time=ended))

    def beat(self, writer: Writer, seen: LogSeen | None = None) -> None:
        found = checkpoint_of(self.entries(), self.origin).seen()
        self.keep(writer.write(specimens.HEARTBEAT, log_seen=seen or found, certificate=None))

    def rotate(self) -> None:
        self.hand_over(self.first, NEXT_KEY)
        self.first.sealer.rotate(NEXT_KEY)

    def hand_over(self, writer: Writer, following: seal.Signer) -> None:
        """The ``rotate`` to another key, and its certificate; who signs on is not said."""
        wide = {"not_before": time_text(NOW_US - DAY_US)}
        certificate = writer.certificate(following, **wide)
        envelope = seal.parse_envelope(certificate)
        draft = specimens.ROTATE
        self.keep(writer.write(draft, next_kid=following.kid, next_certificate=envelope))
        self.certify(certificate)

    def pin(self) -> None:
        """The auditor keeps a checkpoint, which the witness has cosigned."""
        found = checkpoint.write(checkpoint_of(self.entries()), [LOG_KEY])
        self.pinned = note.Note(found.text, [*found.signatures, self._seen_by(found.text)]).encode()

    def revoke(self, kid: str) -> None:
        revocation = Revocation(
            kid=kid,
            serial=None,
            reason="found on a stolen disk",
            untrusted_from=time_text(self.now_us),
            issued=time_text(self.now_us),
        )
        envelope = REVOCATION_KEY.sign_document(documents.REVOCATION, revocation)
        self._log(documents.encode(envelope) + b"\n", head=True)

    def cosign(self) -> None:
        self.cosigned = checkpoint_of(self.entries(), self.origin).text().encode()

    # -- the export --------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        found = [one.entry or entry_of(one.line, one.received_us) for one in self.items]
        assert None not in found
        return [one for one in found if one is not None]

    def lines(self) -> list[bytes]:
        """Root, documents, records, leaves, checkpoint; cosigned if the witness saw this one."""
        text = checkpoint_of(self.entries(), self.origin).text()
        seen = [self._seen_by(text)] if text.encode() == self.cosigned else []
        head = [one.line for one in self.items if one.head]
        records = [one.line for one in self.items if not one.head]
        end = log_lines(self.entries(), *seen, origin=self.origin)
        return [root().envelope + b"\n", *head, *records, *end]

    def asked(self) -> Asked:
        return Asked(pin=self.pinned, witnesses=some_of([WITNESS_KEY], 1))

    def _log(self, data: bytes, *, head: bool) -> None:
        self.now_us += STEP_US
        self.items.append(Item(data, self.now_us, head))

    def _seen_by(self, text: str) -> note.NoteSignature:
        return note.cosign(text, WITNESS_NAME, WITNESS, self.now_us // 1_000_000)
