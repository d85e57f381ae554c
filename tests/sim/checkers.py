"""Checkers of a healed world: everything is shipped, nothing is under way.

* ``stored``: every answered decision is in the store, exactly once, and is of the call that it
  was given to; nothing else claims to be one;
* ``forwarding``: nothing that was not allowed reached a provider, and nothing did twice;
* ``policy``: each decision is what the version in its record says; that version was the one in
  force between the asking and the answer; versions never fall;
* ``answers``: the status that an agent saw fits the decision;
* ``chains``: no verdict of the offline verifier over a whole export is false.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway import record
from gateway.evidence import verify_export
from gateway.record import Decision
from tests.sim.central import Central, root_document
from tests.sim.ledger import Call, Ledger
from tests.sim.policies import Version, expected

_FORWARDS: Final = frozenset({"allow", "error_open"})
_STATUS: Final = {
    "deny": frozenset({403}),
    "approval_required": frozenset({403}),
    "error_closed": frozenset({503, 403, 400, 401}),
}


class Stored(msgspec.Struct, frozen=True):
    """A decision in the store."""

    instance: str
    seq: int
    body: Decision

    @property
    def name(self) -> str | None:
        return self.body.model.tool or self.body.model.requested


class FinalCheck:
    """Compares what was seen with what the store keeps. ``run`` notes violations in the ledger."""

    def __init__(self, ledger: Ledger, central: Central, versions: list[Version]) -> None:
        self._ledger = ledger
        self._central = central
        self._versions = {one.number: one for one in versions}

    def run(self, export: bytes) -> None:
        decisions = self._decisions()
        self._stored_once(decisions)
        for one in decisions:
            self._judge(one)
        self._monotone(decisions)
        self._not_forwarded(decisions)
        self._evidence(export)
        self._no_complaints_of_the_store()

    def _decisions(self) -> list[Stored]:
        rows = self._central.rows(
            "SELECT instance, seq, payload FROM record WHERE kind = 'decision'"
            " ORDER BY instance, seq"
        )
        found = []
        for instance, seq, payload in rows:
            body = record.decode(payload)
            assert isinstance(body, Decision)
            found.append(Stored(instance, seq, body))
        return found

    def _stored_once(self, decisions: list[Stored]) -> None:
        ids = [one.body.id for one in decisions]
        names = [one.name for one in decisions]
        for what, values in (("decision", ids), ("call", names)):
            if len(set(values)) != len(values):
                self._violate("stored", f"a {what} is recorded twice")
        kept = {one.body.id: one for one in decisions}
        for decision_id in self._ledger.answered:
            if decision_id not in kept:
                self._violate("stored", f"{decision_id} was answered and is not in the store")
        for call in self._ledger.calls.values():
            if call.decision_id is not None and call.decision_id in kept:
                name = kept[call.decision_id].name
                if name != call.name:
                    self._violate("stored", f"{call.name} got the decision of {name}")

    def _judge(self, one: Stored) -> None:
        name, body = one.name, one.body
        call = None if name is None else self._ledger.calls.get(name)
        if name is None or call is None:
            self._violate("stored", f"decision {body.id} is of no call that was made: {name}")
            return
        outcome = body.decision.outcome
        if call.forwarded and outcome not in _FORWARDS:
            self._violate("forwarding", f"{name} was forwarded, and the decision is {outcome}")
        self._policy_fits(name, body)
        if call.complete:
            self._answer_fits(call, outcome)

    def _policy_fits(self, name: str, body: Decision) -> None:
        policy, outcome = body.policy, body.decision.outcome
        if policy.state in ("empty", "locked", "expired"):
            if outcome != "error_closed" and policy.state != "locked":
                self._violate("policy", f"{name}: {outcome} while the policy is {policy.state}")
            if outcome in _FORWARDS:
                self._violate("policy", f"{name}: allowed while the policy is {policy.state}")
            return
        version = self._versions.get(policy.version or 0)
        if version is None or version.digest != policy.digest:
            self._violate("policy", f"{name}: version {policy.version} was never published")
            return
        call = self._ledger.calls[name]
        ceiling = self._ledger.answered_under.get(body.id, version.number)
        if not call.version_floor <= version.number <= ceiling:
            seen = f"{call.version_floor} to {ceiling} were in force"
            self._violate("policy", f"{name}: version {version.number}, and {seen}")
        if outcome != expected(version, name):
            wanted = expected(version, name)
            self._violate("policy", f"{name}: {outcome}, version {version.number} says {wanted}")

    def _answer_fits(self, call: Call, outcome: str) -> None:
        status = call.status or 0
        if call.kind == "tool" and status == 200 and call.code is not None:
            return  # MCP: a refusal is a JSON-RPC error in an answer of status 200
        if call.decision_id is None:
            return  # withheld: the record is there, the answer was a turn-away
        if outcome in _STATUS and status not in _STATUS[outcome]:
            self._violate("answers", f"{call.name}: status {status} for {outcome}")

    def _monotone(self, decisions: list[Stored]) -> None:
        before: dict[str, int] = {}
        for one in decisions:
            version = one.body.policy.version
            if version is None:
                continue
            if version < before.get(one.instance, 0):
                self._violate("policy", f"{one.name}: version {version} after a newer one")
            before[one.instance] = version

    def _not_forwarded(self, decisions: list[Stored]) -> None:
        allowed = {one.name for one in decisions if one.body.decision.outcome in _FORWARDS}
        for call in self._ledger.calls.values():
            # On the overlapping route a crash may lose the record of a call that left.
            excused = call.kind == "quick" and call.decision_id is None
            if call.forwarded and call.name not in allowed and not excused:
                self._violate("forwarding", f"{call.name} was forwarded without a decision")
            turned_away = call.complete and call.decision_id is None and call.kind != "quick"
            if turned_away and call.forwarded and call.code not in ("disk_failed", None):
                self._violate("forwarding", f"{call.name} was turned away and forwarded")

    def _evidence(self, export: bytes) -> None:
        lines = export.splitlines(keepends=True)
        report = verify_export(lines, root_document().digest)
        for verdict in report.verdicts:
            if verdict.state == "false":
                causes = "; ".join(problem.cause for problem in verdict.problems[:3])
                self._violate("chains", f"{verdict.name}: {causes}")
        self._holes_are_explained()

    def _holes_are_explained(self) -> None:
        """A hole is what a power cut took of a batch that nobody was answered for, and the
        successor said so."""
        rows = self._central.rows("SELECT payload FROM record WHERE kind = 'recovered'")
        damaged: set[tuple[str, int]] = set()
        for (payload,) in rows:
            found = record.decode(payload)
            assert isinstance(found, record.Recovered)
            for one in found.damaged:
                lost = range(one.first_seq, one.last_seq + 1)
                damaged.update((found.instance, seq) for seq in lost)
        for instance, last, count in self._central.rows(
            "SELECT instance, max(seq), count(*) FROM record GROUP BY instance"
        ):
            if count == last + 1:
                continue
            there = self._central.rows("SELECT seq FROM record WHERE instance = ?", instance)
            for seq in set(range(last)) - {seq for (seq,) in there}:
                if (instance, seq) not in damaged:
                    self._violate("chains", f"{instance} lacks seq {seq}, and nobody says why")

    def _no_complaints_of_the_store(self) -> None:
        for code, cause in self._central.rows("SELECT code, cause FROM evidence"):
            self._violate("chains", f"the store set a record aside: {code}: {cause}")

    def _violate(self, checker: str, text: str) -> None:
        self._ledger.violate(checker, text)
