"""How fast the offline verifier proves a complete export.

The export is that of one daemon with one key: decisions for a 4 KB prompt, every leaf of the log,
and a checkpoint. The verifier runs as an auditor runs it: a process of its own, from file to
report. What Ed25519 alone takes for the same records, in the same run, is what no verifier can do
without.

Owns: the export and the figures. Refuses: judging the verifier; its tests do.
"""

from __future__ import annotations

import base64
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.drafts import PLACE, Drafts
from bench.ways import new_sealer
from gateway import checkpoint, documents, issuing, log_line, merkle, record, seal
from gateway.checkpoint import Checkpoint
from gateway.documents import Attestation, KeyCert
from gateway.evidence import Report
from gateway.log_line import LEAVES_MAX, Leaves, LogLine
from gateway.logproof import Entry, LeafType
from gateway.timestamp import time_text

_DAY_US: Final = 86_400_000_000
_SIGNATURES_TIMED: Final = 2_000


class Verified(msgspec.Struct, frozen=True):
    """``cpu_seconds``: user and system time of the verifier's process, its start included;
    ``signature_seconds``: what bare Ed25519 takes for as many records."""

    records: int
    export_bytes: int
    seconds: float
    cpu_seconds: float
    signature_seconds: float
    memory_bytes: int
    included: int
    exit_code: int

    @property
    def records_per_cpu_second(self) -> float:
        return self.records / self.cpu_seconds


def run(records: int, console: Console) -> Verified:
    """Make an export of ``records``, verify it, and say what that took."""
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("GATEPOST_BENCH_DIR")) as directory,
        Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("making an export", total=records)
        export = Path(directory) / "export.ndjson"
        maker = _Maker()
        with export.open("wb") as file:
            for line in maker.lines(records):
                file.write(line)
                progress.update(task, completed=maker.made)
        progress.update(task, description="verifying it", total=None)
        return _verify(export, maker.fingerprint, records)


def _verify(export: Path, fingerprint: str, records: int) -> Verified:
    command = [sys.executable, "-m", "gatepost.verifier", str(export), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    ended = subprocess.run([*command, "--root", fingerprint], capture_output=True, check=False)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = msgspec.json.decode(ended.stdout, type=Report)
    return Verified(
        records=report.records,
        export_bytes=export.stat().st_size,
        seconds=seconds,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        signature_seconds=records * _signature_seconds(export),
        memory_bytes=after.ru_maxrss * 1_024,
        included=report.verdict("inclusion").counted,
        exit_code=ended.returncode,
    )


def _signature_seconds(export: Path) -> float:
    """CPU seconds of one Ed25519 verification of a record of ``export``."""
    with export.open("rb") as file:
        payload = max((seal.parse_envelope(file.readline()).payload for _ in range(4)), key=len)
    signer = seal.Signer(b"v" * seal.SEED_BYTES)
    framed = seal.record_pae(base64.b64decode(payload))
    signature = signer.sign(framed)
    started = time.process_time()
    for _ in range(_SIGNATURES_TIMED):
        assert seal.verify(framed, signature, signer.public)
    return (time.process_time() - started) / _SIGNATURES_TIMED


class _Maker:
    """A root, a certificate, and a store that takes in what the daemon seals."""

    def __init__(self) -> None:
        self.made = 0
        self._now_us = time.time_ns() // 1_000
        self._signer = seal.Signer(b"r" * seal.SEED_BYTES)
        self._sealer = new_sealer()
        self._drafts = Drafts.of_a_daemon()
        self._tree = merkle.Frontier()
        role = issuing.role([self._signer])
        self._root = issuing.build_root(
            version=1,
            epoch=1,
            custody="development",
            issued_us=self._now_us,
            expires_us=self._now_us + _DAY_US,
            scopes=["acme"],
            keys={self._signer.kid: base64.b64encode(self._signer.public).decode()},
            roles=dict.fromkeys(issuing.ROLE_NAMES, role),
            signers=[self._signer],
        )
        self.fingerprint = self._root.digest

    def lines(self, records: int) -> Iterator[bytes]:
        """The export, line by line."""
        certificate = self._certificate()
        yield self._root.envelope + b"\n"
        yield documents.encode(certificate) + b"\n"
        payload = base64.b64decode(certificate.payload)
        signature = base64.b64decode(certificate.signatures[0].sig)
        framed = seal.pae(documents.KEY_CERT, payload)
        stretch = [self._leaf(LeafType.KEY_CERT, seal.record_hash(framed, signature))]
        for _ in range(records):
            draft: record.Record = self._drafts.decision()
            sealed = self._sealer.seal(draft)
            self.made += 1
            yield sealed.envelope_line() + b"\n"
            stretch.append(self._leaf(LeafType.RECORD, sealed.hash))
            if len(stretch) == LEAVES_MAX:
                yield self._leaves(stretch)
                stretch = []
        if stretch:
            yield self._leaves(stretch)
        origin = checkpoint.origin("store.example", PLACE.tenant, PLACE.region, 1)
        found = Checkpoint(origin, self._tree.size, self._tree.root())
        yield log_line.write(LogLine(checkpoint=checkpoint.write(found, [self._signer]).encode()))

    def _leaf(self, kind: LeafType, digest: str) -> bytes:
        raw = bytes.fromhex(digest.removeprefix("sha256:"))
        entry = Entry(kind, time.time_ns() // 1_000, raw)
        self._tree.append(entry.leaf_hash())
        return entry.encode()

    def _leaves(self, stretch: list[bytes]) -> bytes:
        text = base64.b64encode(b"".join(stretch)).decode()
        first = self._tree.size - len(stretch)
        return log_line.write(LogLine(leaves=Leaves(first_index=first, entries=text)))

    def _certificate(self) -> documents.Envelope:
        signer = self._sealer.signer
        certificate = KeyCert(
            serial="1",
            kid=signer.kid,
            pub=base64.b64encode(signer.public).decode(),
            instance=self._sealer.instance,
            tenant=PLACE.tenant,
            region=PLACE.region,
            topology="sidecar",
            issued=time_text(self._now_us),
            not_before=time_text(self._now_us - _DAY_US),
            not_after=time_text(self._now_us + _DAY_US),
            attestation=Attestation("host_key", None, "node-1", None, 0),
            issuer_kid=self._signer.kid,
        )
        return self._signer.sign_document(documents.KEY_CERT, certificate)


def show(found: Verified, console: Console) -> None:
    """One table."""
    table = Table(title="Offline verifier: a complete export", title_justify="left", box=None)
    for name in (
        "records",
        "MB",
        "seconds",
        "CPU s",
        "of it Ed25519",
        "records per CPU s",
        "RSS MiB",
    ):
        table.add_column(name, justify="right")
    table.add_row(
        str(found.records),
        f"{found.export_bytes / 1e6:.0f}",
        f"{found.seconds:.1f}",
        f"{found.cpu_seconds:.1f}",
        f"{found.signature_seconds:.1f}",
        f"{found.records_per_cpu_second:.0f}",
        f"{found.memory_bytes / 2**20:.0f}",
    )
    console.print(table)
