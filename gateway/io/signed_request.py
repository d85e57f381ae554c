"""The ``Gatepost-Signed`` header: what a daemon signs about one call to a central service.

Owns: building and encoding the signed ``request`` document. Refuses: sending it
(``service.py``) and verifying it, which the services do.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from gateway import documents
from gateway.documents import LogSeen, RequestOf, RequestSender, SignedRequest
from gateway.ports import WallClock
from gateway.seal import Signer, sha256_text
from gateway.timestamp import time_text

Sign = Callable[[str, str, bytes, RequestOf | None], str]
"""(method, request target, body as sent, of) → the header's value."""


def sign_request(
    signer: Callable[[], Signer],
    instance: str,
    audience: str,
    clock: WallClock,
    *,
    log_seen: Callable[[], LogSeen | None] = lambda: None,
) -> Sign:
    """A function that signs calls of ``instance`` to ``audience``.

    ``signer`` and ``log_seen`` are asked at each call: keys rotate, and checkpoints advance.
    """

    def sign(method: str, path: str, content: bytes, of: RequestOf | None) -> str:
        key = signer()
        document = SignedRequest(
            audience=audience,
            method=method,
            path=path,
            content=sha256_text(content),
            time=time_text(clock.wall_us()),
            sender=RequestSender(instance=instance, kid=key.kid),
            of=of,
            log_seen=log_seen(),
        )
        sealed = documents.encode(key.sign_document(documents.REQUEST, document))
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")

    return sign
