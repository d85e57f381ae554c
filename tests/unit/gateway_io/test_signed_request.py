from __future__ import annotations

import base64
import re

from gateway import documents
from gateway.documents import LogSeen, RequestOf, RequestSender, SignedRequest
from gateway.io.signed_request import sign_request
from gateway.seal import Signer, open_envelope, sha256_text


class FixedClock:
    def wall_us(self) -> int:
        return 1_000_000

    def source(self) -> str:
        return "simulated"

    def error_ms(self) -> int | None:
        return None

    def mono_us(self) -> int:
        return 0

    def boot_id(self) -> str | None:
        return None


def opened(value: str, signer: Signer) -> SignedRequest:
    sealed = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    payload = open_envelope(sealed, documents.REQUEST, {signer.kid: signer.public})
    return documents.decode_exact(payload, SignedRequest)


def test_the_header_binds_the_call_its_body_and_its_sender() -> None:
    signer = Signer(bytes(32))
    sign = sign_request(lambda: signer, "instance-a", "store", FixedClock())
    of = RequestOf(instance="instance-b", first_seq=3, last_seq=9)
    value = sign("POST", "/v1/records?x=1", b"body", of)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", value)
    assert opened(value, signer) == SignedRequest(
        audience="store",
        method="POST",
        path="/v1/records?x=1",
        content=sha256_text(b"body"),
        time="1970-01-01T00:00:01.000000Z",
        sender=RequestSender(instance="instance-a", kid=signer.kid),
        of=of,
        log_seen=None,
    )


def test_the_present_key_and_the_present_checkpoint_are_used() -> None:
    keys = [Signer(bytes([number]) * 32) for number in range(2)]
    seen = LogSeen(origin="log", size=5, root="")
    current: list[Signer] = [keys[0]]
    checkpoints: list[LogSeen | None] = [None]
    sign = sign_request(
        lambda: current[0], "a", "store", FixedClock(), log_seen=lambda: checkpoints[0]
    )
    assert opened(sign("GET", "/", b"", None), keys[0]).log_seen is None
    current[0], checkpoints[0] = keys[1], seen
    after = opened(sign("GET", "/", b"", None), keys[1])
    assert (after.sender.kid, after.log_seen) == (keys[1].kid, seen)
