"""Somebody who reads the volume of a stopped or crashed daemon, as the command ``spool`` does.

Owns: surveying every instance under the root, the verdicts of its chain, and its records as lines
of an export. Refuses: writing, and waiting for a daemon; nothing runs on the disk meanwhile.
"""

from __future__ import annotations

from gateway.ports import FileSystem
from spool.audit import InstanceAudit, shown_keys
from spool.extract import Taken, certificate_lines, record_lines
from spool.survey import Home, find_homes, survey
from spool.walk import Walk
from tests.sim.ledger import Ledger


def audit(files: FileSystem, root: str, ledger: Ledger) -> None:
    """Note in ``ledger`` what is wrong with the instances under ``root``."""
    try:
        homes = find_homes(files, root, lambda _: False)
    except FileNotFoundError:
        return  # no life has come so far
    for home in homes:
        _audit_one(files, home, ledger)


def _audit_one(files: FileSystem, home: Home, ledger: Ledger) -> None:
    found = survey(files, home, lambda _: None)
    if found.findings is None:
        ledger.violate("chains", f"{home.instance}: of a format {found.version}")
        return
    keys = shown_keys(None, found.findings.certificates)
    chain = InstanceAudit(keys, open_ended=False)
    for view in Walk(files, home.directory, home.instance, may_be_written=False):
        chain.add(view)
    ledger.counts["instances audited"] += 1
    for verdict in chain.verdicts():
        # What a power cut tore is damage, and is told as such.
        if verdict.state == "false" and not found.damages:
            causes = "; ".join(problem.cause for problem in verdict.problems[:3])
            ledger.violate("chains", f"{home.instance}: {verdict.name}: {causes}")
    taken = Taken(home.instance)
    lines = [*certificate_lines(found)]
    certificates = len(lines)
    lines += record_lines(files, found, taken, from_seq=0, to_seq=None, advance=lambda _: None)
    if len(lines) - certificates != taken.records or taken.records != found.findings.records:
        counted = f"{found.findings.records} surveyed, {len(lines) - certificates} given"
        ledger.violate("chains", f"{home.instance}: {counted}")
