"""The attacks on records, each as the export that comes of it and what its auditor brings.

A1 to A8 are those of the threat model. Each changes a good export in one way, as far as its
attacker has the keys to sign it again.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from gateway import checkpoint, documents, log_line, record, seal
from gateway.evidence import Asked
from gateway.log_line import LogLine
from gateway.timestamp import time_text
from tests import specimens
from tests.attacked import NEXT_KEY, Item, World
from tests.exports import DAY_US, LOG_KEY, NOW_US, Writer, checkpoint_of, line

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

Attack = tuple[list[bytes], Asked]

# -- what a store, or somebody on the way, does to an export --------------------------------------


def find(world: World, kind: str, nth: int = 0) -> int:
    """Where in ``items`` the ``nth`` record of ``kind`` stands."""
    wanted = f'"kind":"{kind}"'.encode()
    found = [
        at for at, one in enumerate(world.items) if not one.head and wanted in payload_of(one.line)
    ]
    return found[nth]


def payload_of(data: bytes) -> bytes:
    return base64.b64decode(seal.parse_envelope(data).payload)


def resigned(data: bytes, payload: bytes, signer: seal.Signer | None = None) -> bytes:
    """The line with another payload; the old signature stays where nobody signs it again."""
    (old,) = seal.parse_envelope(data).signatures
    signature = base64.b64decode(old.sig)
    if signer is not None:
        signature = signer.sign(seal.record_pae(payload))
    envelope = seal.envelope(documents.RECORD, payload, [(old.keyid, signature)])
    return documents.encode(envelope) + b"\n"


def changed_line(*, logged: bool) -> Attack:
    """A1: a denied call becomes an allowed one, or whatever suits."""
    world = World().play()
    asked, lines = world.asked(), world.lines()
    item = world.items[find(world, "decision", 0 if logged else 2)]
    at = lines.index(item.line)
    item.line = resigned(item.line, payload_of(item.line).replace(b'"adjuster"', b'"director"', 1))
    lines[at] = item.line
    return (world.lines() if logged else lines), asked


def missing_line(*, logged: bool) -> Attack:
    """A2: a completion is taken out of the middle of a chain."""
    world = World().play()
    lines = world.lines()
    item = world.items.pop(find(world, "completion"))
    lines.remove(item.line)
    return (world.lines() if logged else lines), world.asked()


def cut_chain() -> Attack:
    """A3: the last call of a chain never was; the store signs the shorter log."""
    world = World().play()
    del world.items[-3:]
    return world.lines(), world.asked()


def cut_below_pin() -> Attack:
    """A3: the log ends before what an auditor has seen of it."""
    world = World().play()
    del world.items[4:]
    return world.lines(), world.asked()


def swapped_lines(*, logged: bool) -> Attack:
    """A4: two records of two chains change places."""
    world = World().play()
    lines = world.lines()
    first, second = find(world, "heartbeat", 1), find(world, "decision", 2)
    if logged:
        first, second = find(world, "start"), find(world, "decision")
    one, other = world.items[first], world.items[second]
    at, to = lines.index(one.line), lines.index(other.line)
    lines[at], lines[to] = lines[to], lines[at]
    one.line, other.line = other.line, one.line
    return (world.lines() if logged else lines), world.asked()


def withheld_chain() -> Attack:
    """A7: the store never took in what the second daemon wrote."""
    world = World()
    world.play()
    theirs = f'"instance":"{world.second.instance}"'.encode()
    kept = [one for one in world.items if one.head or theirs not in payload_of(one.line)]
    asked = world.asked()
    world.items = kept
    world.cosign()
    return world.lines(), asked


def hidden_certificate() -> Attack:
    """A7, M5: a certificate that the issuer gave is kept out of the export."""
    world = World().play()
    lines = world.lines()
    lines.remove(world.items[1].line)
    return lines, world.asked()


def unlogged_certificate() -> Attack:
    """M5: a certificate that was never logged lets a key in."""
    world = World().play()
    lines = world.lines()
    lines.insert(1, Writer(7).certificate())
    return lines, world.asked()


def other_view(*, pinned: bool) -> Attack:
    """A8: the store showed somebody another log than this one."""
    world = World()
    other = Item(line(Writer(9).start()), NOW_US, head=False)
    shown = msgspec.structs.replace(checkpoint_of([*world.entries()]), size=3)
    shown = msgspec.structs.replace(shown, root=checkpoint_of_items([other] * 3).root)
    if not pinned:
        world.custom = lambda here: here.beat(here.second, shown.seen())
    world.play()
    asked = world.asked()
    if pinned:
        signed = checkpoint.write(shown, [LOG_KEY]).encode()
        asked = msgspec.structs.replace(asked, pin=signed)
    return world.lines(), asked


def checkpoint_of_items(items: list[Item]) -> checkpoint.Checkpoint:
    world = World()
    world.items = items
    return checkpoint_of(world.entries())


def wrong_origin(origin: str) -> Attack:
    world = World().play()
    asked = world.asked()
    world.origin = origin
    return world.lines(), asked


def stale_checkpoint() -> Attack:
    """The auditor has seen a later checkpoint than the one that this export is cut at."""
    world = World().play()
    late = checkpoint.write(checkpoint_of(world.entries()), [LOG_KEY]).encode()
    asked = msgspec.structs.replace(world.asked(), pin=late)
    del world.items[-1]
    world.cosign()
    return world.lines(), asked


def foreign_checkpoint() -> Attack:
    """The checkpoint is signed by a key that the root does not name for the log."""
    world = World().play()
    found = checkpoint.write(checkpoint_of(world.entries()), [NEXT_KEY])
    return [*world.lines()[:-1], log_line.write(LogLine(checkpoint=found.encode()))], world.asked()


def truncated(lines_missing: int) -> Attack:
    world = World().play()
    return world.lines()[:-lines_missing], world.asked()


def half_a_line() -> Attack:
    world = World().play()
    lines = world.lines()
    return [*lines[:-1], lines[-1][: len(lines[-1]) // 2]], world.asked()


# -- what a daemon, or who has its key, does; the store is honest ---------------------------------


def played(custom: Callable[[World], None]) -> Attack:
    world = World()
    world.custom = custom
    world.play()
    return world.lines(), world.asked()


def back_dated() -> Attack:
    """A5: a decision is signed now and claims to be of two hours ago."""
    at = time_text(NOW_US)
    decided = record.Decided(decided=at, clock=specimens.CLOCK)
    return played(lambda world: world.call(world.second, time=decided))


def post_dated() -> Attack:
    at = time_text(NOW_US + DAY_US - 1)
    decided = record.Decided(decided=at, clock=specimens.CLOCK)
    return played(lambda world: world.call(world.second, time=decided))


def forged_after_rotation() -> Attack:
    """A6: who stole a retired key goes on with it where the chain stood at its rotate."""

    def forge(world: World) -> None:
        thief = Writer(1)
        thief.start()
        thief.call()
        thief.write(specimens.HEARTBEAT)
        world.keep(thief.write(specimens.DECISION, time=decided_at(world)))

    return played(forge)


def after_rotate() -> Attack:
    """The rotate hands over, and the old key goes on in the same chain."""
    return played(lambda world: world.hand_over(world.second, seal.Signer(b"s" * 32)))


def decided_at(world: World) -> record.Decided:
    return record.Decided(decided=time_text(world.now_us), clock=specimens.CLOCK)


def revoked_key() -> Attack:
    """A key goes on signing after it was taken back."""
    return played(lambda world: world.revoke(world.second.signer.kid))


def rewritten(change: Callable[[bytes], bytes]) -> Attack:
    """A decision of the second daemon is another one before it is signed."""

    def write(world: World) -> None:
        made = world.second.write(specimens.DECISION, time=decided_at(world))
        payload = change(made.payload)
        assert payload != made.payload
        world.keep_line(resigned(line(made), payload, world.second.signer))

    return played(write)


def wrong_kid() -> Attack:
    """The envelope names, and is signed by, another certified key than the record."""

    def write(world: World) -> None:
        made = world.second.write(specimens.DECISION, time=decided_at(world))
        signature = NEXT_KEY.sign(seal.record_pae(made.payload))
        world.keep(msgspec.structs.replace(made, kid=NEXT_KEY.kid, signature=signature))

    return played(write)


def small_order_key() -> Attack:
    """A careless issuer certifies a point of small order; one signature then fits any record."""
    identity = (1).to_bytes(32, "little")

    def write(world: World) -> None:
        writer = Writer(5)
        kid = seal.key_id(identity)
        world.certify(writer.certificate(pub=base64.b64encode(identity).decode(), kid=kid))
        made = writer.start()
        payload = made.payload.replace(writer.signer.kid.encode(), kid.encode())
        signature = identity + bytes(32)
        world.keep(msgspec.structs.replace(made, payload=payload, kid=kid, signature=signature))

    return played(write)


def malleated() -> Attack:
    """RFC 8032 section 5.1.7: S must be below the group order; S+L verifies elsewhere."""
    world = World().play()
    lines = world.lines()
    data = world.items[find(world, "decision", 1)].line
    (old,) = seal.parse_envelope(data).signatures
    signature = base64.b64decode(old.sig)
    scalar = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    twin = signature[:32] + scalar.to_bytes(32, "little")
    envelope = seal.envelope(documents.RECORD, payload_of(data), [(old.keyid, twin)])
    lines[lines.index(data)] = documents.encode(envelope) + b"\n"
    return lines, world.asked()


def replayed_start() -> Attack:
    return played(lambda world: world.keep_line(world.items[find(world, "start", 1)].line))


def ended_by_the_store() -> Attack:
    """A store cuts a chain and has its own instance say that this is where it ended."""
    world = World().play()
    store = Writer(3)
    asked = world.asked()
    theirs = f'"instance":"{world.second.instance}"'.encode()
    ours = [at for at, one in enumerate(world.items) if theirs in payload_of(one.line)]
    kept = [at for at in ours if not world.items[at].head][:3]
    last = world.items[kept[-1]]
    world.items = [one for at, one in enumerate(world.items) if at not in ours or at <= kept[-1]]
    chain = record.decode_leading(payload_of(last.line)).chain
    (signed,) = seal.parse_envelope(last.line).signatures
    framed = seal.record_pae(payload_of(last.line)) + base64.b64decode(signed.sig)
    found = msgspec.structs.replace(
        specimens.RECOVERED,
        instance=world.second.instance,
        last_seq=chain.seq,
        last_hash=seal.sha256_text(framed),
    )
    world.certify(store.certificate(topology="central"))
    pub = base64.b64encode(store.signer.public).decode()
    world.keep(store.write(specimens.START, pub=pub, certificate=None, topology="central"))
    world.keep(store.write(found))
    world.keep(store.write(specimens.SEAL))
    world.cosign()
    return world.lines(), asked


def made_up_look() -> Attack:
    """A daemon says that a person looked."""
    return played(lambda world: world.keep(world.second.write(specimens.ADMIN)))


def made_up_call(topology: str) -> Attack:
    """A store writes a call that nobody made into its own chain, and signs the log over it."""
    store = Writer(3)

    def write(world: World) -> None:
        world.certify(store.certificate(topology="central"))
        pub = base64.b64encode(store.signer.public).decode()
        world.keep(store.write(specimens.START, pub=pub, certificate=None, topology="central"))
        denied = msgspec.structs.replace(specimens.DECISION.decision, outcome="deny")
        decided = record.Decided(decided=time_text(world.now_us), clock=specimens.CLOCK)
        world.keep(
            store.write(specimens.DECISION, decision=denied, time=decided, topology=topology)
        )
        world.keep(store.write(specimens.SEAL))

    return played(write)
