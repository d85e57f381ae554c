"""The Gemini API (Google AI and Vertex paths): which paths, which members, whose tools.

Owns: the method and path table, the model in the path, and the tools that Google runs. Refuses:
live (WebSocket) and tuning paths (not in the table).

Google's JSON takes every member as ``camelCase`` and as ``snake_case``: both are read, and an
object with both is refused.

Source: Gemini API reference (models, caching, files), Vertex AI generateContent reference,
ProtoJSON field names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.call import CallView, Head, Route
from gateway.errors import TurnAway
from gateway.protocols.dialect import CLIENT_RUN, Dialect, Members, ToolVerdict
from gateway.protocols.modelcall import view
from gateway.protocols.reading import Action, PathTable, provider_path

_CAPITAL: Final = re.compile(r"(?<=[a-z])([A-Z])")
_PROVIDER_RUNS: Final = frozenset(
    {
        "google_search",
        "google_search_retrieval",
        "enterprise_web_search",
        "google_maps",
        "code_execution",
        "url_context",
        "retrieval",
        "file_search",
        "computer_use",
        "mcp_servers",
    }
)


def judge_tool(tool: Members) -> list[ToolVerdict]:
    """Who runs what one entry of ``tools`` offers: each of its members is a tool of its own."""
    verdicts: list[ToolVerdict] = []
    for key, value in tool.items():
        name = _CAPITAL.sub(r"_\1", key).lower()
        if value is None or name == "function_declarations":
            verdicts.append(CLIENT_RUN)
        elif name in _PROVIDER_RUNS:
            verdicts.append(ToolVerdict(hosted=name))
        else:
            verdicts.append(ToolVerdict(unknown=name))
    return verdicts


_READ: Final = (
    *("model", "contents", "content", "parts", "text", "role", "tools", "functionDeclarations"),
    *("systemInstruction", "cachedContent", "fileUri", "inlineData", "fileData", "requests"),
    *("generateContentRequest", "type", "id", "source", "generationConfig", "maxOutputTokens"),
)
_REFERENCES: Final = ("cachedContent", "fileUri", "fileSearchStoreNames", "previousInteractionId")


def _both(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names) | {_CAPITAL.sub(r"_\1", name).lower() for name in names}


DIALECT: Final = Dialect(
    roles={
        "contents": "user",
        "content": "user",
        "requests": "user",
        "systemInstruction": "system",
        "system_instruction": "system",
        "tools": "system",
    },
    free=frozenset({"args", "response", "labels"}),
    read=_both(_READ),
    references=_both(_REFERENCES),
    tool=judge_tool,
    snake_equal=True,
)


_OUTPUT_LIMITS: Final = (
    "/generationConfig/maxOutputTokens",
    "/generationConfig/max_output_tokens",
    "/generation_config/max_output_tokens",
    "/generation_config/maxOutputTokens",
)


def _model_actions(model: str) -> dict[str, Mapping[str, Action]]:
    def post(action: Action) -> Mapping[str, Action]:
        return {"POST": action}

    return {
        f"{model}:generateContent": post(
            Action("generate_content", "json", output_limits=_OUTPUT_LIMITS)
        ),
        f"{model}:streamGenerateContent": post(
            Action("generate_content", "json", stream=True, output_limits=_OUTPUT_LIMITS)
        ),
        f"{model}:countTokens": post(Action("count_tokens", "json")),
        f"{model}:embedContent": post(Action("embedding", "json")),
        f"{model}:batchEmbedContents": post(Action("embedding", "json")),
        f"{model}:predict": post(Action("image", "json")),
        model: {"GET": Action("models", "none")},
    }


def _version(version: str) -> dict[str, Mapping[str, Action]]:
    vertex = f"/{version}/projects/{{project}}/locations/{{location}}/publishers/google/models"
    return {
        f"/{version}/models": {"GET": Action("models", "none")},
        **_model_actions(f"/{version}/models/{{model}}"),
        **_model_actions(f"{vertex}/{{model}}"),
        f"/{version}/cachedContents": {
            "GET": Action("file", "none"),
            "POST": Action("file", "json"),
        },
        f"/{version}/cachedContents/{{cache}}": {
            "GET": Action("file", "none"),
            "PATCH": Action("file", "json"),
            "DELETE": Action("file", "none"),
        },
        f"/{version}/files": {"GET": Action("file", "none"), "POST": Action("file", "upload")},
        f"/{version}/files/{{file}}": {
            "GET": Action("file", "none"),
            "DELETE": Action("file", "none"),
        },
    }


_TABLE: Final = PathTable({**_version("v1"), **_version("v1beta"), **_version("v1alpha")})
_OF_THE_ROUTE: Final = frozenset({"project", "location"})


def read(route: Route, head: Head, body: bytes) -> CallView:
    """The call in one request to the Gemini API.

    Raises TurnAway (``unknown_route``, ``method_not_allowed``) and RequestRefused
    (``unreadable_body``, ``duplicate_keys``, ``content_encoding_unsupported``).
    """
    match = _TABLE.match(head.method, provider_path(route, head))
    for name in _OF_THE_ROUTE:
        match.variables.pop(name, None)
    model = match.variables.get("model")
    if model is not None and ":" in model:
        raise TurnAway("unknown_route", "the model has no such method, or not for agents")
    return view(route, head, body, match, DIALECT, model=model)
