"""Remembered signatures: nothing is taken for good that was not made or found good before."""

from __future__ import annotations

from nacl import bindings

from gateway.seal import Signer, verify
from tests.sim.signatures import remembered_signatures

_MESSAGE = b"a record"
_OURS, _OTHERS = Signer(b"1" * 32), Signer(b"2" * 32)


def test_a_signature_of_other_bytes_or_by_another_key_is_still_refused() -> None:
    with remembered_signatures():
        signature = _OURS.sign(_MESSAGE)
        assert verify(_MESSAGE, signature, _OURS.public)
        assert not verify(_MESSAGE + b"!", signature, _OURS.public)
        assert not verify(_MESSAGE, signature, _OTHERS.public)
        assert not verify(_MESSAGE, signature[:-1] + bytes([signature[-1] ^ 1]), _OURS.public)


def test_what_was_made_before_is_checked_once_and_then_remembered() -> None:
    signature = _OURS.sign(_MESSAGE)
    with remembered_signatures():
        assert verify(_MESSAGE, signature, _OURS.public)
        assert verify(_MESSAGE, signature, _OURS.public)
        assert not verify(_MESSAGE, signature, _OTHERS.public)


def test_afterwards_the_library_is_as_it_was() -> None:
    before = bindings.crypto_sign, bindings.crypto_sign_open
    with remembered_signatures():
        assert bindings.crypto_sign is not before[0]
    assert (bindings.crypto_sign, bindings.crypto_sign_open) == before
