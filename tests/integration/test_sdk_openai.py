"""The unmodified OpenAI SDK through the daemon: pointed at it by its base URL, or by a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx2
import openai
import pytest

from gatepost.env import variables
from sidecar.config import parse
from tests.integration.rules import DENIED_MODEL, MODEL
from tests.integration.system import Daemon

pytestmark = pytest.mark.integration

QUESTION = "How long may a refund take?"
CARD = "Please charge 4111 1111 1111 1111 for it."


@pytest.fixture
def shell(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``eval "$(gatepost env)"`` puts into an agent's shell."""
    config = parse(daemon.site.home.sidecar_toml.read_text())
    for name, value in variables(config, daemon.port).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def by_environment(shell: None) -> Iterator[openai.OpenAI]:
    with openai.OpenAI() as client:
        yield client


@pytest.fixture
def by_socket(daemon: Daemon, shell: None) -> Iterator[openai.OpenAI]:
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=daemon.socket))
    with openai.OpenAI(base_url="http://localhost/openai/v1", http_client=http) as client:
        yield client


@pytest.fixture(params=["by_environment", "by_socket"])
def client(request: pytest.FixtureRequest) -> openai.OpenAI:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, openai.OpenAI)
    return found


@pytest.fixture(params=["by_environment", "by_socket"])
async def async_client(
    request: pytest.FixtureRequest, daemon: Daemon, shell: None
) -> AsyncIterator[openai.AsyncOpenAI]:
    if request.param == "by_environment":
        async with openai.AsyncOpenAI() as client:
            yield client
        return
    http = httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=daemon.socket))
    base_url = "http://localhost/openai/v1"
    async with openai.AsyncOpenAI(base_url=base_url, http_client=http) as client:
        yield client


def _ask(client: openai.OpenAI, model: str, text: str) -> str | None:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}]
    )
    return answer.choices[0].message.content


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    assert "you sent 6 words" in (_ask(client, MODEL, QUESTION) or "")


def test_a_streamed_chat_is_answered_in_parts(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}], stream=True
        )
    )
    parts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert len(parts) > 5
    assert "".join(part or "" for part in parts).endswith("you sent 6 words.")


def test_a_response_is_answered_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.responses.create(model=MODEL, input=QUESTION)
    assert whole.output_text.endswith("you sent 6 words.")
    with client.responses.stream(model=MODEL, input=QUESTION) as stream:
        kinds = [event.type for event in stream]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_embeddings_and_models_are_answered(client: openai.OpenAI) -> None:
    found = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert len(found.data) == 2
    assert "gpt-5.4" in [model.id for model in client.models.list()]


@pytest.mark.anyio
async def test_the_asynchronous_client_is_answered(async_client: openai.AsyncOpenAI) -> None:
    answer = await async_client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}]
    )
    assert "you sent 6 words" in (answer.choices[0].message.content or "")
    stream = await async_client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], stream=True
    )
    assert len([chunk async for chunk in stream]) > 5


@pytest.mark.parametrize(
    ("model", "text", "reason"),
    [(DENIED_MODEL, QUESTION, "denied"), (MODEL, CARD, "no-restricted-data")],
)
def test_a_denial_is_the_sdks_own_exception_and_one_request(
    daemon: Daemon, client: openai.OpenAI, model: str, text: str, reason: str
) -> None:
    decided, reached = daemon.decided(), daemon.site.central.ends.total()
    with pytest.raises(openai.PermissionDeniedError) as raised:
        _ask(client, model, text)
    assert raised.value.code == "denied"
    assert "the policy does not allow this call" in str(raised.value)
    assert reason in str(raised.value)
    assert daemon.decided() == decided + 1
    assert daemon.site.central.ends.total() == reached


def test_a_token_that_is_not_accepted_is_an_authentication_error(
    daemon: Daemon, shell: None
) -> None:
    ends = daemon.site.central.ends
    decided, reached = daemon.decided(), ends.total()
    token = ends.issuer.token(aud="somebody-else")
    with (
        openai.OpenAI(api_key=token) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        _ask(client, MODEL, QUESTION)
    assert raised.value.code == "token_audience_mismatch"
    assert "not meant for this gateway" in str(raised.value)
    assert (daemon.decided(), ends.total()) == (decided + 1, reached)


def test_a_body_that_cannot_be_read_is_a_bad_request(daemon: Daemon, client: openai.OpenAI) -> None:
    ends = daemon.site.central.ends
    decided, reached = daemon.decided(), ends.total()
    with pytest.raises(openai.BadRequestError) as raised:
        client.post("/chat/completions", cast_to=object, body={"model": 7, "messages": []})
    assert raised.value.code == "unreadable_body"
    assert (daemon.decided(), ends.total()) == (decided + 1, reached)


def test_the_answer_names_its_decision_and_the_record_is_in_the_store(
    daemon: Daemon, client: openai.OpenAI
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}]
    )
    decision = daemon.records.decision(raw.headers["x-gatepost-decision-id"])
    assert decision["decision"]["outcome"] == "allow"
    assert decision["model"]["requested"] == MODEL
    assert decision["agent"]["name"] == "claimed:OpenAI"
    assert QUESTION not in str(decision)
    completion = daemon.records.completion(decision["id"])
    assert (completion["outcome"], completion["served"]) == ("ok", MODEL)
    assert completion["usage"]["input"] == 6
