"""A call with an obligation is forwarded as the obligation wants it, or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import pytest

from gateway.call import CallView, Label, Segment
from gateway.classify.classifier import Analysis
from gateway.jsonbody import parse
from gateway.seal import keyed_digest
from tests.unit.gateway.call_ends import FarCall
from tests.unit.gateway.test_redaction import CARD, MAIL, core
from tests.unit.gateway.world_builder import (
    CHAT,
    DIGEST_KEY,
    MCP,
    UPLOAD,
    Place,
    Served,
    chat,
    head_of,
    policy_text,
    run,
    sent,
    tool_call,
)

REDACT = {"redact": {"categories": ["pii.email"]}}
CEILING = {"max_output_tokens": 100}
PSEUDONYM = {"pseudonymise_user": True}
KEY = b"k" * 32


def obliging(*obligations: object, **rule: object) -> str:
    made = {"id": "duty", "effect": "oblige", "actions": ["*"], "obligations": list(obligations)}
    return policy_text(restrictions=[{**made, **rule}], references=["*"])


def serve(
    body: bytes,
    *obligations: object,
    head: object = CHAT,
    key: bytes | None = KEY,
    place_changes: dict[str, object] | None = None,
    **rule: object,
) -> Served:
    """One call through a call path with the real classifier."""
    made: list[Served] = []

    async def classify(call: CallView) -> Label:
        return core().classify(call.segments, call.opaque)

    async def analyse(segments: Sequence[Segment]) -> Analysis:
        return core().analyse(segments, ())

    async def script(place: Place) -> None:
        place.change(classify=classify, analyse=analyse, pseudonym_key=key)
        place.change(**(place_changes or {}))
        made.append(Served(place, await place.call(head, body)))  # type: ignore[arg-type]  # a head

    run(script, text=obliging(*obligations, **rule))
    return made[0]


def far_call(served: Served) -> FarCall:
    (call,) = served.place.far.calls
    return call


def refused(served: Served) -> str:
    """What the caller is told; the call has not left."""
    assert served.place.far.calls == []
    assert served.decision.decision.reason == "obligation_unsupported"
    assert served.decision.decision.outcome == "deny"
    assert served.decision.digest.forwarded is None
    assert served.place.faults == []
    return served.application.received.decode()


def test_what_is_recorded_as_forwarded_is_what_was_sent() -> None:
    body = chat(f"write to {MAIL}", user="ann", seed=1)
    served = serve(body, REDACT, PSEUDONYM, CEILING)
    call = far_call(served)
    got = parse(call.received)
    assert isinstance(got, dict)
    assert got["messages"] == [{"role": "user", "content": "write to [pii.email]"}]
    assert str(got["user"]).startswith("user-")
    assert got["max_completion_tokens"] == 100
    assert got["seed"] == 1
    assert call.request.content_length == len(call.received)
    record = served.decision
    assert record.digest.request == keyed_digest(DIGEST_KEY, body)
    assert record.digest.forwarded == keyed_digest(DIGEST_KEY, call.received)
    assert record.decision.obligations == [
        "redact=pii.email",
        "pseudonymise_user=true",
        "max_output_tokens=100",
    ]
    assert record.data.categories == ["pii.email"]
    assert record.decision.rules == ["all", "duty"]


def test_a_body_that_needs_no_change_is_sent_as_it_came() -> None:
    body = chat("nobody", max_tokens=3)
    served = serve(body, REDACT, CEILING, PSEUDONYM)
    assert far_call(served).received == body
    assert served.decision.digest.forwarded is None
    assert served.decision.decision.outcome == "allow"


def test_what_a_shadow_rule_would_change_is_sent_as_it_came() -> None:
    body = chat(MAIL)
    served = serve(body, REDACT, status="shadow")
    assert far_call(served).received == body
    assert (served.decision.decision.obligations, served.decision.policy.shadow) == ([], "allow")


def test_a_call_without_a_body_has_nothing_to_change() -> None:
    served = serve(b"", REDACT, CEILING, PSEUDONYM, head=head_of("/openai/v1/models", "GET"))
    assert far_call(served).received == b""


def test_tool_arguments_are_redacted_and_the_call_stays_the_same() -> None:
    served = serve(sent(tool_call("mail", 7, to=MAIL, amount=1.50)), REDACT, head=MCP)
    got = json.loads(far_call(served).received)
    assert got["params"] == {"name": "mail", "arguments": {"to": "[pii.email]", "amount": 1.5}}
    assert got["id"] == 7


IMAGE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
SPLIT = [{"type": "text", "text": "ann.smith@co"}, {"type": "text", "text": "rp.org"}]
CANNOT_BE_REDACTED: dict[str, tuple[bytes, object]] = {
    "a picture": (chat(IMAGE), CHAT),  # type: ignore[arg-type]  # parts
    "a number": (chat("x", seed=int(CARD.replace(" ", ""))), CHAT),
    "split over two parts": (chat(SPLIT), CHAT),  # type: ignore[arg-type]  # parts
    "in the query": (chat(), head_of(f"/openai/v1/chat/completions?to={MAIL}")),
    "two names become one": (
        chat("x", metadata={"ann.smith@corp.org": 1, "bob.smith@corp.org": 2}),
        CHAT,
    ),
    "the model's name": (sent({"model": MAIL, "messages": []}), CHAT),
    "the tool's name": (sent(tool_call(MAIL)), MCP),
    "one of a batch": (sent([tool_call("a", 1, to=MAIL)]), MCP),
    "streamed on": (b"x", UPLOAD),
}


@pytest.mark.parametrize("name", CANNOT_BE_REDACTED)
def test_what_cannot_be_redacted_is_not_forwarded(name: str) -> None:
    body, head = CANNOT_BE_REDACTED[name]
    answer = refused(serve(body, {"redact": {"categories": ["pii.*", "pci.*"]}}, head=head))
    assert "ann.smith" not in answer
    assert "the policy demands a change of this request" in answer


def test_a_redaction_that_leaves_something_is_found_out() -> None:
    async def finds_nothing(segments: Sequence[Segment]) -> Analysis:
        return msgspec.structs.replace(core().analyse(segments, ()), findings=())

    answer = refused(serve(chat(MAIL), REDACT, place_changes={"analyse": finds_nothing}))
    assert "cannot be redacted" in answer


def test_a_classifier_that_fails_on_the_way_refuses_the_call() -> None:
    async def fails(segments: Sequence[Segment]) -> Analysis:
        raise RuntimeError("no scan")

    served = serve(chat(MAIL), REDACT, place_changes={"analyse": fails})
    assert served.place.far.calls == []
    assert served.decision.decision.reason == "obligation_unsupported"
    ((event, _),) = served.place.faults
    assert event == "amending_failed"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/images/generations", {"model": "m", "prompt": "x"}),
        ("/openai/v1/batches", {"input_file_id": "f"}),
        ("/openai/v1/chat/completions", {"model": "m", "max_tokens": "many"}),
        ("/erp", tool_call()),
        ("/pay/x", {"a": 1}),
    ],
)
def test_an_answer_that_cannot_be_bounded_is_not_asked_for(
    path: str, body: dict[str, object]
) -> None:
    answer = refused(serve(sent(body), CEILING, head=head_of(path)))
    assert "answer" in answer


def test_an_embedding_has_no_answer_to_bound() -> None:
    body = sent({"model": "m", "input": "x"})
    served = serve(body, CEILING, head=head_of("/openai/v1/embeddings"))
    assert far_call(served).received == body


def test_without_a_key_nobody_gets_a_pseudonym() -> None:
    assert "no key for pseudonyms" in refused(serve(chat(user="a"), PSEUDONYM, key=None))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/erp", tool_call()),
        ("/openai/v1/batches", {"input_file_id": "f"}),
        ("/openai/v1/chat/completions", {"model": "m", "user": 7}),
    ],
)
def test_an_end_user_who_may_stand_elsewhere_is_not_forwarded(
    path: str, body: dict[str, object]
) -> None:
    refused(serve(sent(body), PSEUDONYM, head=head_of(path)))


def test_anthropic_learns_no_user_either() -> None:
    body = sent({"model": "m", "max_tokens": 500, "metadata": {"user_id": "ann"}, "messages": []})
    served = serve(body, PSEUDONYM, CEILING, head=head_of("/anthropic/v1/messages"))
    got = json.loads(far_call(served).received)
    assert got["max_tokens"] == 100
    assert got["metadata"]["user_id"].startswith("user-")


def test_the_lowest_ceiling_holds() -> None:
    served = serve(chat(), {"max_output_tokens": 50}, {"max_output_tokens": 20}, CEILING)
    assert json.loads(far_call(served).received)["max_completion_tokens"] == 20
    assert served.decision.decision.obligations == ["max_output_tokens=20"]
