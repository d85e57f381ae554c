"""The policy that the whole system is tested with: one rule for each thing that rules can do."""

from __future__ import annotations

from copy import deepcopy
from typing import Final

import msgspec

Document = dict[str, object]

MODEL: Final = "gpt-4o-mini"
CLAUDE: Final = "claude-sonnet-5-5"
DENIED_MODEL: Final = "gpt-4-unapproved"
APPROVAL_MODEL: Final = "needs-approval"
REDACTION_MODEL: Final = "needs-redaction"
REDACTION_CLAUDE: Final = "claude-needs-redaction"
PEOPLES_MODEL: Final = "needs-a-person"
WRITERS_MODEL: Final = "needs-a-scope"

_POLICY: Final[Document] = {
    "groups": {"models": [MODEL, "gpt-5.4", "claude-*", "text-embedding-*", "fault-*", "needs-*"]},
    "grants": [
        {
            "id": "chat",
            "actions": ["chat", "response", "message", "count_tokens", "embedding"],
            "models": ["@models"],
            "when": {"at_most": ["data.level", "confidential"]},
        },
        {"id": "models", "actions": ["models"]},
        {"id": "files", "actions": ["file"], "routes": ["uploads"]},
        {
            "id": "sessions",
            "actions": ["tool_session", "tool_list", "tool_notification"],
        },
        {"id": "look-up", "actions": ["tool_call"], "tools": ["orders/lookup_order"]},
        {
            "id": "small-refunds",
            "actions": ["tool_call"],
            "tools": ["orders/refund"],
            "when": {"all": [{"le": ["args.amount", 500]}, {"eq": ["args.currency", "EUR"]}]},
        },
    ],
    "restrictions": [
        {
            "id": "no-restricted-data",
            "effect": "deny",
            "actions": ["*"],
            "when": {"at_least": ["data.level", "restricted"]},
        },
        {
            "id": "ask-first",
            "effect": "require_approval",
            "actions": ["chat"],
            "models": [APPROVAL_MODEL],
        },
        {
            "id": "people-only",
            "effect": "deny",
            "actions": ["chat"],
            "models": [PEOPLES_MODEL],
            "when": {"not": {"in": ["person.assurance", ["delegated", "user_token"]]}},
        },
        {
            "id": "writers-only",
            "effect": "deny",
            "actions": ["chat"],
            "models": [WRITERS_MODEL],
            "when": {"not": {"has": ["authz.scopes", "llm.write"]}},
        },
        {
            "id": "redact-addresses",
            "effect": "oblige",
            "actions": ["chat", "response", "message"],
            "models": [REDACTION_MODEL, REDACTION_CLAUDE],
            "obligations": [
                {"redact": {"categories": ["pii.email"]}},
                {"pseudonymise_user": True},
                {"max_output_tokens": 200},
            ],
        },
        {
            "id": "redact-arguments",
            "effect": "oblige",
            "actions": ["tool_call"],
            "tools": ["orders/lookup_order"],
            "when": {"has": ["data.categories", "pii.email"]},
            "obligations": [{"redact": {"categories": ["pii.email"]}}],
        },
    ],
    "recordable": ["args.amount", "args.currency"],
    "show_rule_ids": True,
    # No margin: a key without a certificate may decide nothing.
    "uncertified_seconds_max": 0,
}


def rules(**changed: object) -> bytes:
    """The policy as JSON, top-level members replaced by ``changed``."""
    return msgspec.json.encode({**deepcopy(_POLICY), **changed})
