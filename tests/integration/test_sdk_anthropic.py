"""The unmodified Anthropic SDK through the daemon."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import httpx2
import pytest

from tests.integration.rules import CLAUDE, DENIED_MODEL
from tests.integration.system import Daemon

pytestmark = pytest.mark.integration

QUESTION = "How long may a refund take?"


@pytest.fixture(params=["tcp", "socket"])
def client(request: pytest.FixtureRequest, daemon: Daemon) -> Iterator[anthropic.Anthropic]:
    if request.param == "tcp":
        base_url = f"http://127.0.0.1:{daemon.port}/anthropic"
        with anthropic.Anthropic(base_url=base_url, api_key="held-by-gatepost") as client:
            yield client
        return
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=daemon.socket))
    base_url = "http://localhost/anthropic"
    with anthropic.Anthropic(base_url=base_url, api_key="none", http_client=http) as client:
        yield client


def test_a_message_is_answered(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(
        model=CLAUDE, max_tokens=64, messages=[{"role": "user", "content": QUESTION}]
    )
    assert answer.content[0].type == "text"
    assert answer.content[0].text.endswith("you sent 6 words.")


def test_a_streamed_message_is_answered_in_parts(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model=CLAUDE, max_tokens=64, messages=[{"role": "user", "content": QUESTION}]
    ) as stream:
        parts = list(stream.text_stream)
    assert len(parts) > 5
    assert "".join(parts).endswith("you sent 6 words.")


def test_tokens_are_counted(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(
        model=CLAUDE, messages=[{"role": "user", "content": QUESTION}]
    )
    assert counted.input_tokens == 6


def test_a_denial_is_the_sdks_own_exception_and_one_request(
    daemon: Daemon, client: anthropic.Anthropic
) -> None:
    ends = daemon.site.central.ends
    decided, reached = daemon.decided(), ends.total()
    with pytest.raises(anthropic.PermissionDeniedError) as raised:
        client.messages.create(
            model=DENIED_MODEL, max_tokens=8, messages=[{"role": "user", "content": QUESTION}]
        )
    body = raised.value.body
    assert isinstance(body, dict)
    assert body["error"]["type"] == "permission_error"
    assert body["error"]["details"]["error_code"] == "denied"
    assert "the policy does not allow this call" in str(raised.value)
    assert (daemon.decided(), ends.total()) == (decided + 1, reached)


def test_a_token_that_is_not_accepted_is_an_authentication_error(daemon: Daemon) -> None:
    ends = daemon.site.central.ends
    decided, reached = daemon.decided(), ends.total()
    base_url = f"http://127.0.0.1:{daemon.port}/anthropic"
    with (
        anthropic.Anthropic(base_url=base_url, api_key=ends.issuer.forged()) as client,
        pytest.raises(anthropic.AuthenticationError) as raised,
    ):
        client.messages.create(
            model=CLAUDE, max_tokens=8, messages=[{"role": "user", "content": QUESTION}]
        )
    assert "token_signature_invalid" in str(raised.value)
    assert (daemon.decided(), ends.total()) == (decided + 1, reached)


def test_the_record_says_what_a_message_used(daemon: Daemon, client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(
        model=CLAUDE, max_tokens=64, messages=[{"role": "user", "content": QUESTION}]
    )
    decision = daemon.records.decision(raw.headers["x-gatepost-decision-id"])
    assert (decision["model"]["provider"], decision["model"]["operation"]) == (
        "anthropic",
        "message",
    )
    completion = daemon.records.completion(decision["id"])
    assert (completion["usage"]["input"], completion["usage"]["output"]) == (6, 13)
    assert completion["finish_reasons"] == ["end_turn"]
