"""One call as every later step sees it, whatever provider's body it came in.

Owns: the values that pass between the steps of ``exchange.py``: peer, request head, call view,
principal, label. Refuses: behaviour. All are frozen; a step makes the next value, it never
changes the one before.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.vocabulary import Assurance, AttestedBy, Completeness, Level, Operation

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

ListenerKind = Literal["uds", "tcp", "tls"]
Protocol = Literal["openai", "anthropic", "gemini", "bedrock", "mcp", "http"]


class Absence(msgspec.Struct, frozen=True):
    """A record member that is null, and why (``vocabulary.ABSENCE_REASONS``)."""

    path: str
    reason: str


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Who is at the other end of a connection, as the kernel or TLS says.

    ``listener`` is the configured name (a metric label). ``agent`` is bound by configuration to
    this socket or uid; None until a token binds one. ``uid`` is None where the kernel can't tell.
    """

    listener: str
    kind: ListenerKind
    uid: int | None
    agent: str | None
    attested_by: AttestedBy | None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A request head that passed the strict check (``head.check_head``).

    ``target`` is origin-form, undecoded. ``headers``: lower-case name → value, as text
    (latin-1); no name stands twice: a second line of any name is refused or, for list-valued
    headers that RFC 9110 lets repeat, joined with ``", "``. ``duplicated``: headers that carry
    an identity and stood more than once; the first value is kept, and the call must be refused
    by the ruling ``identity_ambiguous``. ``version``: ``"1.0"`` or ``"1.1"``.
    """

    method: str
    target: str
    headers: dict[str, str]
    content_length: int | None
    chunked: bool
    expect_continue: bool
    keep_alive: bool
    version: str = "1.1"
    duplicated: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


class Segment(msgspec.Struct, frozen=True):
    """One text of a body. ``pointer``: RFC 6901 path. ``role``: system, user, assistant, tool …
    or ``""``; ``kind``: text, arguments, result, description, name, unknown …"""

    pointer: str
    role: str
    kind: str
    text: str


class CallView(msgspec.Struct, frozen=True, kw_only=True):
    """What a body asks for. Made by ``protocols``, read by classify, decide and recording.

    ``tool`` is the tool that *this* call runs (MCP tools/call, a tool route); ``args`` its parsed
    arguments and ``input`` their exact bytes. For model calls ``input`` is the UTF-8 of the last
    user text segment. ``hosted_tools``: tools that the provider would run; ``references``: stored
    objects it would read. ``opaque``: pointers of parts that no text scan can read.
    ``unknown_tools``: tool types this version does not know (denied). ``output_limits``: pointers
    of the members that bound how much the model answers, the one to set first, ``*`` for each
    item; ``end_user`` and ``cache_keys``: of those that name the end user to the provider, and of
    those that often hold such a name. All three whether or not the body has them. ``rpc_id``:
    JSON-RPC id as JSON text, None for notifications and other protocols.
    """

    protocol: Protocol
    operation: Operation
    provider: str | None
    model: str | None
    stream: bool
    tool: str | None = None
    tool_server: str | None = None
    tool_call_id: str | None = None
    args: Json = None
    input: bytes | None = None
    segments: tuple[Segment, ...] = ()
    hosted_tools: tuple[str, ...] = ()
    unknown_tools: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    output_limits: tuple[str, ...] = ()
    end_user: tuple[str, ...] = ()
    cache_keys: tuple[str, ...] = ()
    rpc_id: str | None = None
    rpc_notification: bool = False


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What the data of a call is. ``categories`` sorted; ``classifier`` = ``<pack>@<version>``."""

    level: Level
    categories: tuple[str, ...]
    completeness: Completeness
    classifier: str


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """For whom, by whom, with which rights. Lists are sorted; ``absent`` explains each null.

    ``agent_*`` other than ``agent_id`` are claims of the request and carry ``claimed:``.
    """

    person_id: str | None
    person_iss: str | None
    token_id: str | None
    assurance: Assurance
    agent_id: str | None
    attested_by: AttestedBy | None
    agent_name: str | None
    agent_version: str | None
    agent_session: str | None
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    delegation: tuple[str, ...]
    absent: tuple[Absence, ...]


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Where a route may send a call: one endpoint in one region, with one credential.

    ``base_path`` is put before what follows the route's prefix. ``credential_id`` names an entry
    of the credentials configuration; None sends none. ``gateway``: another one of ours stands
    there, and is told which decision the call comes from.
    """

    name: str
    host: str
    port: int
    tls: bool
    base_path: str
    region: str
    credential_id: str | None
    gateway: bool = False


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A path prefix bound to upstreams. ``server``: the tool server's or tool's name.

    ``request_headers`` and ``response_headers`` are allow-lists added to the protocol's own.
    """

    name: str
    prefix: str
    protocol: Protocol
    provider: str | None
    server: str | None
    upstreams: tuple[Upstream, ...]
    request_headers: frozenset[str]
    response_headers: frozenset[str]
    body_bytes_max: int
    idempotent: bool
    opaque_upload: bool
    first_byte_seconds_max: float
    stream_idle_seconds_max: float
    call_seconds_max: float
