"""Checkers of what a record says of its call: who, what data, where from, what came of it.

* ``identity``: the person, rights and agent of a record are those that its caller showed, and a
  token that is no good is refused with the code of its fault;
* ``data``: level, categories and completeness are those of the data that was planted;
* ``lineage``: a link to a gateway in front is recorded whole if it is true, as a claim if not;
* ``completion``: model, token counts and reason of the end are those that the provider sent.
"""

from __future__ import annotations

from typing import Final

from gateway import record
from gateway.record import Completion, Decision
from gateway.timestamp import time_micros
from tests.sim.asking import FORMS, SESSION_METHODS, SESSION_OPERATIONS, number_of
from tests.sim.faulty import FAULTS
from tests.sim.ledger import Call, Ledger
from tests.sim.parents import INSTANCE
from tests.sim.planted import NOTHING
from tests.sim.tokens import Identity, TokenIssuer
from tests.sim.twists import Door

_ATTESTED: Final[dict[Door, str]] = {"unix": "uds_uid", "tcp": "tcp_uid", "local": "local_token"}
_NOBODY: Final = Identity(None)


class Particulars:
    """Notes violations in ``ledger``. ``issuer``: of the tokens that callers showed."""

    def __init__(self, ledger: Ledger, issuer: TokenIssuer) -> None:
        self._ledger = ledger
        self._issuer = issuer

    def refusal_of(self, call: Call, body: Decision) -> str | None:
        """The code with which ``call`` had to be refused whatever the policy says, else None.

        Where the time leaves it open whether a token was good, what the record says counts.
        """
        codes = [one.code for one in self._may_be(call, body)]
        said = body.decision.reason if body.decision.reason in codes else None
        code = codes[0] if len(codes) == 1 else said
        if code is None and call.twist.fault:
            return FAULTS[call.twist.fault].code
        return code

    def identity_of(self, call: Call, body: Decision) -> Identity:
        """Who asked, for a call that was not refused for it."""
        accepted = [one for one in self._may_be(call, body) if one.code is None]
        return accepted[0] if accepted else _NOBODY

    def _may_be(self, call: Call, body: Decision) -> list[Identity]:
        if call.door == "stranger":
            # Two tokens are too many before anybody asks whose they are.
            ambiguous = call.twist.token == "two tokens"
            return [Identity("identity_ambiguous" if ambiguous else "peer_not_allowed")]
        if not call.twist.token:
            return [_NOBODY]
        wall_us = time_micros(body.time.decided)
        return self._issuer.may_be(call.twist.token, call.asked_us / 1e6, call.asked_at, wall_us)

    # -- a decision

    def check(self, call: Call, body: Decision) -> None:
        """Hold one decision of stage ``request`` against what its caller did."""
        refused = self.refusal_of(call, body)
        self._check_identity(call, body, refused)
        self._check_request(call, body, refused)
        if refused is None:
            self._check_data(call, body)
            self._check_parent(call, body)

    def _check_identity(self, call: Call, body: Decision, refused: str | None) -> None:
        found = (body.person.id, tuple(body.authz.roles), tuple(body.authz.scopes))
        who = self.identity_of(call, body)
        wanted = [(who.person, who.roles, who.scopes)]
        if refused is not None:
            # Refused for its body, a call keeps its person; refused for its token, it has none.
            wanted.append((None, (), ()))
        if found not in wanted:
            self._ledger.violate("identity", f"{call.name}: {found}, not {wanted[0]}")
        attested = _ATTESTED.get(call.door)
        if call.door == "local" and refused == "identity_ambiguous":
            attested = None  # the local token was among those that were too many
        if body.agent.attested_by != attested:
            text = f"{call.name}: attested by {body.agent.attested_by}, not {attested}"
            self._ledger.violate("identity", text)

    def _check_request(self, call: Call, body: Decision, refused: str | None) -> None:
        form = FORMS[call.kind]
        if body.model.route != form.route:
            self._ledger.violate("stored", f"{call.name}: on route {body.model.route}")
        operation = form.operation
        if call.kind == "session":
            operation = SESSION_OPERATIONS[number_of(call.name) % len(SESSION_METHODS)]
        if refused is None and body.model.operation != operation:
            text = f"{call.name}: operation {body.model.operation}, not {operation}"
            self._ledger.violate("stored", text)

    def _check_data(self, call: Call, body: Decision) -> None:
        further = call.kind == "batch" and body.model.tool != call.name
        planted = NOTHING if further else call.twist.planted
        seen = "opaque" if call.kind == "file" or call.twist.offered == "picture" else "full"
        found = (body.data.level, tuple(body.data.categories), body.data.completeness)
        wanted = (planted.level, planted.categories, seen)
        if found != wanted:
            self._ledger.violate("data", f"{call.name}: {found}, not {wanted}")

    def _check_parent(self, call: Call, body: Decision) -> None:
        parent, link = body.parent, call.twist.link
        if not link:
            fits = parent is None
        elif link == "good":
            fits = (
                isinstance(parent, record.Parent)
                and parent.instance == INSTANCE
                and parent.seq == number_of(call.name)
            )
        else:
            fits = isinstance(parent, str) and parent.startswith("claimed:")
        # Before the first policy there is no root, and no link can be checked.
        if not fits and not (body.policy.state == "empty" and link == "good"):
            self._ledger.violate("lineage", f"{call.name}: a {link or 'missing'} link is {parent}")

    # -- a completion

    def check_end(self, call: Call, end: Completion) -> None:
        """Hold a completion of ``call`` against what the provider sent."""
        if end.outcome != "ok":
            return
        if call.sent is None:
            self._ledger.violate("completion", f"{call.name} ended well, and nobody answered it")
            return
        sent = call.sent
        found = (end.served, end.usage.input, end.usage.output, end.finish_reasons)
        reasons = [] if sent.reason is None else [sent.reason]
        wanted = (sent.served, sent.input, sent.output, reasons)
        if found != wanted:
            self._ledger.violate("completion", f"{call.name}: {found}, sent was {wanted}")
