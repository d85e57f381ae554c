"""Changes the body of one call as the obligations of its policy want it, and proves the result.

What comes out is read and classified again as if it had been received: it must make the same call
and hold nothing of the categories that were to be redacted. So a fault in a step before ends in a
refusal and never in an unredacted body.

Owns: the order of the steps, that proof, and which calls have a body that can be changed. Refuses:
each step itself (``pseudonym.py``, ``ceiling.py``, ``redaction.py``), and forwarding.
"""

from __future__ import annotations

from typing import Final

from gateway.call import CallView, Label, Principal
from gateway.ceiling import under_ceiling
from gateway.errors import RequestRefused, TurnAway
from gateway.glob import any_matcher
from gateway.obligation import Amendment, Unmet
from gateway.policy import Obligation, Redact
from gateway.protocols import read_calls
from gateway.pseudonym import pseudonymised
from gateway.redaction import Redaction
from gateway.world import Context

_TOOLS: Final = frozenset({"mcp", "http"})
_NOTHING_ANSWERED: Final = frozenset(
    {"embedding", "rerank", "moderation", "count_tokens", "models", "file"}
)
"""Operations of model providers in which no model writes an answer."""
_BODY_ELSEWHERE: Final = frozenset({"batch", "file", "fine_tuning"})
"""Operations whose requests stand in a stored object, or in parts of the body of their own."""
_SAME: Final = (
    *("protocol", "operation", "provider", "model", "stream", "tool", "tool_server"),
    *("tool_call_id", "hosted_tools", "unknown_tools", "references", "rpc_id"),
)
"""Members of a call that rules may have read and that no obligation changes."""


async def amend(
    context: Context,
    owed: tuple[Obligation, ...],
    *,
    principal: Principal,
    call: CallView,
    label: Label,
    body: bytes | None,
) -> Amendment:
    """What ``owed`` makes of ``body``, of which ``call`` and ``label`` are known.

    Raises Unmet where it cannot be done for certain.
    """
    if body is None:
        raise Unmet("the body is not held, but streamed")
    new = body
    categories: list[str] = []
    for one in owed:
        if one.pseudonymise_user:
            new = _pseudonymised(context, principal, call, new)
        if one.max_output_tokens is not None:
            new = _bounded(call, new, one.max_output_tokens)
        if one.redact is not None:
            new = await _redacted(context, one.redact, label, new)
            categories = one.redact.categories
    if new == body:
        await _prove_clean(context, call, categories)
        return Amendment(owed, None)
    context.admission.hold(len(body) + len(new))
    await _prove_clean(context, _read_again(context, call, new), categories)
    return Amendment(owed, new)


def _pseudonymised(context: Context, principal: Principal, call: CallView, body: bytes) -> bytes:
    if call.protocol in _TOOLS or (body and call.operation in _BODY_ELSEWHERE):
        raise Unmet("it is not known where such a request names the end user")
    if call.opaque and "" in call.opaque:
        raise Unmet("the body cannot be read")
    key = context.world.pseudonym_key
    if key is None:
        raise Unmet("this daemon has no key for pseudonyms")
    if not body:
        return body
    return pseudonymised(
        body,
        end_user=call.end_user,
        cache_keys=call.cache_keys,
        key=key,
        provider=call.provider,
        principal=principal,
    )


def _bounded(call: CallView, body: bytes, ceiling: int) -> bytes:
    if call.protocol in _TOOLS:
        raise Unmet("a tool's answer has no limit in tokens")
    if call.operation in _NOTHING_ANSWERED or (not body and not call.opaque):
        return body
    if not call.output_limits or not body:
        raise Unmet("it is not known what bounds the answer to such a request")
    return under_ceiling(body, call.output_limits, ceiling)


async def _redacted(context: Context, redact: Redact, label: Label, body: bytes) -> bytes:
    _check_whole(label)
    redaction = Redaction(body)
    analysis = await context.world.analyse(redaction.segments)
    return redaction.redacted(analysis.findings, any_matcher(redact.categories))


def _check_whole(label: Label) -> None:
    if label.completeness != "full":
        raise Unmet("not all of the request is text that can be scanned")


def _read_again(context: Context, call: CallView, body: bytes) -> CallView:
    """The call that ``body`` makes, which must be ``call`` but for its texts."""
    try:
        again = read_calls(context.route, context.incoming.head, body).calls
    except (RequestRefused, TurnAway) as refused:
        raise Unmet(f"what is left cannot be read: {refused.code}") from refused
    if len(again) != 1 or any(getattr(again[0], name) != getattr(call, name) for name in _SAME):
        raise Unmet("what is left would be another call")
    return again[0]


async def _prove_clean(context: Context, call: CallView, categories: list[str]) -> None:
    """Raise Unmet where ``call``, as it is to be forwarded, holds what was to be redacted."""
    if not categories:
        return
    label = await context.world.classify(call)
    _check_whole(label)
    if any(map(any_matcher(categories), label.categories)):
        raise Unmet("something stands where it cannot be redacted")
