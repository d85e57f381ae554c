"""The Bedrock runtime API: converse and invoke, plain and streamed.

Owns: the method and path table, the model id in the path (percent-decoded for policy; the
target that goes upstream keeps its own spelling), and whose tools are whose. Refuses: signing
(SigV4 is the upstream connection's) and the control plane.

Source: Amazon Bedrock Runtime API reference (Converse, InvokeModel).
"""

from __future__ import annotations

from collections.abc import Mapping
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
        *("inferenceConfig", "maxTokens", "max_gen_len", "textGenerationConfig", "maxTokenCount"),
    },
    references=anthropic.DIALECT.references | {"uri"},
    object_references=anthropic.DIALECT.object_references,
    model_lists=anthropic.DIALECT.model_lists,
    hosted_members=anthropic.DIALECT.hosted_members,
    tool=judge_tool,
    end_user=("/metadata/user_id", "/additionalModelRequestFields/metadata/user_id"),
)

_EXTRA: Final = "/additionalModelRequestFields"
_OF_CONVERSE: Final = (
    "/inferenceConfig/maxTokens",
    *(f"{_EXTRA}/{name}" for name in ("max_tokens", "max_gen_len", "max_new_tokens")),
    f"{_EXTRA}/inferenceConfig/maxTokens",
    f"{_EXTRA}/textGenerationConfig/maxTokenCount",
)
"""Fields that go to the model as they are may bound it, too; they are lowered, never set."""
_OF_INVOKE: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic.": anthropic.OF_MESSAGES,
    "mistral.": ("/max_tokens",),
    "meta.": ("/max_gen_len",),
    "amazon.nova-": ("/inferenceConfig/maxTokens", "/inferenceConfig/max_new_tokens"),
    "amazon.titan-text-": ("/textGenerationConfig/maxTokenCount",),
}
"""Family in the model id → the members of its native body. Of others nothing is known."""

_STORED_PROMPT: Final = ":prompt/"
"""In the ARN of a prompt that the provider holds, which may stand where a model id does."""

_TABLE: Final = PathTable(
    {
        "/model/{model}/converse": {"POST": Action("converse", "json", output_limits=_OF_CONVERSE)},
        "/model/{model}/converse-stream": {
            "POST": Action("converse", "json", stream=True, output_limits=_OF_CONVERSE)
        },
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
    if not call.output_limits and match.action.operation == "converse":
        call = msgspec.structs.replace(call, output_limits=_native_limits(model))
    if _STORED_PROMPT in model:
        call = msgspec.structs.replace(call, references=(*call.references, model))
    return call


def _native_limits(model: str) -> tuple[str, ...]:
    """By the family that ``model`` names: an id or a system profile (``eu.anthropic.…``), or the
    ARN of either."""
    name = model.rpartition("/")[2]
    for family, limits in _OF_INVOKE.items():
        if name.startswith(family) or name.partition(".")[2].startswith(family):
            return limits
    return ()
