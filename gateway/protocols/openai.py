"""The OpenAI API, and the many servers that speak it: which paths, which members, whose tools.

Owns: the method and path table, and telling tools that the provider runs from those that the
agent runs. Refuses: organisation, administration and realtime paths (not in the table): an agent
has no business there, and realtime is a WebSocket.

Source: the OpenAI API reference and the request types of its Python SDK (chat completions,
responses, and the resource endpoints).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.call import CallView, Head, Route
from gateway.protocols.dialect import CLIENT_RUN, Dialect, Members, ToolVerdict
from gateway.protocols.modelcall import view
from gateway.protocols.reading import Action, BodyKind, PathTable, provider_path
from gateway.vocabulary import Operation

_DATED: Final = re.compile(r"_(\d{8}|\d{4}_\d{2}_\d{2})$")

_AGENT_RUNS: Final = frozenset({"function", "custom", "local_shell", "apply_patch", "namespace"})
"""``namespace`` only groups tools; its own ``tools`` are judged one by one."""
_PROVIDER_RUNS: Final = frozenset(
    {
        "web_search",
        "web_search_preview",
        "file_search",
        "code_interpreter",
        "computer",
        "computer_use",
        "computer_use_preview",
        "image_generation",
        "programmatic_tool_calling",
        "mcp",
    }
)


def judge_tool(tool: Members) -> list[ToolVerdict]:
    """Who runs one entry of ``tools``; dated names are given without their date."""
    stated = tool.get("type")
    if not isinstance(stated, str):
        return [ToolVerdict(unknown="untyped")]
    name = _DATED.sub("", stated)
    if name in _AGENT_RUNS:
        return [CLIENT_RUN]
    if name == "shell":
        environment = tool.get("environment")
        is_local = isinstance(environment, dict) and environment.get("type") == "local"
        return [CLIENT_RUN if is_local else ToolVerdict(hosted="shell")]
    if name == "tool_search":
        is_client = tool.get("execution") == "client"
        return [CLIENT_RUN if is_client else ToolVerdict(hosted="tool_search")]
    if name in _PROVIDER_RUNS:
        return [ToolVerdict(hosted=name)]
    return [ToolVerdict(unknown=name)]


DIALECT: Final = Dialect(
    roles={
        "messages": "user",
        "input": "user",
        "prompt": "user",
        "query": "user",
        "documents": "user",
        "instructions": "system",
        "tools": "system",
        "functions": "system",
    },
    free=frozenset({"metadata", "logit_bias"}),
    read=frozenset(
        {
            *("model", "models", "stream", "messages", "input", "prompt", "tools", "type", "role"),
            *("content", "text", "id", "environment", "execution", "source"),
            *("previous_response_id", "conversation", "container", "container_id", "file_id"),
            *("file_ids", "file_url", "vector_store_ids", "web_search_options", "plugins"),
            *("data_sources", "search_parameters", "server_url", "connector_id", "fallbacks"),
            *("max_tokens", "max_completion_tokens", "max_output_tokens"),
            *("user", "safety_identifier", "prompt_cache_key"),
        }
    ),
    references=frozenset(
        {
            *("previous_response_id", "conversation", "container", "container_id", "file_id"),
            *("file_ids", "vector_store_ids", "vector_store_id", "assistant_id", "thread_id"),
            *("input_file_id", "training_file", "validation_file", "fine_tuned_model"),
            *(
                "server_url",
                "connector_id",
                "skill_id",
                "comparison_response_id",
                "input_reference",
            ),
            *("response_id", "conversation_id", "prompt_id"),
        }
    ),
    object_references=frozenset({"prompt", "audio"}),
    model_lists=frozenset({"models", "fallbacks"}),
    hosted_members={
        "web_search_options": "web_search",
        "plugins": "plugins",
        "data_sources": "data_sources",
        "search_parameters": "web_search",
    },
    tool=judge_tool,
    bare_item_references=True,
    end_user=("/user", "/safety_identifier"),
    cache_keys=("/prompt_cache_key",),
)

_OF_CHAT: Final = ("/max_completion_tokens", "/max_tokens")
"""Newer models take only the first; servers that know only the other are always sent it."""
_OF_RESPONSES: Final = ("/max_output_tokens",)


def _actions(operation: Operation, **methods: BodyKind) -> Mapping[str, Action]:
    return {method: Action(operation, body) for method, body in methods.items()}


def _resource(operation: Operation, path: str, variable: str) -> dict[str, Mapping[str, Action]]:
    """The usual three paths of a stored object: list and create, one of them, cancel it."""
    one = f"{path}/{{{variable}}}"
    return {
        path: _actions(operation, GET="none", POST="upload"),
        one: _actions(operation, GET="none", POST="json_or_none", DELETE="none"),
        f"{one}/cancel": _actions(operation, POST="json_or_none"),
    }


_TABLE: Final = PathTable(
    {
        "/v1/chat/completions": {
            "POST": Action("chat", "json", output_limits=_OF_CHAT),
            "GET": Action("chat", "none"),
        },
        "/v1/chat/completions/{completion}": _actions(
            "chat", GET="none", POST="json", DELETE="none"
        ),
        "/v1/chat/completions/{completion}/messages": _actions("chat", GET="none"),
        "/v1/completions": {"POST": Action("completion", "json", output_limits=("/max_tokens",))},
        "/v1/responses": {"POST": Action("response", "json", output_limits=_OF_RESPONSES)},
        "/v1/responses/input_tokens": _actions("count_tokens", POST="json"),
        "/v1/responses/compact": _actions("response", POST="json"),
        "/v1/responses/{response}": _actions("response", GET="none", DELETE="none"),
        "/v1/responses/{response}/cancel": _actions("response", POST="json_or_none"),
        "/v1/responses/{response}/input_items": _actions("response", GET="none"),
        "/v1/conversations": _actions("response", POST="json_or_none"),
        "/v1/conversations/{conversation}": _actions(
            "response", GET="none", POST="json", DELETE="none"
        ),
        "/v1/conversations/{conversation}/items": _actions("response", GET="none", POST="json"),
        "/v1/conversations/{conversation}/items/{item}": _actions(
            "response", GET="none", DELETE="none"
        ),
        "/v1/embeddings": _actions("embedding", POST="json"),
        "/v1/rerank": _actions("rerank", POST="json"),
        "/v1/moderations": _actions("moderation", POST="json"),
        "/v1/models": _actions("models", GET="none"),
        "/v1/models/{model}": _actions("models", GET="none"),
        "/v1/images/generations": _actions("image", POST="json"),
        "/v1/images/edits": _actions("image", POST="upload"),
        "/v1/images/variations": _actions("image", POST="upload"),
        "/v1/audio/speech": _actions("audio", POST="json"),
        "/v1/audio/transcriptions": _actions("audio", POST="upload"),
        "/v1/audio/translations": _actions("audio", POST="upload"),
        "/v1/videos/{video}/content": _actions("video", GET="none"),
        "/v1/videos/{video}/remix": _actions("video", POST="json"),
        "/v1/files/{file}/content": _actions("file", GET="none"),
        "/v1/uploads/{upload}/parts": _actions("file", POST="upload"),
        "/v1/uploads/{upload}/complete": _actions("file", POST="json"),
        "/v1/vector_stores/{store}/search": _actions("file", POST="json"),
        "/v1/vector_stores/{store}/files": _actions("file", GET="none", POST="json"),
        "/v1/vector_stores/{store}/files/{file}": _actions(
            "file", GET="none", POST="json", DELETE="none"
        ),
        "/v1/containers/{container}/files": _actions("file", GET="none", POST="upload"),
        "/v1/containers/{container}/files/{file}": _actions("file", GET="none", DELETE="none"),
        "/v1/containers/{container}/files/{file}/content": _actions("file", GET="none"),
        "/v1/threads/{thread}/messages": _actions("assistant", GET="none", POST="json"),
        "/v1/threads/{thread}/runs": {
            "POST": Action("assistant", "json", output_limits=("/max_completion_tokens",)),
            "GET": Action("assistant", "none"),
        },
        "/v1/threads/{thread}/runs/{run}": _actions("assistant", GET="none", POST="json"),
        "/v1/fine_tuning/jobs/{job}/events": _actions("fine_tuning", GET="none"),
        **_resource("video", "/v1/videos", "video"),
        **_resource("file", "/v1/files", "file"),
        **_resource("file", "/v1/uploads", "upload"),
        **_resource("file", "/v1/vector_stores", "store"),
        **_resource("file", "/v1/containers", "container"),
        **_resource("batch", "/v1/batches", "batch"),
        **_resource("fine_tuning", "/v1/fine_tuning/jobs", "job"),
        **_resource("assistant", "/v1/assistants", "assistant"),
        **_resource("assistant", "/v1/threads", "thread"),
    }
)


def read(route: Route, head: Head, body: bytes) -> CallView:
    """The call in one request to the OpenAI API.

    Raises TurnAway (``unknown_route``, ``method_not_allowed``) and RequestRefused
    (``unreadable_body``, ``duplicate_keys``, ``content_encoding_unsupported``).
    """
    match = _TABLE.match(head.method, provider_path(route, head))
    return view(route, head, body, match, DIALECT, model=match.variables.get("model"))
