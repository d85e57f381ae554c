"""The life of one call, top to bottom: the file to read first.

    admit → identify, read, classify → decide → commit the record → forward
    → stream back → commit the completion

The laws that this file keeps, each with a test of its name:

* no byte of a ruling or of an upstream's answer leaves before its decision record is durable;
* nothing is forwarded without a ``Permit``, and only ``decide`` makes one;
* one decision record per call, refusals included; the policy snapshot is read once;
* an error is the absence of a decision, and fails closed.

Owns: the order of the steps and the translation of every error into one ruling or one
turn-away. Refuses: doing any step itself; it awaits only on ports (``wire.py``, ``ports.py``).
"""

from __future__ import annotations

from gateway import refusal
from gateway.call import Route
from gateway.decide import Denial, Permit
from gateway.errors import TurnAway
from gateway.forward import forward
from gateway.recording import Finding
from gateway.ruling import Ruling, Rulings, rule
from gateway.understanding import Understood, understand
from gateway.wire import ApplicationGone, Incoming
from gateway.world import Context, World

RECORDS_PER_CALL = 2
"""A decision and its completion; a tool server's own requests reserve theirs when they come."""


async def handle_exchange(incoming: Incoming, world: World) -> None:
    """Serve one request. Every outcome is answered here; only cancellation passes through."""
    route: Route | None = None
    try:
        route = world.routes.match(incoming.head)
        with world.in_flight.admitted() as admission:
            await _serve(
                Context(
                    world=world,
                    incoming=incoming,
                    route=route,
                    admission=admission,
                    started_us=world.clock.mono_us(),
                )
            )
    except TurnAway as turned_away:
        await _turn_away(incoming, route, turned_away, world)
    except ApplicationGone:
        incoming.abort()
    except Exception as error:  # the boundary: a fault of ours must not look like an answer
        world.report("exchange_failed", error)
        await _turn_away(incoming, route, TurnAway("internal_error"), world)


async def _serve(context: Context) -> None:
    world = context.world
    known = await understand(context)
    reservation = world.log.reserve(RECORDS_PER_CALL * len(known.calls))
    try:
        rulings = await rule(context, known)
        commit = world.log.submit(reservation, *rulings.drafts)
        for draft in rulings.drafts:
            world.decided(draft)
        finding = Finding(policy_us=rulings.policy_us, classify_us=known.classify_us)
        durable = not _overlaps(rulings)
        if durable:
            began_us = world.clock.mono_us()
            await commit.wait()
            finding.commit_us = context.micros_since(began_us)
        denied = rulings.denied
        if denied is not None:
            await _refuse(context, known, rulings, denied)
        else:
            await forward(context, known, rulings, commit, reservation, finding, durable=durable)
    finally:
        reservation.release()


def _overlaps(rulings: Rulings) -> bool:
    """Whether the fsync may overlap with the upstream call: ``record_commit`` of the policy."""
    return all(
        isinstance(one.verdict, Permit) and one.verdict.ruling.commit == "before_response"
        for one in rulings.each
    )


async def _refuse(context: Context, known: Understood, rulings: Rulings, denied: Ruling) -> None:
    verdict = denied.verdict
    assert isinstance(verdict, Denial)
    snapshot = rulings.moment.snapshot
    shown = snapshot is not None and snapshot.show_rule_ids
    await context.incoming.answer(
        refusal.refuse(
            verdict.code,
            context.route.protocol,
            decision_id=denied.draft.id,
            message=denied.detail or refusal.because(verdict.ruling.reason),
            rules=verdict.ruling.rules if shown else (),
            approval_digest=verdict.approval_digest,
            call=denied.call,
            batch=known.batch,
        )
    )


async def _turn_away(
    incoming: Incoming, route: Route | None, turned_away: TurnAway, world: World
) -> None:
    world.tally.turned_away(turned_away.code, incoming.peer.listener)
    protocol = None if route is None else route.protocol
    try:
        await incoming.answer(
            refusal.turn_away(turned_away.code, protocol, allow=turned_away.allow)
        )
    except ApplicationGone:
        incoming.abort()
