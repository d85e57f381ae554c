"""What the walk over a body has to know about one provider's JSON, as a table.

Owns: the shape of that table and the rules that all dialects share. Refuses: walking
(``extract.py``) and the tables' contents (one module per provider).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from gateway.call import Json

Members = dict[str, Json]


class ToolVerdict(msgspec.Struct, frozen=True):
    """What an entry of a ``tools`` list is. ``hosted``: the provider would run it.

    ``unknown``: this version can't tell who would run it; policy denies those. Both None: the
    model only asks for it, and the agent runs it.
    """

    hosted: str | None = None
    unknown: str | None = None


CLIENT_RUN: Final = ToolVerdict()


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's members.

    ``roles``: top-level key → role of all text below it. ``free``: keys whose value is the
    caller's own data, in which no member is read by anyone but the caller's own code.
    ``read``: every member name that Gatepost reads, as the provider spells it; a key that
    differs from one only in case is refused, because the provider may read it all the same.
    ``references``: keys that name stored objects; ``object_references``: keys that do so only
    where their value is an object with an ``id``. ``model_lists``: keys that name further models
    to answer with. ``hosted_members``: top-level key → the hosted tool that it switches on.
    ``tool``: judges one entry of a tools list. ``bare_item_references``: an object of nothing
    but an ``id`` stands for a stored item.
    ``end_user`` and ``cache_keys``: as ``CallView`` has them.
    ``snake_equal``: the provider takes ``camelCase`` and ``snake_case`` for the same member.
    ``folds``, ``telling`` and ``is_lower`` are derived: the folded names of ``read``, the keys
    whose presence says something about tools, references or models, and whether the provider's
    names are all lower-case, so that lower-case keys need no look.
    """

    roles: Mapping[str, str]
    free: frozenset[str]
    read: frozenset[str]
    references: frozenset[str]
    tool: Callable[[Members], list[ToolVerdict]]
    object_references: frozenset[str] = frozenset()
    model_lists: frozenset[str] = frozenset()
    hosted_members: Mapping[str, str] = {}
    bare_item_references: bool = False
    end_user: tuple[str, ...] = ()
    cache_keys: tuple[str, ...] = ()
    snake_equal: bool = False
    folds: frozenset[str] = frozenset()
    telling: frozenset[str] = frozenset()
    is_lower: bool = True

    def __post_init__(self) -> None:
        # Derived once: the struct is frozen for everybody else.
        telling = self.references | self.object_references | self.model_lists
        telling |= {*self.hosted_members, "tools", "definition", "model"}
        msgspec.structs.force_setattr(self, "folds", frozenset(map(self.fold, self.read)))
        msgspec.structs.force_setattr(self, "telling", telling)
        is_lower = not self.snake_equal and all(map(str.islower, self.read))
        msgspec.structs.force_setattr(self, "is_lower", is_lower)

    def fold(self, key: str) -> str:
        """``key`` as the most lenient reader sees it."""
        folded = key.casefold()
        return folded.replace("_", "") if self.snake_equal else folded


ROLE_NAMES: Final[Mapping[str, str]] = {
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}

KINDS: Final[Mapping[str, str]] = {
    "text": "text",
    "content": "text",
    "contents": "text",
    "parts": "text",
    "prompt": "text",
    "input": "text",
    "messages": "text",
    "system": "text",
    "instructions": "text",
    "systemInstruction": "text",
    "system_instruction": "text",
    "query": "text",
    "documents": "text",
    "texts": "text",
    "thinking": "text",
    "refusal": "text",
    "arguments": "arguments",
    "args": "arguments",
    "output": "result",
    "name": "name",
    "title": "name",
    "filename": "name",
    "description": "description",
}
"""Key → kind of the strings below it; every other key gives ``unknown``."""

ROLE_BY_TYPE: Final[Mapping[str, str]] = {
    "tool_result": "tool",
    "function_call_output": "tool",
    "custom_tool_call_output": "tool",
    "computer_call_output": "tool",
    "local_shell_call_output": "tool",
    "shell_call_output": "tool",
    "apply_patch_call_output": "tool",
    "mcp_tool_result": "tool",
    "function_call": "assistant",
    "custom_tool_call": "assistant",
    "tool_use": "assistant",
    "server_tool_use": "assistant",
    "mcp_tool_use": "assistant",
    "reasoning": "assistant",
}
TOOL_INPUT_TYPES: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks whose ``input`` is a tool's arguments."""

SCHEMA_KEYS: Final = frozenset(
    {
        "parameters",
        "input_schema",
        "inputSchema",
        "output_schema",
        "outputSchema",
        "schema",
        "requestedSchema",
        "responseSchema",
        "response_schema",
        "responseJsonSchema",
        "response_json_schema",
        "parametersJsonSchema",
        "parameters_json_schema",
    }
)
"""Keys that hold a JSON Schema: its property names are the caller's, of any spelling."""

OPAQUE_TYPES: Final = frozenset(
    {
        "image_url",
        "input_image",
        "input_audio",
        "input_video",
        "input_file",
        "file",
        "image",
        "audio",
        "video",
        "video_url",
        "document",
        "container_upload",
    }
)
"""``type`` of a content part that no text scan reads, unless its source is plain text."""
OPAQUE_KEYS: Final = frozenset(
    {"inlineData", "inline_data", "fileData", "file_data", "image", "video", "document", "audio"}
)
"""Keys of a content part without ``type`` that hold such data (Gemini, Bedrock Converse)."""
READABLE_SOURCES: Final = frozenset({"text", "content"})
"""``source.type`` of an Anthropic document that is plain text after all."""
PAYLOAD_KEYS: Final = frozenset({"data", "bytes", "file_data", "b64_json"})
"""Strings inside an opaque part that are its encoded bytes."""
