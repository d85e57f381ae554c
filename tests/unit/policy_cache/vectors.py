"""Test vectors of the verifier: documents, trusted state and time, and the verdict that is right.

Owns: the cases, whose verdicts are written here by hand, and their form as files, which another
implementation can run (``tests/golden/policy_vectors/README.md``). Refuses: asking our verifier
what is right.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence

import msgspec

from gateway import documents, issuing
from gateway.documents import BUNDLE, POLICY_HEAD, ROOT, Envelope, PolicyHead
from gateway.issuing import Issued
from gateway.seal import Signer
from gateway.timestamp import time_text
from policy_cache.trusted import Floors
from tests.unit.policy_cache.policy_world import (
    BUNDLE_A,
    BUNDLE_B,
    HEAD,
    OTHER,
    OWN_VERSION,
    ROOT_A,
    ROOT_B,
    ROOT_C,
    SCOPE,
    SECOND,
    T0,
    Publisher,
    policy,
)

SMALL_ORDER = base64.b64encode(bytes([1]) + bytes(31)).decode()
"""The neutral element: a point of order 1."""


class Vector(msgspec.Struct, frozen=True, kw_only=True):
    """One case as it stands in the file; documents are named, and lie beside it."""

    name: str
    study: tuple[int, ...]
    pin: str
    scope: str
    own_version: str
    now: str
    stored: bool
    floors: Floors
    placement: str | None
    roots: tuple[str, ...]
    head: str
    bundle: str
    verdict: str


class Cases:
    """Collects cases; ``files``: name → bytes of each document that a case names."""

    def __init__(self) -> None:
        self.vectors: list[Vector] = []
        self.files: dict[str, bytes] = {}

    def add(
        self,
        verdict: str,
        name: str,
        publisher: Publisher,
        *,
        study: Sequence[int] = (),
        head: Issued | bytes | None = None,
        bundle: Issued | bytes | None = None,
        roots: Sequence[Issued] | None = None,
        floors: Floors | None = None,
        now_us: int = T0,
        scope: str = SCOPE,
        pin: str | None = None,
        stored: bool = False,
        placement: str | None = None,
    ) -> None:
        """One case, by default of a good head and bundle of ``publisher``."""
        good = publisher.bundle()
        chain = publisher.roots if roots is None else roots
        self.vectors.append(
            Vector(
                name=name,
                study=tuple(study),
                pin=pin or (chain or publisher.roots)[0].pin,
                scope=scope,
                own_version=OWN_VERSION,
                now=time_text(now_us),
                stored=stored,
                floors=floors or Floors(),
                placement=placement,
                roots=tuple(self._file(one) for one in chain),
                head=self._file(publisher.head(good) if head is None else head),
                bundle=self._file(good if bundle is None else bundle),
                verdict=verdict,
            )
        )

    def _file(self, document: Issued | bytes) -> str:
        data = document.envelope if isinstance(document, Issued) else document
        name = hashlib.sha256(data).hexdigest()[:24]
        self.files[name] = data
        return name


def changed(issued: Issued, old: bytes, new: bytes, kind: str, by: Sequence[Signer]) -> Issued:
    """``issued`` with one place of its payload changed, properly signed."""
    assert old in issued.payload, old
    return issuing.sign(kind, issued.payload.replace(old, new, 1), by)


def enveloped(issued: Issued, change: Callable[[Envelope], Envelope]) -> bytes:
    """``issued`` in another envelope."""
    return documents.encode(change(msgspec.json.decode(issued.envelope, type=Envelope)))


def head_of(publisher: Publisher, **changes: object) -> Issued:
    """A head with members of its payload changed, properly signed."""
    document = documents.decode_exact(publisher.head(publisher.bundle()).payload, PolicyHead)
    payload = documents.encode(msgspec.structs.replace(document, **changes))
    return issuing.sign(POLICY_HEAD, payload, [HEAD])


def all_cases() -> Cases:
    """Every case."""
    cases = Cases()
    for part in (_chains, _root_documents, _signatures, _forms, _heads, _times, _bundles):
        part(cases)
    return cases


def _chains(cases: Cases) -> None:
    new = (ROOT_B, ROOT_C)
    one = Publisher()
    cases.add("accepted", "a head and its bundle under root 1", one, study=[1])
    two = Publisher()
    two.add_root(keys=new, signers=(ROOT_A, ROOT_B, ROOT_C))
    cases.add("accepted", "a new root that old and new keys signed", two, study=[1])
    for verdict, name, number, by in (
        ("threshold", "a new root signed by its own keys alone", 2, new),
        ("threshold", "a new root signed by the old keys alone", 3, (ROOT_A, ROOT_B)),
    ):
        bad = Publisher()
        bad.add_root(keys=new, signers=by)
        cases.add(verdict, name, bad, study=[number])
    skipped = Publisher()
    skipped.add_root(version=3)
    cases.add("version", "root 3 behind root 1", skipped, study=[4])
    fallen = Publisher()
    fallen.roots.clear()
    fallen.add_root(epoch=2)
    fallen.add_root(epoch=1)
    cases.add("rollback", "a root whose epoch fell", fallen, study=[19])
    late = Publisher()
    late.add_root(expires_us=T0 + SECOND)
    after = T0 + 2 * SECOND
    cases.add("expired", "the final root has expired", late, study=[9], now_us=after)
    late.add_root()
    cases.add("accepted", "only a root in the middle has expired", late, study=[8], now_us=after)
    pin = "sha256:" + "0" * 64
    cases.add("pin", "root 1 is another than the pinned one", one, pin=pin)
    cases.add("pin", "there is no root at all", one, roots=[])
    cases.add("version", "the pinned root is root 2", two, roots=two.roots[1:])


def _root_documents(cases: Cases) -> None:
    publisher = Publisher()
    good, by = publisher.roots[0], (ROOT_A, ROOT_B)

    def bad(verdict: str, name: str, old: bytes, new: bytes, *study: int) -> None:
        made = changed(good, old, new, ROOT, by)
        cases.add(verdict, name, publisher, roots=[made], study=study)

    public = base64.b64encode(BUNDLE_A.public)
    bad("key", "a key under another key's id", public, base64.b64encode(OTHER.public), 10)
    bad("key", "a key that is a point of small order", public, SMALL_ORDER.encode(), 27)
    bad("key", "a key that is all zeros", public, base64.b64encode(bytes(32)), 27)
    bad("key", "a key that is too short", public, base64.b64encode(bytes(31)), 27)
    kid = BUNDLE_A.kid.encode()
    bad("role", "a role that names a key that is not there", b'"' + kid + b'":"', b'"x":"')
    bad("role", "a threshold above the number of keys", b'"threshold":2', b'"threshold":3')
    bad("role", "a threshold of zero", b'"threshold":1', b'"threshold":0')
    bad("incompatible", "a root of a later specification", b'"spec":1', b'"spec":2')
    bad("unreadable", "a custody that nobody knows", b'"development"', b'"somewhere"')
    bad("unreadable", "a date that is none", b'"expires":"2', b'"expires":"x')


def _signatures(cases: Cases) -> None:
    publisher = Publisher(bundle_threshold=2)

    def bundle(verdict: str, name: str, data: Issued | bytes, *study: int) -> None:
        good = publisher.bundle()
        cases.add(verdict, name, publisher, head=publisher.head(good), bundle=data, study=study)

    both = publisher.bundle(signers=(BUNDLE_A, BUNDLE_B))
    forged = documents.Signature(OTHER.kid, base64.b64encode(bytes(64)).decode())

    def with_forged(envelope: Envelope) -> Envelope:
        return msgspec.structs.replace(envelope, signatures=[forged, *envelope.signatures])

    twice = publisher.bundle(signers=(BUNDLE_A, BUNDLE_A))
    bundle("threshold", "one key signed twice", twice, 5)
    bundle("threshold", "one of two needed signatures", publisher.bundle(), 5)
    bundle("accepted", "a bad signature beside two good ones", enveloped(both, with_forged), 6)
    three = publisher.bundle(signers=(OTHER, BUNDLE_B, BUNDLE_A))
    bundle("accepted", "a signature of a stranger beside two good ones", three, 7)
    bundle(
        "signature", "a bundle that the head's key signed", publisher.bundle(signers=(HEAD,)), 11
    )
    bundle("signature", "no signature at all", publisher.bundle(signers=()), 5)
    one = Publisher()
    good = one.head(one.bundle())
    cases.add(
        "signature", "a head that a bundle's key signed", one,
        head=one.head(one.bundle(), by=BUNDLE_A), study=[11],
    )  # fmt: skip
    swapped = issuing.sign(BUNDLE, good.payload, [HEAD])
    cases.add("type", "a head under the type of a bundle", one, head=swapped, study=[12])
    renamed = enveloped(good, lambda e: msgspec.structs.replace(e, payload_type=BUNDLE))
    cases.add("type", "a signed head whose type was changed", one, head=renamed, study=[12])


def _forms(cases: Cases) -> None:
    publisher = Publisher()
    good = publisher.head(publisher.bundle())
    cases.add(
        "unreadable", "a byte behind the envelope", publisher, head=good.envelope + b"x", study=[13]
    )
    cases.add("unreadable", "half an envelope", publisher, head=good.envelope[:200], study=[13])
    cases.add("unreadable", "nothing", publisher, head=b"", study=[13])
    for verdict, name, old, new in (
        ("unreadable", "an unknown member", b'"spec":1,', b'"spec":1,"extra":1,'),
        ("inexact", "a member that stands twice", b'"spec":1,', b'"spec":1,"spec":1,'),
        ("inexact", "a space", b'"spec":1,', b'"spec": 1,'),
        ("unreadable", "a boolean for an integer", b'"spec":1,', b'"spec":true,'),
        ("unreadable", "a fraction for an integer", b'"spec":1,', b'"spec":1.0,'),
        ("unreadable", "not a number", b'"spec":1,', b'"spec":NaN,'),
        (
            "unreadable",
            "a version of 2^53",
            b'"version":1,"root',
            b'"version":9007199254740992,"root',
        ),
        ("unreadable", "a time with an offset", b'.000000Z"', b'.000000+00:00"'),
        ("unreadable", "a time without a zone", b'.000000Z"', b'.000000"'),
        ("unreadable", "a time without microseconds", b'.000000Z"', b'Z"'),
    ):
        head = changed(good, old, new, POLICY_HEAD, [HEAD])
        cases.add(verdict, f"a signed head with {name}", publisher, head=head, study=[13])


def _heads(cases: Cases) -> None:
    publisher = Publisher()
    bundle = publisher.bundle(5)
    floors = Floors(
        epoch=1, head_version=10, head_digest=publisher.head(bundle, 10, bundle_version=5).digest,
        bundle_version=5, bundle_digest=bundle.digest,
    )  # fmt: skip

    def head(verdict: str, name: str, version: int, pinned: int, *study: int) -> None:
        made = publisher.bundle(pinned) if verdict != "equivocation" or pinned != 5 else other
        cases.add(
            verdict, name, publisher, study=study, floors=floors, bundle=made,
            head=publisher.head(made, version, bundle_version=pinned),
        )  # fmt: skip

    other = publisher.bundle(5, policy(recordable=["args.amount"]))
    head("rollback", "an older head", 9, 6, 15)
    head("rollback", "an older bundle under a newer head", 11, 4, 16)
    head("accepted", "the same head again", 10, 5, 17)
    head("accepted", "a newer head for the same bundle", 11, 5, 17)
    head("equivocation", "another head of the same version", 10, 6, 18)
    head("equivocation", "another bundle of the same version", 11, 5, 18)
    head("jump", "a head a million and one above", 10 + 1_000_001, 6, 21)
    head("jump", "a bundle a million and one above", 11, 5 + 1_000_001, 21)
    high = msgspec.structs.replace(floors, epoch=2)
    cases.add("rollback", "an epoch below the one seen", publisher, study=[19], floors=high)
    ahead = publisher.bundle(epoch=2)
    second = publisher.head(ahead, epoch=2)
    cases.add(
        "epoch", "a higher epoch without a root", publisher, head=second, bundle=ahead, study=[20]
    )
    recovered = Publisher()
    recovered.add_root(epoch=2)
    driven = msgspec.structs.replace(floors, head_version=2**53 - 1, bundle_version=2**53 - 1)
    cases.add(
        "accepted", "a new epoch leads back from versions that were driven up", recovered,
        head=recovered.head(ahead, epoch=2), bundle=ahead, floors=driven, study=[21],
    )  # fmt: skip
    cases.add("jump", "a version of zero", publisher, head=head_of(publisher, version=0))
    cases.add(
        "root_behind",
        "a head made under root 2",
        publisher,
        head=head_of(publisher, root_version=2),
    )
    cases.add(
        "incompatible",
        "a head of a later specification",
        publisher,
        head=head_of(publisher, spec=2),
    )
    for low, high_s in ((0, 60), (60, 30)):
        refresh = documents.Refresh(low, high_s)
        made = head_of(publisher, refresh=refresh)
        cases.add("window", f"a refresh interval from {low} to {high_s} s", publisher, head=made)
    for wanted, verdict in (
        ("0.1", "accepted"),
        ("0.2", "update_required"),
        ("new", "incompatible"),
    ):
        made = head_of(publisher, min_gatepost=wanted)
        cases.add(verdict, f"a head that wants Gatepost {wanted}", publisher, head=made)
    _scopes(cases)
    _locks(cases)


def _scopes(cases: Cases) -> None:
    for pattern, scope, verdict in (
        ("acme/prod/*", "acme/prod/us", "accepted"),
        ("acme/prod/*", "acme/prod2/eu", "scope"),
        ("acme/prod/*", "acme/prod", "scope"),
        ("acme/prod", "acme/prod", "accepted"),
        ("acme/prod", "acme/prod2", "scope"),
        ("*", "acme", "accepted"),
    ):
        publisher = Publisher()
        publisher.roots.clear()
        publisher.add_root(scopes=[pattern])
        bundle = publisher.bundle(scope=scope)
        head = publisher.head(bundle, scope=scope)
        name = f"scope {scope} under a root for {pattern}"
        cases.add(verdict, name, publisher, head=head, bundle=bundle, scope=scope, study=[14])
    one = Publisher()
    cases.add("scope", "a head of another scope than ours", one, scope="acme/prod/us", study=[14])


def _locks(cases: Cases) -> None:
    publisher = Publisher()
    bundle = publisher.bundle()
    locked = publisher.head(bundle, 2, lock="incident")
    cases.add("accepted", "a lock", publisher, head=locked, study=[26])
    floors = Floors(
        epoch=1,
        head_version=2,
        head_digest=locked.digest,
        bundle_version=1,
        bundle_digest=bundle.digest,
    )
    lifted = publisher.head(bundle, 3)
    cases.add(
        "accepted",
        "a lock that a newer head lifts",
        publisher,
        head=lifted,
        floors=floors,
        study=[26],
    )
    for version, verdict in ((2, "equivocation"), (1, "rollback")):
        head = publisher.head(bundle, version)
        name = f"version {version} lifts a lock of version 2"
        cases.add(verdict, name, publisher, head=head, floors=floors, study=[26])


def _times(cases: Cases) -> None:
    publisher = Publisher()
    bundle = publisher.bundle()
    short = publisher.head(bundle, issued_us=T0, expires_us=T0 + 10 * SECOND)
    end = T0 + 10 * SECOND
    cases.add(
        "accepted", "a microsecond before the head expires", publisher, head=short, now_us=end - 1
    )
    cases.add("expired", "as the head expires", publisher, head=short, now_us=end)
    cases.add(
        "accepted",
        "an expired head from our own disk",
        publisher,
        head=short,
        now_us=end,
        stored=True,
    )
    minute = T0 - 60 * SECOND
    early = publisher.bundle(not_before_us=minute - SECOND)
    soon = publisher.head(early, issued_us=T0, expires_us=end)
    name = "a head from a minute ahead"
    cases.add("accepted", name, publisher, head=soon, bundle=early, now_us=minute, study=[24])
    cases.add(
        "future",
        "a head from more than a minute ahead",
        publisher,
        head=short,
        now_us=minute - 1,
        study=[24],
    )
    empty = publisher.head(bundle, issued_us=T0, expires_us=T0)
    cases.add("window", "a head that expires as it is issued", publisher, head=empty)


def _bundles(cases: Cases) -> None:
    publisher = Publisher()
    good = publisher.bundle()
    head = publisher.head(good)

    def unsigned(payload: bytes) -> bytes:
        encoded = base64.b64encode(payload).decode()
        return documents.encode(Envelope(payload=encoded, payload_type=BUNDLE, signatures=[]))

    junk = b"\xff" * len(good.payload)
    for verdict, name, data, number in (
        ("length", "one byte less than pinned", unsigned(good.payload[:-1]), 22),
        ("length", "one byte more than pinned", unsigned(good.payload + b" "), 22),
        ("length", "a hundred thousand spaces before it", b" " * 100_000 + good.envelope, 22),
        ("digest", "bytes that nobody could parse, of the pinned length", unsigned(junk), 23),
        ("unreadable", "base64 in another form", _other_base64(good), 23),
    ):
        cases.add(verdict, f"a bundle: {name}", publisher, bundle=data, head=head, study=[number])
    made = head_of(publisher, bundle=documents.BundlePin(version=1, digest=good.digest, length=0))
    cases.add("length", "a head that pins no bytes", publisher, head=made, study=[22])
    for verdict, name, one in (
        ("mismatch", "of another scope", publisher.bundle(scope="acme/prod/us")),
        ("mismatch", "of another epoch", publisher.bundle(epoch=2)),
        ("mismatch", "of another version", publisher.bundle(2)),
        ("not_yet_valid", "that begins in a second", publisher.bundle(not_before_us=T0 + SECOND)),
        ("expired", "that has expired", publisher.bundle(expires_us=T0)),
        ("window", "that ends as it begins", publisher.bundle(not_before_us=T0, expires_us=T0)),
    ):
        study = [25] if verdict == "not_yet_valid" else []
        cases.add(
            verdict,
            f"a bundle {name}",
            publisher,
            bundle=one,
            head=publisher.head(one),
            study=study,
        )
    old = publisher.bundle(expires_us=T0)
    cases.add(
        "accepted",
        "an expired bundle from our own disk",
        publisher,
        bundle=old,
        head=publisher.head(old),
        stored=True,
    )
    for verdict, name, before, after in (
        ("incompatible", "for another engine", b'"engine":"table/1"', b'"engine":"table/2"'),
        ("incompatible", "of a later specification", b'{"spec":1,', b'{"spec":2,'),
        ("unsupported", "in a mode that we do not have", b'"mode":"enforce"', b'"mode":"shadow"'),
        ("policy", "with an operation that there is not", b'"actions":["*"]', b'"actions":["x"]'),
        ("inexact", "with a space", b'"mode":"enforce"', b'"mode": "enforce"'),
        ("unreadable", "with an unknown member", b'"mode":"enforce"', b'"mood":"enforce"'),
    ):
        bad = changed(good, before, after, BUNDLE, [BUNDLE_A])
        cases.add(verdict, f"a bundle {name}", publisher, bundle=bad, head=publisher.head(bad))


def _other_base64(issued: Issued) -> bytes:
    """The same payload, with bits set that base64 does not use."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    def change(envelope: Envelope) -> Envelope:
        text = envelope.payload.rstrip("=")
        filling = "=" * (len(envelope.payload) - len(text))
        assert filling, "a payload whose base64 has no spare bits"
        last = alphabet[alphabet.index(text[-1]) | 1]
        return msgspec.structs.replace(envelope, payload=text[:-1] + last + filling)

    return enveloped(issued, change)
