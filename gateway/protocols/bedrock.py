"""The Bedrock runtime API: converse and invoke, plain and streamed.

Owns: the method and path table, the model id in the path (percent-decoded for policy; the
target that goes upstream keeps its own spelling), and whose tools are whose. Refuses: signing
(SigV4 is the upstream connection's) and the control plane.

Source: Amazon Bedrock Runtime API reference (Converse, InvokeModel).
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.call import CallView, Head, Route
from gateway.protocols import anthropic
from gateway.protocols.dialect import CLIENT_RUN, Dialect, Members, ToolVerdict
from gateway.protocols.modelcall import view
from gateway.protocols.reading import Action, PathTable, provider_path


def judge_tool(tool: Members) -> list[ToolVerdict]:
    """Who runs one entry of ``tools``: Converse's own shape, else the model's native one."""
    if "systemTool" in tool:
        system = tool["systemTool"]
        name = system.get("name") if isinstance(system, dict) else None
        return [ToolVerdict(hosted=name if isinstance(name, str) else "system_tool")]
    if "toolSpec" in tool or "cachePoint" in tool:
        others = tool.keys() - {"toolSpec", "cachePoint"}
        return [ToolVerdict(unknown=key) for key in sorted(others)] or [CLIENT_RUN]
    return anthropic.judge_tool(tool)


DIALECT: Final = Dialect(
    roles={
        "messages": "user",
        "system": "system",
        "toolConfig": "system",
        "tools": "system",
        "prompt": "user",
        "inputText": "user",
        "texts": "user",
    },
    free=frozenset({"json", "input", "requestMetadata", "metadata", "promptVariables"}),
    read=anthropic.DIALECT.read
    | {
        *("toolConfig", "toolSpec", "systemTool", "cachePoint", "additionalModelRequestFields"),
        *("image", "document", "video", "bytes", "s3Location", "uri", "promptVariables"),
    },
    references=anthropic.DIALECT.references | {"uri"},
    object_references=anthropic.DIALECT.object_references,
    model_lists=anthropic.DIALECT.model_lists,
    hosted_members=anthropic.DIALECT.hosted_members,
    tool=judge_tool,
)

_STORED_PROMPT: Final = ":prompt/"
"""In the ARN of a prompt that the provider holds, which may stand where a model id does."""

_TABLE: Final = PathTable(
    {
        "/model/{model}/converse": {"POST": Action("converse", "json")},
        "/model/{model}/converse-stream": {"POST": Action("converse", "json", stream=True)},
        "/model/{model}/invoke": {"POST": Action("converse", "json")},
        "/model/{model}/invoke-with-response-stream": {
            "POST": Action("converse", "json", stream=True)
        },
        "/model/{model}/count-tokens": {"POST": Action("count_tokens", "json")},
    }
)


def read(route: Route, head: Head, body: bytes) -> CallView:
    """The call in one request to the Bedrock runtime.

    Raises TurnAway (``unknown_route``, ``method_not_allowed``) and RequestRefused
    (``unreadable_body``, ``duplicate_keys``, ``content_encoding_unsupported``).
    """
    match = _TABLE.match(head.method, provider_path(route, head))
    model = match.variables["model"]
    call = view(route, head, body, match, DIALECT, model=model)
    if _STORED_PROMPT in model:
        call = msgspec.structs.replace(call, references=(*call.references, model))
    return call
