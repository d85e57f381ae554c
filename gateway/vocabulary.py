"""The closed lists of words that records, policy paths, configuration and errors share.

Owns: which words exist. Refuses: meaning; what a word does stands where it is used. Writers
refuse words that are not here (``record.check_words``); stores keep them, so that a store may be
older than a writer.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from gateway.errors import CODES

Assurance = Literal["delegated", "user_token", "workload", "none"]
Level = Literal["public", "internal", "confidential", "restricted"]
Completeness = Literal["full", "partial", "opaque"]
Outcome = Literal["allow", "deny", "approval_required", "error_closed", "error_open"]
Stage = Literal["request", "response", "server"]
Topology = Literal["sidecar", "inline", "regional", "tenant", "central"]
AttestedBy = Literal["uds_uid", "tcp_uid", "local_token", "mtls", "jwt_svid", "k8s_sa"]
PolicyState = Literal["empty", "fresh", "stale", "expired", "locked"]
RecordCommit = Literal["before_forward", "before_response"]
CompletionOutcome = Literal[
    "ok", "upstream_error", "client_abort", "response_blocked", "timeout", "shutdown"
]
ExceptionCode = Literal["duplicate", "rejected", "fork", "sealed", "retry"]
InstanceState = Literal["open", "silent", "sealed", "recovered", "forked", "lost", "uncertified"]
ClockSource = Literal["synchronised", "unsynchronised", "unknown", "simulated"]
Operation = Literal[
    "chat",
    "completion",
    "response",
    "message",
    "generate_content",
    "converse",
    "embedding",
    "rerank",
    "moderation",
    "image",
    "audio",
    "video",
    "file",
    "batch",
    "fine_tuning",
    "assistant",
    "count_tokens",
    "models",
    "tool_call",
    "tool_list",
    "tool_session",
    "tool_notification",
    "resource_read",
    "resource_list",
    "prompt_get",
    "prompt_list",
    "completion_list",
    "sampling",
    "elicitation",
    "roots_list",
    "http_call",
    "unknown",
]
"""What a call asks for, over all providers: policy names these, never a provider's paths."""

AbsenceReason = Literal[
    "no_delegation_token",
    "token_rejected",
    "not_in_token",
    "not_bound",
    "not_stated",
    "not_applicable",
    "not_classified",
    "not_read",
    "not_routed",
    "no_policy",
    "clock_unknown",
    "too_large",
]
StartReason = Literal["first_start", "predecessor_unreadable"]
"""Why ``start.continues`` is null."""

# Words that a ruling's ``reason`` has beside the refusal codes.
_REASONS_OF_POLICY: Final = frozenset(
    {
        "granted",
        "no_grant",
        "restricted",
        "hosted_tool_denied",
        "reference_denied",
        "unknown_tool_type",
        "upstream_not_permitted",
        "fail_open",
    }
)

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""In order: ``public < internal < confidential < restricted``."""
LEVEL_WITHOUT_FINDING: Final[Level] = "internal"
"""Nothing proves that a text is public."""

DECISION_REASONS: Final[frozenset[str]] = (
    _REASONS_OF_POLICY
    | frozenset(name for name, code in CODES.items() if code.kind == "ruling")
    | frozenset({"body_too_large", "content_encoding_unsupported"})
)

ASSURANCES: Final[frozenset[str]] = frozenset(get_args(Assurance))
COMPLETENESSES: Final[frozenset[str]] = frozenset(get_args(Completeness))
OUTCOMES: Final[frozenset[str]] = frozenset(get_args(Outcome))
STAGES: Final[frozenset[str]] = frozenset(get_args(Stage))
TOPOLOGIES: Final[frozenset[str]] = frozenset(get_args(Topology))
ATTESTATIONS: Final[frozenset[str]] = frozenset(get_args(AttestedBy))
POLICY_STATES: Final[frozenset[str]] = frozenset(get_args(PolicyState))
RECORD_COMMITS: Final[frozenset[str]] = frozenset(get_args(RecordCommit))
COMPLETION_OUTCOMES: Final[frozenset[str]] = frozenset(get_args(CompletionOutcome))
EXCEPTION_CODES: Final[frozenset[str]] = frozenset(get_args(ExceptionCode))
INSTANCE_STATES: Final[frozenset[str]] = frozenset(get_args(InstanceState))
CLOCK_SOURCES: Final[frozenset[str]] = frozenset(get_args(ClockSource))
OPERATIONS: Final[frozenset[str]] = frozenset(get_args(Operation))
ABSENCE_REASONS: Final[frozenset[str]] = frozenset(get_args(AbsenceReason))
START_REASONS: Final[frozenset[str]] = frozenset(get_args(StartReason))

LEVEL_RANK: Final[dict[str, int]] = {level: rank for rank, level in enumerate(LEVELS)}

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,62}\Z"
"""Tenant, region, route, agent, upstream and tool-server names."""
CATEGORY_PATTERN: Final = r"^[a-z0-9_]+(\.[a-z0-9_]+)*\Z"
