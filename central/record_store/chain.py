"""The place of each verified record in its instance's chain.

Owns: the judgement accepted | duplicate | fork | sealed | rejected, from what is stored and what
came before in the batch. Refuses: storage and signatures. A hole is no reason to refuse what
follows it; a record that contradicts its neighbours is a fork, whichever came first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from central.record_store.batch import Item
from central.record_store.logs import hash_bytes

Judgement = Literal["accepted", "duplicate", "fork", "sealed", "rejected"]


class Verdict(msgspec.Struct, frozen=True):
    """``cause``: for people, where the judgement is not ``accepted`` or ``duplicate``."""

    judgement: Judgement
    cause: str = ""


class ChainState(msgspec.Struct):
    """What is stored of one instance.

    ``hashes``: seq → record hash, for every seq of the batch and its neighbours that is stored;
    ``retired``: kid → last seq it may have signed (its ``rotate``); ``sealed_seq``: of its seal.
    """

    hashes: dict[int, bytes]
    retired: dict[str, int]
    sealed_seq: int | None


def judge(item: Item, state: ChainState, prev_of: Callable[[int], bytes | None]) -> Verdict:
    """The judgement of ``item``; an accepted one is entered into ``state``.

    ``prev_of``: the ``prev`` that the stored record of a seq names; asked only when a hole is
    filled.
    """
    if item.fault is not None or item.leading is None:
        return Verdict("rejected", item.fault or "the record cannot be read")
    chain, seq = item.leading.chain, item.seq
    stored = state.hashes.get(seq)
    if stored is not None:
        if stored == item.hash:
            return Verdict("duplicate")
        return Verdict("fork", f"another record stands at seq {seq}")
    if state.sealed_seq is not None and seq > state.sealed_seq:
        return Verdict("sealed", f"the chain was sealed at seq {state.sealed_seq}")
    if seq > state.retired.get(chain.kid, seq):
        return Verdict("sealed", f"the key was retired at seq {state.retired[chain.kid]}")
    try:
        prev = hash_bytes(chain.prev)
    except ValueError:
        return Verdict("rejected", "prev is not a hash")
    if seq == 0 and chain.prev != "sha256:" + chain.kid.removeprefix("ed25519:"):
        return Verdict("rejected", "prev of seq 0 is not the hash of the public key")
    before = state.hashes.get(seq - 1)
    if before is not None and before != prev:
        return Verdict("fork", f"prev is not the record that stands at seq {seq - 1}")
    if seq + 1 in state.hashes and prev_of(seq + 1) != item.hash:
        return Verdict("fork", f"the record at seq {seq + 1} names another one before it")
    _enter(item, state)
    return Verdict("accepted")


def _enter(item: Item, state: ChainState) -> None:
    assert item.leading is not None
    state.hashes[item.seq] = item.hash
    if item.sealed:
        state.sealed_seq = item.seq
    if item.retires:
        state.retired[item.leading.chain.kid] = item.seq
