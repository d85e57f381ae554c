"""The Anthropic API: which paths, which members, whose tools.

Owns: the method and path table, and telling tools that Anthropic runs (search, fetch, code
execution, MCP connector, advisor) from those whose calls come back to the agent (bash, text
editor, computer, browser, memory: Anthropic defines them, the agent runs them). Refuses:
organisation, managed-agent and administration paths (not in the table).

Source: the Anthropic API reference and the request types of its Python SDK.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.call import CallView, Head, Route
from gateway.protocols.dialect import CLIENT_RUN, Dialect, Members, ToolVerdict
from gateway.protocols.modelcall import view
from gateway.protocols.reading import Action, PathTable, provider_path

_DATED: Final = re.compile(r"_\d{8}$")

_AGENT_RUNS: Final = frozenset(
    {"custom", "bash", "text_editor", "computer", "computer_toolset", "browser_toolset", "memory"}
)
_PROVIDER_RUNS: Final[Mapping[str, str]] = {
    "web_search": "web_search",
    "web_fetch": "web_fetch",
    "code_execution": "code_execution",
    "tool_search_tool_bm25": "tool_search",
    "tool_search_tool_regex": "tool_search",
    "advisor": "advisor",
    "mcp_toolset": "mcp",
}


def judge_tool(tool: Members) -> list[ToolVerdict]:
    """Who runs one entry of ``tools``; dated names are given without their date."""
    stated = tool.get("type")
    if stated is None:
        # Tools of the agent may leave the type out; they always have a schema.
        has_schema = isinstance(tool.get("input_schema"), dict)
        return [CLIENT_RUN if has_schema else ToolVerdict(unknown="untyped")]
    if not isinstance(stated, str):
        return [ToolVerdict(unknown="untyped")]
    name = _DATED.sub("", stated)
    if name in _AGENT_RUNS:
        return [CLIENT_RUN]
    if name in _PROVIDER_RUNS:
        return [ToolVerdict(hosted=_PROVIDER_RUNS[name])]
    return [ToolVerdict(unknown=name)]


DIALECT: Final = Dialect(
    roles={"messages": "user", "system": "system", "tools": "system", "prompt": "user"},
    free=frozenset({"metadata"}),
    read=frozenset(
        {
            *("model", "stream", "messages", "system", "tools", "type", "role", "content", "text"),
            *("source", "definition", "container", "container_id", "file_id", "mcp_servers"),
            *("fallbacks", "thread", "input_schema", "requests", "params", "url", "skill_id", "id"),
            *("max_tokens", "max_tokens_to_sample", "metadata"),
        }
    ),
    references=frozenset(
        {"container", "container_id", "file_id", "skill_id", "previous_message_id"}
    ),
    object_references=frozenset({"thread"}),
    model_lists=frozenset({"fallbacks"}),
    hosted_members={"mcp_servers": "mcp"},
    tool=judge_tool,
    end_user=("/metadata/user_id",),
)

OF_MESSAGES: Final = ("/max_tokens", "/fallbacks/*/max_tokens")
"""A model that answers in the place of another has a limit of its own."""
_OF_COMPLETE: Final = ("/max_tokens_to_sample",)

_POST: Final = {"POST": Action("message", "json", output_limits=OF_MESSAGES)}
_GET_MODELS: Final = {"GET": Action("models", "none")}
_BATCH: Final = "/v1/messages/batches/{batch}"
_TABLE: Final = PathTable(
    {
        "/v1/messages": _POST,
        "/v1/messages/count_tokens": {"POST": Action("count_tokens", "json")},
        "/v1/complete": {"POST": Action("completion", "json", output_limits=_OF_COMPLETE)},
        "/v1/messages/batches": {
            "POST": Action("batch", "json"),
            "GET": Action("batch", "none"),
        },
        _BATCH: {"GET": Action("batch", "none"), "DELETE": Action("batch", "none")},
        f"{_BATCH}/results": {"GET": Action("batch", "none")},
        f"{_BATCH}/cancel": {"POST": Action("batch", "json_or_none")},
        "/v1/models": _GET_MODELS,
        "/v1/models/{model}": _GET_MODELS,
        "/v1/files": {"GET": Action("file", "none"), "POST": Action("file", "upload")},
        "/v1/files/{file}": {"GET": Action("file", "none"), "DELETE": Action("file", "none")},
        "/v1/files/{file}/content": {"GET": Action("file", "none")},
    }
)


def read(route: Route, head: Head, body: bytes) -> CallView:
    """The call in one request to the Anthropic API.

    A batch names a model per request: they are references ``model:<name>``. Raises TurnAway
    (``unknown_route``, ``method_not_allowed``) and RequestRefused (``unreadable_body``,
    ``duplicate_keys``, ``content_encoding_unsupported``).
    """
    match = _TABLE.match(head.method, provider_path(route, head))
    return view(route, head, body, match, DIALECT, model=match.variables.get("model"))
