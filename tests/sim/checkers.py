"""Checkers of a healed world: everything is shipped, nothing is under way.

* ``stored``: every answered decision is in the store, exactly once, and is of the call that it
  was given to; nothing else claims to be one;
* ``forwarding``: nothing that was not allowed reached a provider, and nothing did twice;
* ``policy``: each decision is what the version in its record says; that version was the one in
  force between the asking and the answer; versions never fall;
* what ``particulars.py`` lists, of each decision and completion, and ``duties.py`` of bodies;
* ``answers``: the status that an agent saw fits the decision;
* ``chains``: no verdict of the offline verifier over a whole export is false, and every record is
  proved to be in the log.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway import record
from gateway.evidence import verify_export
from gateway.record import Completion, Decision
from gateway.shipping import SeqRange
from gateway.timestamp import time_micros
from gateway.verdicts import Verdict
from tests.sim.asking import FORMS, further_names
from tests.sim.central import Central, root_document
from tests.sim.duties import Duties
from tests.sim.ledger import Call, Ledger
from tests.sim.particulars import Particulars
from tests.sim.policies import HOME, HOME_UPSTREAMS, Ruled, Version, expected
from tests.sim.replies import BLOCKED_REQUEST, server_request_of
from tests.sim.tokens import TokenIssuer
from tests.sim.twists import name_of

_FORWARDS: Final = frozenset({"allow", "error_open"})
_STATUS: Final = {
    "deny": frozenset({401, 403}),
    "approval_required": frozenset({403}),
    "error_closed": frozenset({400, 413, 415, 503}),
}
_LOST: Final = "held leaves that were lost when it was closed"
_GROUP: Final = Ruled("deny", "denied")
"""A message of a batch that is refused for another one of it."""


class _Instance(msgspec.Struct):
    instance: str
    gaps: list[SeqRange]


class Stored(msgspec.Struct, frozen=True):
    """A decision in the store."""

    instance: str
    seq: int
    body: Decision

    @property
    def name(self) -> str | None:
        """Of the call that it is about, by its trace."""
        return name_of(self.body.trace)

    @property
    def message(self) -> str:
        """What is asked for; the messages of a batch ask for different tools."""
        return self.body.model.tool or self.name or ""


class FinalCheck:
    """Compares what was seen with what the store keeps. ``run`` notes violations in the ledger."""

    def __init__(
        self, ledger: Ledger, central: Central, versions: list[Version], issuer: TokenIssuer
    ) -> None:
        self._ledger = ledger
        self._particulars = Particulars(ledger, issuer)
        self._duties = Duties(ledger)
        self._central = central
        self._versions = {one.number: one for one in versions}
        self._holes: dict[str, list[tuple[int, int]]] = {}

    def run(self, export: bytes, instances: bytes) -> None:
        """``export``: the whole log's; ``instances``: the store's list of them."""
        for item in msgspec.json.decode(instances, type=list[_Instance]):
            self._holes[item.instance] = [(gap.first_seq, gap.last_seq) for gap in item.gaps]
        decisions = self._decisions()
        self._stored_once(decisions)
        for one in decisions:
            self._judge(one)
        self._ends(decisions)
        self._monotone(decisions)
        self._not_forwarded(decisions)
        self._evidence(export)
        self._losses_show()
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
        names = [(one.name, one.message, one.body.decision.stage) for one in decisions]
        for what, values in (("decision", ids), ("call", names)):
            if len(set(values)) != len(values):
                self._violate("stored", f"a {what} is recorded twice")
        kept = {one.body.id: one for one in decisions}
        excused = {one.id for one in self._ledger.rotten.values()} | {*self._ledger.gone.values()}
        for decision_id in self._ledger.answered:
            if decision_id not in kept and decision_id not in excused:
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
        if body.decision.stage == "server":
            self._server_fits(call, body)
            return
        if call.forwarded and outcome not in _FORWARDS:
            self._violate("forwarding", f"{name} was forwarded, and the decision is {outcome}")
        self._particulars.check(call, body)
        identity = self._particulars.identity_of(call, body)
        self._duties.check(call, FORMS[call.kind].family, body, identity)
        self._policy_fits(call, one.message, body)
        if call.complete:
            self._answer_fits(call, outcome)

    def _policy_fits(self, call: Call, message: str, body: Decision) -> None:
        name, policy, decision = call.name, body.policy, body.decision
        refused = self._particulars.refusal_of(call, body)
        if refused is not None:
            if decision.reason != refused or decision.outcome in _FORWARDS:
                found = f"{decision.outcome} ({decision.reason})"
                self._violate("policy", f"{name}: {found}, must be refused with {refused}")
            return
        if policy.state in ("empty", "locked", "expired"):
            if decision.outcome != "error_closed":
                self._violate("policy", f"{name}: {decision.outcome}, the policy is {policy.state}")
            return
        version = self._versions.get(policy.version or 0)
        if version is None or version.digest != policy.digest:
            self._violate("policy", f"{name}: version {policy.version} was never published")
            return
        ceiling = self._ledger.answered_under.get(body.id, version.number)
        if not call.version_floor <= version.number <= ceiling:
            seen = f"{call.version_floor} to {ceiling} were in force"
            self._violate("policy", f"{name}: version {version.number}, and {seen}")
        self._ruling_fits(call, message, body, version)

    def _ruling_fits(self, call: Call, message: str, body: Decision, version: Version) -> None:
        decision = body.decision
        identity = self._particulars.identity_of(call, body)
        now_us = time_micros(str(body.facts.inputs.get("time", body.time.decided)))
        names = (call.name, *further_names(call.name)) if call.kind == "batch" else (call.name,)
        rulings = {one: expected(version, call, one, identity, now_us) for one in names}
        # Messages without a tool of their own are of the call.
        wanted = rulings.get(message, rulings[call.name])
        if wanted.outcome == "allow" and any(one.outcome != "allow" for one in rulings.values()):
            wanted = _GROUP
        found = (decision.outcome, decision.reason, body.policy.shadow)
        if found != (wanted.outcome, wanted.reason, wanted.tried):
            text = f"{call.name} ({call.kind}): {found}, version {version.number} says {wanted}"
            self._violate("policy", text)
        at_home = all(one.region == HOME_UPSTREAMS for one in body.model.upstreams)
        if FORMS[call.kind].names_model and call.name.split("-")[1] == HOME and not at_home:
            self._violate("policy", f"{call.name} may go to {body.model.upstreams}")

    def _server_fits(self, call: Call, body: Decision) -> None:
        """A tool server's own request: policy allows all kinds but one."""
        asked, found = server_request_of(call.name), body.decision
        usable = body.policy.state in ("fresh", "stale")
        allowed = bool(asked) and asked != BLOCKED_REQUEST and usable
        if call.kind != "events" or (found.outcome == "allow") != allowed:
            self._violate("policy", f"{call.name}: {asked} of its server: {found.outcome}")

    def _ends(self, decisions: list[Stored]) -> None:
        names = {one.body.id: one for one in decisions if one.body.decision.stage == "request"}
        for (payload,) in self._central.rows(
            "SELECT payload FROM record WHERE kind = 'completion' ORDER BY instance, seq"
        ):
            end = record.decode(payload)
            assert isinstance(end, Completion)
            decision = names.get(end.of)
            call = None if decision is None else self._ledger.calls.get(decision.name or "")
            if call is not None:
                self._particulars.check_end(call, end)

    def _answer_fits(self, call: Call, outcome: str) -> None:
        status = call.status or 0
        if FORMS[call.kind].family == "rpc" and status == 200 and call.code is not None:
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
        allowed = {
            one.name
            for one in decisions
            if one.body.decision.outcome in _FORWARDS and one.body.decision.stage == "request"
        }
        rotten = {one.name for one in self._ledger.rotten.values()}
        for call in self._ledger.calls.values():
            # On the overlapping route a crash may lose the record of a call that left.
            excused = call.kind == "quick" and call.decision_id is None
            excused |= call.name in rotten or call.name in self._ledger.gone_names
            if call.forwarded and call.name not in allowed and not excused:
                self._violate("forwarding", f"{call.name} was forwarded without a decision")
            turned_away = call.complete and call.decision_id is None and call.kind != "quick"
            if turned_away and call.forwarded and call.code not in ("disk_failed", None):
                self._violate("forwarding", f"{call.name} was turned away and forwarded")

    def _evidence(self, export: bytes) -> None:
        lines = export.splitlines(keepends=True)
        report = verify_export(lines, root_document().digest)
        for verdict in report.verdicts:
            if verdict.state == "false" and not self._may_be_false(verdict):
                causes = "; ".join(problem.cause for problem in verdict.problems[:3])
                self._violate("chains", f"{verdict.name}: {causes}")
        if report.verdict("inclusion").state != "true":
            unproved = [problem.cause for problem in report.verdict("inclusion").problems[:3]]
            self._violate("chains", f"inclusion is not proved: {unproved}")
        self._holes_are_explained()

    def _may_be_false(self, verdict: Verdict) -> bool:
        """The weather sets clocks wrong by up to an hour, and puts the store back: the verifier is
        right to say so."""
        if verdict.name == "time":
            return True
        restored = bool(self._central.acknowledged)
        lost = all(problem.cause.endswith(_LOST) for problem in verdict.problems)
        return verdict.name == "consistency" and restored and lost

    def _holes_are_explained(self) -> None:
        """A hole is what a power cut took of a batch that nobody was answered for, and the
        successor said so."""
        rows = self._central.rows("SELECT payload FROM record WHERE kind = 'recovered'")
        damaged: set[tuple[str, int]] = set()
        cut_after: dict[str, int] = {}
        for (payload,) in rows:
            found = record.decode(payload)
            assert isinstance(found, record.Recovered)
            for one in found.damaged:
                lost = range(one.first_seq, one.last_seq + 1)
                damaged.update((found.instance, seq) for seq in lost)
            if found.ambiguous:
                # Of two starts that said so, the later may have found less.
                end = -1 if found.last_seq is None else found.last_seq
                cut_after[found.instance] = min(end, cut_after.get(found.instance, end))
        self._rot_is_reported(damaged, cut_after)
        for instance, last, count in self._central.rows(
            "SELECT instance, max(seq), count(*) FROM record GROUP BY instance"
        ):
            if count == last + 1:
                continue
            there = self._central.rows("SELECT seq FROM record WHERE instance = ?", instance)
            for seq in set(range(last)) - {seq for (seq,) in there}:
                ledger, place = self._ledger, (instance, seq)
                if place not in damaged and place not in ledger.rotten and place not in ledger.gone:
                    self._violate("chains", f"{instance} lacks seq {seq}, and nobody says why")

    def _rot_is_reported(self, damaged: set[tuple[str, int]], cut_after: dict[str, int]) -> None:
        """A record that rotted before it was shipped is lost, and somebody said so: a successor
        named it, or a last batch that could not be read, or the live spool raised its alarm."""
        for (instance, seq), one in self._ledger.rotten.items():
            if self._central.keeps(one.id) or (instance, seq) in damaged:
                continue
            cut = instance in cut_after and seq > cut_after[instance]
            if not cut and instance not in self._ledger.alarmed:
                self._violate("rot", f"{instance} lost seq {seq} to rot, and nobody says so")

    def _losses_show(self) -> None:
        """What a restored store lost for good shows as a hole, as far as it knows the instance."""
        for instance, seq in self._ledger.gone:
            ((last,),) = self._central.rows(
                "SELECT max(seq) FROM record WHERE instance = ?", instance
            )
            shown = [one for one in self._holes.get(instance, []) if one[0] <= seq <= one[1]]
            if last is not None and seq < last and len(shown) != 1:
                self._violate(
                    "chains", f"{instance} lacks seq {seq}, and the store does not say so"
                )

    def _no_complaints_of_the_store(self) -> None:
        for code, cause in self._central.rows("SELECT code, cause FROM evidence"):
            self._violate("chains", f"the store set a record aside: {code}: {cause}")

    def _violate(self, checker: str, text: str) -> None:
        self._ledger.violate(checker, text)
