"""How fast the offline verifier proves a complete export.

The export is that of one daemon with one key: decisions for a 4 KB prompt, every leaf of the log,
and a checkpoint. The verifier runs as an auditor runs it: a process of its own, from file to
report. What Ed25519 alone takes for the same records, in the same run, is what no verifier can do
without: on a machine that others use, only the multiple of it means anything.

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
from gatepost.signature_workers import jobs_for
from gateway import checkpoint, documents, issuing, log_line, merkle, record, seal
from gateway.checkpoint import Checkpoint
from gateway.documents import Attestation, KeyCert
from gateway.evidence import Report
from gateway.log_line import LEAVES_MAX, Leaves, LogLine
from gateway.logproof import Entry, LeafType
from gateway.timestamp import time_text

_DAY_US: Final = 86_400_000_000
_SIGNATURES_TIMED: Final = 2_000


class Run(msgspec.Struct, frozen=True):
    """One verification. ``cpu_seconds``: user and system time of its processes, their start
    included; ``memory_bytes``: of the largest of all so far."""

    jobs: int
    seconds: float
    cpu_seconds: float
    memory_bytes: int


class Verified(msgspec.Struct, frozen=True):
    """``signature_us``: CPU time of one bare Ed25519 verification of these records, measured
    before and after the first run; what no verifier can do without. ``runs``: with one job, then
    with as many as the command chooses."""

    records: int
    export_bytes: int
    signature_us: float
    runs: list[Run]
    included: int
    exit_code: int

    @property
    def record_us(self) -> float:
        """CPU time of a record, with one job."""
        return self.runs[0].cpu_seconds / self.records * 1e6

    @property
    def of_bare(self) -> float:
        """CPU time of a record with one job, as a multiple of the bare verification."""
        return self.record_us / self.signature_us


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
        return _verified(export, maker.fingerprint)


def _verified(export: Path, fingerprint: str) -> Verified:
    before = _signature_us(export)
    first, report = _run(export, fingerprint, 1)
    after = _signature_us(export)
    runs = [first]
    jobs = jobs_for(export)
    if jobs > 1:
        more, same = _run(export, fingerprint, jobs)
        assert same == report
        runs.append(more)
    return Verified(
        records=report.records,
        export_bytes=export.stat().st_size,
        signature_us=(before + after) / 2,
        runs=runs,
        included=report.verdict("inclusion").counted,
        exit_code=report.exit_code,
    )


def _run(export: Path, fingerprint: str, jobs: int) -> tuple[Run, Report]:
    command = [sys.executable, "-m", "gatepost.verifier", str(export), "--json"]
    options = ["--root", fingerprint, "--jobs", str(jobs)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    ended = subprocess.run([*command, *options], capture_output=True, check=False)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured = Run(
        jobs=jobs,
        seconds=seconds,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        memory_bytes=after.ru_maxrss * 1_024,
    )
    return measured, msgspec.json.decode(ended.stdout, type=Report)


def _signature_us(export: Path) -> float:
    """CPU time of one Ed25519 verification of a record of ``export``."""
    with export.open("rb") as file:
        payload = max((seal.parse_envelope(file.readline()).payload for _ in range(4)), key=len)
    signer = seal.Signer(b"v" * seal.SEED_BYTES)
    framed = seal.record_pae(base64.b64decode(payload))
    signature = signer.sign(framed)
    started = time.process_time()
    for _ in range(_SIGNATURES_TIMED):
        assert seal.verify(framed, signature, signer.public)
    return (time.process_time() - started) / _SIGNATURES_TIMED * 1e6


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
    """One row for each number of jobs."""
    title = (
        f"Offline verifier: a complete export of {found.records} records,"
        f" {found.export_bytes / 1e6:.0f} MB"
    )
    table = Table(title=title, title_justify="left", box=None)
    for name in ("jobs", "seconds", "CPU s", "CPU us per record", "of bare Ed25519", "RSS MiB"):
        table.add_column(name, justify="right")
    for one in found.runs:
        record_us = one.cpu_seconds / found.records * 1e6
        table.add_row(
            str(one.jobs),
            f"{one.seconds:.1f}",
            f"{one.cpu_seconds:.1f}",
            f"{record_us:.0f}",
            f"{record_us / found.signature_us:.2f}x",
            f"{one.memory_bytes / 2**20:.0f}",
        )
    console.print(table)
    console.print(f"bare Ed25519: {found.signature_us:.0f} us of CPU a record")
