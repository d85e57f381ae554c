"""What providers and tools receive where the policy obliges: seen at the far end, and recorded."""

from __future__ import annotations

import json

import anthropic
import mcp
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from tests.integration.records import Item
from tests.integration.rules import REDACTION_CLAUDE, REDACTION_MODEL
from tests.integration.system import Daemon

pytestmark = pytest.mark.integration

MAIL = "ann.smith@corp.org"
QUESTION = f"Write to {MAIL} that 1.50 € is due."
REDACTED = "Write to [pii.email] that 1.50 € is due."
OBLIGATIONS = ["redact=pii.email", "pseudonymise_user=true", "max_output_tokens=200"]


def _received(daemon: Daemon) -> Item:
    body = daemon.site.central.ends.provider.last_body()
    assert MAIL not in body
    found: Item = json.loads(body)
    return found


def _check_record(daemon: Daemon, decision_id: str, obligations: list[str]) -> None:
    decision = daemon.records.decision(decision_id)
    assert decision["decision"]["obligations"] == obligations
    assert decision["data"]["categories"] == ["pii.email"]
    digest = decision["digest"]
    assert digest["forwarded"].startswith("hmac-sha256:")
    assert digest["forwarded"] != digest["request"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_openai_provider_gets_neither_address_nor_user(daemon: Daemon, stream: bool) -> None:
    with openai.OpenAI(base_url=daemon.openai_url, api_key="none", max_retries=0) as client:
        answer = client.chat.completions.with_raw_response.create(
            model=REDACTION_MODEL,
            messages=[{"role": "user", "content": QUESTION}],
            user="ann",
            temperature=0.25,
            stream=stream,
        )
        assert answer.status_code == 200
        assert list(answer.parse())
    got = _received(daemon)
    assert got["messages"] == [{"role": "user", "content": REDACTED}]
    assert (got["max_completion_tokens"], got["temperature"]) == (200, 0.25)
    assert got["user"].startswith("user-")
    _check_record(daemon, answer.headers["x-gatepost-decision-id"], OBLIGATIONS)


def test_the_anthropic_provider_gets_neither_address_nor_user(daemon: Daemon) -> None:
    url = f"http://127.0.0.1:{daemon.port}/anthropic"
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        answer = client.messages.with_raw_response.create(
            model=REDACTION_CLAUDE,
            max_tokens=4_096,
            metadata={"user_id": "ann"},
            messages=[{"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
        )
    got = _received(daemon)
    assert got["messages"][0]["content"] == [{"type": "text", "text": REDACTED}]
    assert got["max_tokens"] == 200
    assert got["metadata"]["user_id"].startswith("user-")
    _check_record(daemon, answer.headers["x-gatepost-decision-id"], OBLIGATIONS)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_tool_gets_arguments_without_the_address(daemon: Daemon, mode: str) -> None:
    async with mcp.Client(daemon.tools_url, mode=mode) as client:
        result = await client.call_tool("lookup_order", {"order_id": f"of {MAIL}"})
    assert not result.is_error
    assert "of [pii.email]" in str(result.content)
    assert MAIL not in str(result.content)


def test_what_cannot_be_redacted_reaches_nobody(daemon: Daemon) -> None:
    before = daemon.site.central.ends.provider.total()
    message: ChatCompletionUserMessageParam = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
    }
    with (
        openai.OpenAI(base_url=daemon.openai_url, api_key="none") as client,
        pytest.raises(openai.PermissionDeniedError) as refused,
    ):
        client.chat.completions.create(model=REDACTION_MODEL, messages=[message])
    assert refused.value.code == "obligation_unsupported"
    assert "the policy demands a change of this request" in str(refused.value)
    assert daemon.site.central.ends.provider.total() == before
