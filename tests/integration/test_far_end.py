"""The stand-ins for provider and tool server, as unmodified SDKs see them: no gateway between."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import mcp
import openai
import pytest

from gatepost.far_end.faults import EVENTS_BEFORE_FAULT, FAULTS
from gatepost.far_end.provider import HUNG_UP
from tests.integration.far_ends import FarEnd, far_end
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration

KEY = "sk-the-companys-own"
QUESTION = "How long may a refund take?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("far-end")


@pytest.fixture(scope="module")
def provider(folder: Path) -> Iterator[FarEnd]:
    (folder / "key").write_text(KEY + "\n")
    options = ("--key-file", str(folder / "key"), "--count-file", str(folder / "counts.json"))
    with far_end("provider", *options) as running:
        yield running


@pytest.fixture(scope="module")
def tools() -> Iterator[FarEnd]:
    with far_end("tools") as running:
        yield running


@pytest.fixture
def openai_client(provider: FarEnd) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(provider: FarEnd) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=provider.url, api_key=KEY, max_retries=0) as client:
        yield client


# -- OpenAI ---------------------------------------------------------------------------------


def test_a_chat_completion_is_what_the_sdk_expects(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="gpt-5.4", messages=[{"role": "user", "content": QUESTION}]
    )
    assert "you sent 6 words" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.model, answer.usage.prompt_tokens) == ("gpt-5.4", 6)


@pytest.mark.parametrize("usage_wanted", [True, False])
def test_a_streamed_chat_completion_ends_with_usage_if_it_was_asked_for(
    openai_client: openai.OpenAI, usage_wanted: bool
) -> None:
    chunks = list(
        openai_client.chat.completions.create(
            model="gpt-5.4",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": usage_wanted},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.endswith("you sent 6 words.")
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [usage.prompt_tokens for usage in usages] == ([6] if usage_wanted else [])


def test_a_response_is_what_the_sdk_expects(openai_client: openai.OpenAI) -> None:
    answer = openai_client.responses.create(model="gpt-5.4", input=QUESTION)
    assert answer.output_text.endswith("you sent 6 words.")
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.input_tokens == 6


def test_a_streamed_response_builds_up_to_the_whole_one(openai_client: openai.OpenAI) -> None:
    with openai_client.responses.stream(model="gpt-5.4", input=QUESTION) as stream:
        kinds = [event.type for event in stream]
        whole = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert whole.output_text.endswith("you sent 6 words.")


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_embeddings_come_in_both_encodings(
    openai_client: openai.OpenAI, encoding_format: str
) -> None:
    raw = openai_client.embeddings.with_raw_response.create(
        model="text-embedding-3-small",
        input=["one", "two"],
        encoding_format="base64" if encoding_format == "base64" else "float",
    )
    vectors = [entry["embedding"] for entry in json.loads(raw.text)["data"]]
    if encoding_format == "base64":
        assert all(len(base64.b64decode(vector)) == 32 for vector in vectors)
    else:
        assert vectors[0][:4] == [0.0, 0.25, 0.5, 0.75]


def test_the_sdk_reads_its_default_embedding_encoding(openai_client: openai.OpenAI) -> None:
    found = openai_client.embeddings.create(model="text-embedding-3-small", input="one")
    assert found.data[0].embedding[:4] == [0.0, 0.25, 0.5, 0.75]


def test_models_are_listed(openai_client: openai.OpenAI) -> None:
    assert "gpt-5.4" in [model.id for model in openai_client.models.list()]
    assert openai_client.models.retrieve("gpt-5.4").id == "gpt-5.4"


def test_a_body_that_is_no_request_is_a_bad_request(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        openai_client.post("/chat/completions", cast_to=object, body={"no": "model"})


def test_another_path_is_not_found(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        openai_client.images.generate(prompt="a cat", model="gpt-image-1")


# -- Anthropic ------------------------------------------------------------------------------


def test_a_message_is_what_the_sdk_expects(anthropic_client: anthropic.Anthropic) -> None:
    answer = anthropic_client.messages.create(
        model="claude-sonnet-5-5",
        max_tokens=64,
        system="Be brief.",
        messages=[{"role": "user", "content": QUESTION}],
    )
    assert answer.content[0].type == "text"
    assert answer.content[0].text.endswith("you sent 8 words.")
    assert (answer.stop_reason, answer.usage.input_tokens) == ("end_turn", 8)


def test_a_streamed_message_builds_up_to_the_whole_one(
    anthropic_client: anthropic.Anthropic,
) -> None:
    with anthropic_client.messages.stream(
        model="claude-sonnet-5-5",
        max_tokens=64,
        messages=[{"role": "user", "content": QUESTION}],
    ) as stream:
        text = "".join(stream.text_stream)
        whole = stream.get_final_message()
    assert text.endswith("you sent 6 words.")
    assert (whole.stop_reason, whole.usage.output_tokens) == ("end_turn", 13)


def test_the_event_sequence_of_a_message_is_the_real_one(
    anthropic_client: anthropic.Anthropic,
) -> None:
    events = anthropic_client.messages.create(
        model="claude-sonnet-5-5",
        max_tokens=64,
        messages=[{"role": "user", "content": "Hi"}],
        stream=True,
    )
    kinds = [event.type for event in events]
    ends = ["content_block_stop", "message_delta", "message_stop"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert kinds[-3:] == ends


def test_tokens_are_counted(anthropic_client: anthropic.Anthropic) -> None:
    counted = anthropic_client.messages.count_tokens(
        model="claude-sonnet-5-5", messages=[{"role": "user", "content": QUESTION}]
    )
    assert counted.input_tokens == 6


# -- keys, counts, what was seen ------------------------------------------------------------


def test_a_wrong_key_is_refused_as_the_sdks_expect(provider: FarEnd) -> None:
    with (
        openai.OpenAI(base_url=provider.url + "/v1", api_key="sk-mine", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()
    with (
        anthropic.Anthropic(base_url=provider.url, api_key="sk-mine", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.models.list()


def test_every_request_is_counted_before_it_is_answered(
    provider: FarEnd, openai_client: openai.OpenAI, folder: Path
) -> None:
    before = provider.counts().get("/v1/responses", 0)
    openai_client.responses.create(model="gpt-5.4", input=QUESTION)
    kept = json.loads((folder / "counts.json").read_bytes())["by_path"]
    assert kept["/v1/responses"] == before + 1
    assert provider.counts() == kept


def test_what_was_seen_is_what_was_sent(provider: FarEnd, openai_client: openai.OpenAI) -> None:
    openai_client.responses.create(model="gpt-5.4", input=QUESTION, extra_headers={"X-Mine": "yes"})
    headers = provider.last_headers()
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["x-mine"] == "yes"
    assert json.loads(provider.last_body())["input"] == QUESTION


@pytest.mark.parametrize("path", ["/_count", "/_seen"])
def test_counts_are_told_only_with_the_token(provider: FarEnd, tools: FarEnd, path: str) -> None:
    before = provider.total()
    assert provider.status_without_token(path) == 404
    assert tools.status_without_token(path) == 404
    assert provider.total() == before


# -- faults ---------------------------------------------------------------------------------


def _chat(provider: FarEnd, model: str, *, stream: bool = False) -> httpx.Request:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.Request("POST", provider.url + "/v1/chat/completions", json=body, headers=headers)


@pytest.fixture
def plain_client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=5) as client:
        yield client


@pytest.mark.parametrize(
    ("model", "status", "header"),
    [
        ("fault-500", 500, ("content-type", "application/json")),
        ("fault-429", 429, ("retry-after", "1")),
        ("fault-redirect", 307, ("location", "http://127.0.0.1:9/elsewhere")),
        ("fault-gzip", 200, ("content-encoding", "gzip")),
    ],
)
def test_faults_that_answer(
    provider: FarEnd,
    plain_client: httpx.Client,
    model: str,
    status: int,
    header: tuple[str, str],
) -> None:
    answer = plain_client.send(_chat(provider, model))
    assert answer.status_code == status
    assert answer.headers[header[0]] == header[1]


@pytest.mark.parametrize(
    ("model", "stream"),
    [("fault-refuse", False), ("fault-cut-body", False), ("fault-cut-stream", True)],
)
def test_faults_that_break_the_connection(
    provider: FarEnd, plain_client: httpx.Client, model: str, stream: bool
) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        plain_client.send(_chat(provider, model, stream=stream))


def test_a_cut_stream_begins_well(provider: FarEnd, plain_client: httpx.Client) -> None:
    answer = plain_client.send(_chat(provider, "fault-cut-stream", stream=True), stream=True)
    assert answer.status_code == 200
    parts: list[bytes] = []
    with pytest.raises(httpx.RemoteProtocolError):
        parts.extend(answer.iter_raw())
    got = b"".join(parts)
    assert got.count(b"\n\n") == EVENTS_BEFORE_FAULT
    assert not got.endswith(b"\n\n")


@pytest.mark.parametrize(("model", "stream"), [("fault-slow", False), ("fault-stall-stream", True)])
def test_faults_that_never_end(provider: FarEnd, model: str, stream: bool) -> None:
    patience = httpx.Timeout(5, read=0.2)
    before = provider.counts().get(HUNG_UP, 0)
    with (
        httpx.Client(trust_env=False, timeout=patience) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.send(_chat(provider, model, stream=stream))
    eventually(lambda: provider.counts().get(HUNG_UP, 0) == before + 1, "the hang-up's count")


def test_every_fault_is_shown_above() -> None:
    shown = "500 429 redirect gzip refuse cut-body cut-stream slow stall-stream"  # as in the tables
    assert {f"fault-{name}" for name in shown.split()} == FAULTS


# -- tools ----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_tools_answer_the_real_client_and_are_counted(tools: FarEnd, mode: str) -> None:
    before = tools.counts()
    async with mcp.Client(tools.url + "/mcp", mode=mode) as client:
        listed = await client.list_tools()
        done = await client.call_tool(
            "refund", {"order_id": "A-1", "amount": 12.5, "currency": "EUR"}
        )
    assert [tool.name for tool in listed.tools] == ["lookup_order", "refund", "delete_customer"]
    assert not done.is_error
    assert "Refunded 12.50 EUR" in str(done.content)
    after = tools.counts()
    assert after["tool:refund"] == before.get("tool:refund", 0) + 1
    assert after.get("tool:delete_customer", 0) == before.get("tool:delete_customer", 0)


@pytest.mark.parametrize("module", ["provider", "tools"])
def test_a_far_end_ends_cleanly_when_asked(module: str) -> None:
    with far_end(module) as running:
        assert running.total() == 0
        assert running.stop() == 0
