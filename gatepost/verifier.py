"""The verifier without anything around it: ``python -m gatepost.verifier EXPORT --root sha256:…``.

Owns: what an auditor brings beside an export (fingerprint, an earlier
checkpoint, witnesses), the report as plain text or JSON, the exit code. Refuses: any network,
store or spool, and any default for the root: it is given, or nothing is verified. The checks
themselves are ``gateway.evidence``.

It runs with ``pynacl`` and ``msgspec`` alone, on a machine that has nothing else of the project.
``gatepost verify`` is the same with a progress bar and colours.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.export_file import Unusable, lines_of
from gatepost.signature_workers import JOBS_MAX, jobs_for, signature_check_of
from gateway import note, witness_policy
from gateway.errors import DocumentInvalid
from gateway.evidence import VERDICTS, Asked, Auditor, Report
from gateway.witness_policy import Policy

_FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}")
SUMMARIES: Final = {
    0: "all proved",
    1: "a check failed",
    3: "nothing is false, but something is not proved (exit code 3)",
}
"""Exit code → what it says."""


def check_root(text: str) -> str:
    """``text`` if it is a fingerprint. Raises Unusable."""
    if _FINGERPRINT.fullmatch(text) is None:
        raise Unusable(f"--root {text!r} is not sha256: and 64 hex digits")
    return text


def asked_of(
    pin: Path | None, witnesses: Sequence[str], quorum: int | None, policy: Path | None
) -> Asked:
    """What the auditor brings. ``quorum``: None for all of ``witnesses``; ``policy``: the file that
    says it instead of both. Raises Unusable."""
    pinned = None if pin is None else _read_note(pin)
    if policy is None:
        return Asked(pin=pinned, witnesses=_some_of(witnesses, quorum))
    if witnesses or quorum is not None:
        raise Unusable("--witness-policy names witnesses and quorum: give it alone")
    return Asked(pin=pinned, witnesses=_read_policy(policy))


def _some_of(witnesses: Sequence[str], quorum: int | None) -> Policy | None:
    keys: list[note.NoteKey] = []
    for text in witnesses:
        try:
            key = note.parse_key(text)
        except DocumentInvalid as error:
            raise Unusable(f"--witness {text!r}: {error}") from error
        if not key.cosigns:
            raise Unusable(f"--witness {text!r}: it is the key of a log, not of a witness")
        if key.public in {one.public for one in keys}:
            raise Unusable(f"--witness {text!r}: the same key stands there twice")
        keys.append(key)
    known = len({key.name for key in keys})
    if quorum is not None and not 1 <= quorum <= known:
        raise Unusable(f"--quorum {quorum}: there are {known} witnesses")
    return witness_policy.some_of(keys, quorum or known) if keys else None


def _read_policy(path: Path) -> Policy:
    try:
        with path.open("rb") as file:
            found = witness_policy.parse(file.read(witness_policy.POLICY_BYTES_MAX + 1))
    except OSError as error:
        raise Unusable(f"--witness-policy {path}: {error.strerror or error}") from error
    except DocumentInvalid as error:
        raise Unusable(f"--witness-policy {path}: {error.detail}") from error
    if found.quorum is None:
        raise Unusable(f"--witness-policy {path}: its quorum is none: leave the option out")
    return found


def _read_note(path: Path) -> str:
    try:
        text = path.read_bytes()[: note.NOTE_BYTES_MAX + 1].decode()
        note.parse(text)
    except (OSError, UnicodeDecodeError, DocumentInvalid) as error:
        raise Unusable(f"--pin {path}: {error}") from error
    return text


def check_jobs(jobs: int | None) -> None:
    """Raises Unusable for a number of processes that nobody needs."""
    if jobs is not None and not 1 <= jobs <= JOBS_MAX:
        raise Unusable(f"--jobs {jobs}: from 1 to {JOBS_MAX}")


def audited(
    export: Path, root: str, asked: Asked, jobs: int | None, progress: Callable[[int], None]
) -> Report:
    """The report on the file ``export``, gzip or not.

    ``jobs``: how many processes verify signatures, None for as many as are of use; the report is
    the same with any number. ``progress``: told the bytes read so far. Raises Unusable.
    """
    auditor = Auditor(root, asked)
    with signature_check_of(jobs_for(export) if jobs is None else jobs) as check:
        auditor.add_all(lines_of(export, progress), check)
    return auditor.report()


def told(report: Report) -> Iterator[str]:
    """What stands beside the verdicts, a line each: what it is about, first what is wrong."""
    if report.cause is not None:
        name, problem = report.cause
        yield f"first: {name}: {_where(problem.line)}{problem.cause}"
    for verdict in report.verdicts:
        for problem in verdict.problems:
            yield f"{verdict.name}: {_where(problem.line)}{problem.cause}"
        left = verdict.problem_count - len(verdict.problems)
        if left > 0:
            yield f"{verdict.name}: and {left} more"
    grades = report.grades
    yield (
        f"times of records: {grades.cosigned} seen by witnesses (T2), {grades.bracketed} with"
        f" the time of arrival in the log (T1), {grades.claimed} claimed only (T0)"
    )
    if report.anchor is not None:
        anchor = report.anchor
        seen = "".join(f", seen by {one.name} at {one.time}" for one in anchor.cosigned)
        yield f"anchored until: {anchor.size} leaves of {anchor.origin}, root {anchor.root}{seen}"
    for notice in report.notices:
        yield f"note: {notice}"


def heading(report: Report) -> str:
    """What was looked at."""
    kind = "complete export" if report.complete else "export"
    return (
        f"{kind}: {report.records} records of {report.instances} instances,"
        f" {report.lines} lines; root {report.fingerprint}"
    )


def _where(line: int | None) -> str:
    return "" if line is None else f"line {line}: "


def _plain(report: Report) -> Iterator[str]:
    yield heading(report)
    for verdict in report.verdicts:
        meaning = VERDICTS[verdict.name]
        yield f"  {verdict.name:<14}{verdict.state:<16}{verdict.counted:>9}  {meaning}"
    yield from told(report)
    yield SUMMARIES[report.exit_code]


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify an export; returns the exit code."""
    parser = argparse.ArgumentParser("python -m gatepost.verifier", description=__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("--root", required=True)
    parser.add_argument("--pin", type=Path)
    parser.add_argument("--witness", action="append", default=[])
    parser.add_argument("--quorum", type=int)
    parser.add_argument("--witness-policy", type=Path)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        asked = asked_of(given.pin, given.witness, given.quorum, given.witness_policy)
        check_jobs(given.jobs)
        root = check_root(given.root)
        report = audited(given.export, root, asked, given.jobs, lambda _: None)
    except Unusable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.json:
        print(msgspec.json.encode(report).decode())
    else:
        for line in _plain(report):
            # The words of an export are shown to a terminal, and not obeyed by it.
            shown = "".join(one if one.isprintable() else "?" for one in line) + "\n"
            sys.stdout.buffer.write(shown.encode(errors="replace"))
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
