"""Signatures of a simulated world: really made and really checked, but each only once.

A record is signed by the daemon and then checked by the store, by whoever audits the volume, and by
the verifier at the end; a policy is checked at each of hundreds of starts. Ed25519 says the same
each time, so the same bytes are not worked out again. Owns: remembering what was made or found
good. Refuses: answering for anything else; one bit more or less is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nacl import bindings

from gateway import seal

_SIGN: Final = "crypto_sign"
_OPEN: Final = "crypto_sign_open"


@contextmanager
def remembered_signatures() -> Iterator[None]:
    """While this lasts, a signature that was made here, or was good before, is not checked."""
    sign, open_signed = bindings.crypto_sign, bindings.crypto_sign_open
    good: set[tuple[bytes, bytes]] = set()

    def signing(message: bytes, secret: bytes) -> bytes:
        signed = sign(message, secret)
        # The second half of a secret key is the public one.
        good.add((signed, secret[seal.SEED_BYTES :]))
        return signed

    def opening(signed: bytes, public: bytes) -> bytes:
        if (signed, public) in good:
            return signed[seal.SIGNATURE_BYTES :]
        message = open_signed(signed, public)
        good.add((signed, public))
        return message

    setattr(bindings, _SIGN, signing)
    setattr(bindings, _OPEN, opening)
    try:
        yield
    finally:
        setattr(bindings, _SIGN, sign)
        setattr(bindings, _OPEN, open_signed)
