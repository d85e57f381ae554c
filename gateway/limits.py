"""Every bound in the system, each with its reason. Nothing in Gatepost is unbounded.

Owns: numbers. Refuses: logic. Units stand last in each name. A bound that an operator may
move is the *default* of a configuration field of the same name; the others are laws.
"""

from __future__ import annotations

from typing import Final

# -- HTTP ---------------------------------------------------------------------------------
HEAD_BYTES_MAX: Final = 32 * 1024
"""Delegation tokens reach 8 KiB and SDKs add a dozen headers; nginx and Envoy sit at 32-60 KiB."""
HEADERS_MAX: Final = 100
TARGET_BYTES_MAX: Final = 8 * 1024
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""A long-context prompt is ~4 MiB; images in base64 take the rest. The body is held in memory
whole, because it is classified before it is forwarded."""
CONNECTIONS_MAX: Final = 1_024
CALLS_IN_FLIGHT_MAX: Final = 256
BODIES_IN_MEMORY_BYTES_MAX: Final = 256 * 1024 * 1024
HEAD_SECONDS_MAX: Final = 10.0
"""Absolute, not per read: a per-read timeout keeps every slow-head connection open."""
BODY_SECONDS_MAX: Final = 60.0
KEEP_ALIVE_IDLE_SECONDS_MAX: Final = 300.0
UPSTREAM_CONNECT_SECONDS_MAX: Final = 10.0
UPSTREAM_FIRST_BYTE_SECONDS_MAX: Final = 300.0
"""Reasoning models think for minutes before their first byte."""
STREAM_IDLE_SECONDS_MAX: Final = 300.0
CALL_SECONDS_MAX: Final = 3_600.0
CUT_ANSWER_SECONDS_MAX: Final = 0.5
"""To tell a call that is cut before its answer began why: below the second that a stop waits."""
UPSTREAM_CONNECTIONS_IDLE_MAX: Final = 64
UPSTREAM_IDLE_SECONDS_MAX: Final = 55.0
"""Below the 60 s at which most load balancers drop an idle connection."""
HANG_UP_SECONDS: Final = 0.1
"""How often a call that waits for its upstream is asked whether its application is still there."""
CHUNK_BYTES: Final = 64 * 1024
CHUNK_LINE_BYTES_MAX: Final = 4 * 1024
"""A chunk size with its extensions, or all trailers: nobody needs more, and both are dropped."""
CHUNK_OVERHEAD_BYTES_MAX: Final = 16 * 1024
"""Framing of a chunked request beyond one byte per body byte: one-byte chunks cost us more
time than the caller."""
INFORMATIONAL_ANSWERS_MAX: Final = 16
"""1xx heads of an upstream before its answer; each is skipped."""
LINGER_BYTES_MAX: Final = 256 * 1024
LINGER_SECONDS_MAX: Final = 2.0
"""After a refusal that leaves request bytes unread: closing at once would reset the connection,
and the caller would lose the answer (RFC 9112 section 9.6)."""
CONNECTIONS_REFUSED_MAX: Final = 64
"""Connections over CONNECTIONS_MAX that are being told so; more are closed without a word."""

# -- sockets ------------------------------------------------------------------------------
LISTEN_BACKLOG: Final = 1_024
"""Connections that wait for accept; the kernel cuts it to net.core.somaxconn (4096)."""
UNIX_PATH_BYTES_MAX: Final = 107
"""``sun_path`` has 108 bytes with its closing zero (unix(7))."""
FREE_PORT_ATTEMPTS_MAX: Final = 32
"""A port free on 127.0.0.1 may be taken on ::1; the kernel draws the first one at random."""
UPSTREAM_ADDRESSES_MAX: Final = 8
"""Addresses of one name that are tried: more would each get too small a share of the time."""
KEEP_ALIVE_PROBE_SECONDS: Final = 45
"""Below the 4 minutes at which common NAT gateways forget a silent connection: a reasoning
model may be silent longer than that."""

# -- JSON that callers send ---------------------------------------------------------------
JSON_DEPTH_MAX: Final = 64
JSON_INTEGER_MAX: Final = 2**53 - 1
"""Beyond it two readers of one body may see two numbers (RFC 8259 section 6)."""
JSON_NUMBER_CHARACTERS_MAX: Final = 64
"""The longest shortest-form double has 24; policy compares exact decimals, whose cost is their
length."""
JSON_IN_STRING_DEPTH_MAX: Final = 3
"""JSON text inside a JSON string (tool arguments, tool results) is opened this many times."""
POINTER_CHARACTERS_MAX: Final = 96
"""A JSON pointer in an error's detail is cut here: its keys came from the caller."""
RPC_BATCH_MAX: Final = 32
"""Messages in one JSON-RPC batch: each reserves records of its own."""

# -- what upstreams answer ----------------------------------------------------------------
OBSERVED_JSON_BYTES_MAX: Final = 1024 * 1024
"""A whole JSON answer is held this far to read usage; a larger one passes by unread."""
STREAM_EVENT_BYTES_MAX: Final = 1024 * 1024
"""One server-sent event. The largest real ones (a final response object, an image part) stay
below; what is larger passes by unread, except on tool-server streams, where it ends the stream."""

# -- identity ------------------------------------------------------------------------------
TOKEN_BYTES_MAX: Final = 8 * 1024
TOKEN_CACHE_ENTRIES_MAX: Final = 4_096
TOKEN_CACHE_SECONDS_MAX: Final = 300
ACTOR_DEPTH_MAX: Final = 4
IDENTITY_FAILURES_PER_SECOND_MAX: Final = 20
DENIALS_PER_SECOND_MAX: Final = 20
DENIALS_BURST_MAX: Final = 200
"""A denial loop must not fill the spool for everybody."""
PARENT_HOPS_MAX: Final = 4

# -- classification ------------------------------------------------------------------------
SCAN_BYTES_MAX: Final = 1024 * 1024
SCAN_ON_LOOP_BYTES_MAX: Final = 64 * 1024
"""hyperscan needs about 0.5 ms for 64 KiB; more goes to a worker thread."""
SCAN_EVENTS_MAX: Final = 20_000
SCAN_CANDIDATES_PER_RULE_MAX: Final = 256
SEGMENTS_MAX: Final = 20_000

# -- records -------------------------------------------------------------------------------
RECORD_BYTES_MAX: Final = 16 * 1024
"""Reserved per record before a call is forwarded; see the caps below."""
FACTS_BYTES_MAX: Final = 4 * 1024
FACT_SCALAR_BYTES_MAX: Final = 64

# Caps of single values, in bytes of their JSON text (quotes not counted), and of lists, in
# elements. ``tests/unit/gateway/test_record_caps.py`` builds the largest record they allow and
# holds it below RECORD_BYTES_MAX.
NAME_BYTES_MAX: Final = 63
PERSON_ID_BYTES_MAX: Final = 256
PERSON_ISS_BYTES_MAX: Final = 256
TOKEN_ID_BYTES_MAX: Final = 128
AGENT_ID_BYTES_MAX: Final = 256
AGENT_LABEL_BYTES_MAX: Final = 96
ROLES_MAX: Final = 16
SCOPES_MAX: Final = 16
ROLE_BYTES_MAX: Final = 56
DELEGATION_MAX: Final = 4
DELEGATION_BYTES_MAX: Final = 128
CATEGORIES_MAX: Final = 16
CATEGORY_BYTES_MAX: Final = 32
CLASSIFIER_BYTES_MAX: Final = 96
"""``<pack>@<version>``."""
ENGINE_BYTES_MAX: Final = 32
SHADOW_BYTES_MAX: Final = 128
MODEL_BYTES_MAX: Final = 128
TOOL_BYTES_MAX: Final = 128
TOOL_CALL_ID_BYTES_MAX: Final = 96
UPSTREAMS_MAX: Final = 4
HOSTED_TOOLS_MAX: Final = 8
HOSTED_TOOL_BYTES_MAX: Final = 48
REFERENCES_MAX: Final = 8
REFERENCE_BYTES_MAX: Final = 64
RULES_MAX: Final = 8
RULE_ID_BYTES_MAX: Final = 48
OBLIGATIONS_MAX: Final = 6
OBLIGATION_BYTES_MAX: Final = 64
ABSENT_MAX: Final = 25
"""Every member of the eight fields that can be null, once."""
CUTS_MAX: Final = 6
PATH_BYTES_MAX: Final = 48
TRACE_BYTES_MAX: Final = 55
"""A W3C traceparent is exactly 55 characters."""
EXT_MAX: Final = 2
EXT_NAME_BYTES_MAX: Final = 32
EXT_BYTES_MAX: Final = 64
ATTEMPTS_MAX: Final = 4
FINISH_REASONS_MAX: Final = 8
FINISH_REASON_BYTES_MAX: Final = 32
REQUEST_ID_BYTES_MAX: Final = 96
DAMAGED_RANGES_MAX: Final = 64
QUARANTINED_MAX: Final = 32
QUARANTINED_FILE_BYTES_MAX: Final = 96
BUILD_BYTES_MAX: Final = 96
ADMIN_TEXT_BYTES_MAX: Final = 512
ADMIN_PARAMETERS_MAX: Final = 32
ADMIN_PARAMETER_BYTES_MAX: Final = 256
ATTESTATION_BYTES_MAX: Final = 256
"""Issuer and subject in a certificate, which stands in start, heartbeat and rotate."""
LOG_ORIGIN_BYTES_MAX: Final = 400
"""``<host>/log/<tenant>/<region>/<n>``: a host name has 253 characters, the others NAME."""
LISTENERS_MAX: Final = 8
LISTENER_NAME_BYTES_MAX: Final = 32
"""Both bound ``counters.turned_away``: codes x listeners must fit one heartbeat."""

# -- spool ---------------------------------------------------------------------------------
SEGMENT_BYTES: Final = 4 * 1024 * 1024
SEGMENT_BYTES_MIN: Final = 256 * 1024
"""Room for the kept bytes and a dozen of the largest records."""
SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Recovery holds one segment in memory."""
SPOOL_BYTES_MAX: Final = 256 * 1024 * 1024
SPOOL_KEPT_BYTES: Final = 64 * 1024
"""Kept for heartbeat, rotate, recovered and seal, so that a full spool can still say so."""
SPOOL_HIGH_WATER_PERCENT: Final = 95
SPOOL_LOW_WATER_PERCENT: Final = 85
BATCH_RECORDS_MAX: Final = 256
BATCH_BYTES_MAX: Final = 1024 * 1024
SEGMENT_WAIT_SECONDS_MAX: Final = 20.0
"""How long records that were promised room wait for a volume that has none: then fail-stop."""
SPOOL_AGE_SECONDS_MAX: Final = 7 * 24 * 3600
"""A record that reaches its store later is graded late: no outage that is looked after lasts so
long."""
SPOOL_LINGER_SECONDS: Final = 0.02
"""How long a record that nobody waits for (a completion) may wait for others to share a sync."""
QUARANTINE_SECONDS_MAX: Final = 30 * 24 * 3600
SPOOL_FREE_BYTES_MIN: Final = 16 * 1024 * 1024
"""No new segment on a volume with less: the kubelet evicts before a disk is quite full."""
SPOOL_PRESSURE_PERCENT: Final = 80
SEGMENT_FILL_BYTES: Final = 256 * 1024
"""Zero bytes written and synced at a time while a segment is prepared: commits get in between."""
VOLUME_LOOK_SECONDS: Final = 10.0
"""Between two looks at the free bytes of the volume, for the status: others write there too."""
SEGMENT_RETRY_SECONDS: Final = 5.0
"""How long to wait before another segment is tried on a volume that had no room."""

# -- shipping ------------------------------------------------------------------------------
SHIP_RECORDS_MAX: Final = 500
SHIP_BYTES_MAX: Final = 4 * 1024 * 1024
SHIP_RETRY_SECONDS_MAX: Final = 30.0
SHIP_RETRY_SECONDS_FIRST: Final = 0.5
SHIP_LINGER_SECONDS: Final = 0.2
"""A lone record waits this long for company: a request a record would cost more than the call."""
SHIP_REFUSALS_MAX: Final = 3
"""A record refused alone this often is poison, and is set aside."""
SHIP_POISONED_MAX: Final = 10
"""So many set aside with no success between them is not poison but a store that reads another
format; nothing more is set aside."""
SHIP_SET_ASIDE_SECONDS: Final = 300.0
"""How long a dead instance waits whose records the store does not let us ship."""
SHIP_DEAD_TRIES_MAX: Final = 5
"""A batch of a dead instance that fails this often waits as long, if our own records wait too."""
SHIP_SILENCE_SECONDS: Final = 120.0
"""Two refresh intervals with records waiting and none taken: the alarm ``not_shipping``."""
RETRY_AFTER_SECONDS_MAX: Final = 300.0
SERVICE_SECONDS_MAX: Final = 10.0
SERVICE_ANSWER_BYTES_MAX: Final = 1024 * 1024
SERVICE_CONNECTIONS_MAX: Final = 4
"""Per central service: a long poll, a batch, a chain head and one to spare."""
SERVICE_IDLE_SECONDS_MAX: Final = 4.0
"""Below the 5 s after which uvicorn drops an idle connection: a POST that may not be repeated
should not meet a closing one."""
HEARTBEAT_SECONDS_MAX: Final = 15 * 60
CHAIN_HEAD_SECONDS: Final = 60.0
MISSING_RANGES_MAX: Final = 100
"""Of acknowledged records that a store lacks, in its answer to one chain-head."""
MISSING_ROWS_MAX: Final = 30_000
"""Of one chain looked at for them, the newest: more than a segment of the usual size holds."""

# -- policy --------------------------------------------------------------------------------
POLICY_HEAD_BYTES_MAX: Final = 16 * 1024
POLICY_BUNDLE_BYTES_MAX: Final = 8 * 1024 * 1024
POLICY_ROOT_BYTES_MAX: Final = 64 * 1024
POLICY_RULES_MAX: Final = 5_000
POLICY_CONDITION_DEPTH_MAX: Final = 8
POLICY_CONDITIONS_PER_RULE_MAX: Final = 64
POLICY_PATH_BYTES_MAX: Final = 128
POLICY_TESTS_MAX: Final = 1_000
"""Self-tests run before each activation; with 1 000 rules they stay below 0.1 s."""
POLICY_CANDIDATES_KEPT_MAX: Final = 1_024
"""Distinct call targets whose candidate rules are remembered; more start the memory anew."""
POLICY_ENVELOPE_SPARE_BYTES: Final = 16 * 1024
"""Beside the base64 of the payload: room for 60 signatures."""
POLICY_BLOBS_KEPT_MAX: Final = 8
PLACEMENT_CHARACTERS_MAX: Final = 253
"""A daemon's name among those of a scope: as long as a DNS name."""
POLICY_QUARANTINED_MAX: Final = 4
OPEN_ON_EXPIRED_SECONDS_MAX: Final = 24 * 3600
POLICY_REFRESH_NOW_SECONDS_MIN: Final = 1.0
"""Between two refreshes asked for by hand, so that a loop of them is no load on the service."""
POLICY_WAIT_SECONDS_MAX: Final = 55
"""Of one long poll: proxies often end a request that is silent for a minute."""
POLICY_REPORT_SECONDS: Final = 300.0
POLICY_REPORT_SKEW_SECONDS_MAX: Final = 300
"""Of a report's signed time: one that was overheard earlier says nothing any more."""
POLICY_VERSION_JUMP_MAX: Final = 1_000_000
REFRESH_SECONDS_MIN: Final = 30.0
REFRESH_SECONDS_MAX: Final = 60.0
ROOT_WALK_MAX: Final = 32

# -- keys and time -------------------------------------------------------------------------
CLOCK_STATE_SECONDS: Final = 5.0
"""How long the kernel's word about its clock is reused: every record carries it."""
CREDENTIAL_BYTES_MAX: Final = 8 * 1024
"""Cloud access tokens reach 2 KiB; a head must still fit what upstreams take."""
CREDENTIAL_CHECK_SECONDS: Final = 1.0
CERTIFICATE_SECONDS: Final = 24 * 3600
ENROL_WAIT_MS: Final = 2_000
UNCERTIFIED_SECONDS_MAX: Final = 900
CLOCK_SUSPECT_SECONDS: Final = 60
REQUEST_SKEW_SECONDS_MAX: Final = 24 * 3600
"""Of ``Gatepost-Signed``: a bad clock must not keep records from being delivered."""
ENROL_NONCE_SECONDS: Final = 120
"""Long enough for a token from a slow attestor, short enough to keep the table small."""
ENROL_NONCES_MAX: Final = 10_000
"""Nonces are given to anybody who asks: bounded, and expired ones are dropped first."""
ATTESTATION_SKEW_SECONDS: Final = 30
"""Between the issuer's clock and that of the platform that signs workload tokens."""
ATTESTATION_KEYS_BYTES_MAX: Final = 256 * 1024
ATTESTATION_KEYS_SECONDS_MAX: Final = 5.0
"""For one fetch of a platform's keys: an enrolment waits for it."""
ATTESTATION_KEYS_REFRESH_SECONDS_MIN: Final = 30
"""Between two looks: anybody can send a token with a key id that nobody knows."""
ATTESTATION_KEYS_AGE_SECONDS_MAX: Final = 3_600
"""A key that the platform withdrew is trusted no longer than this, where it can be asked."""
ATTESTATION_KEYS_STALE_SECONDS_MAX: Final = 24 * 3_600
"""And no longer than this where it cannot: who takes it off the network must not keep a key."""
DIGEST_INSTANCES_MAX: Final = 1_000
"""Candidates of one search by a text or body."""
DIGEST_REQUEST_BYTES_MAX: Final = BODY_BYTES_MAX * 4 // 3 + 128 * 1024
"""The largest body in base64, and the candidates."""
DIGEST_WORK_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Content times candidates: some seconds of one core."""
DIGEST_SEARCH_BYTES_MAX: Final = 4 * DIGEST_WORK_BYTES_MAX
"""The same for one search, however many calls it makes of it."""
ISSUER_STATUS_ROWS_MAX: Final = 100
ATTESTATION_AUTHORITIES_MAX: Final = 256
WORKLOADS_MAX: Final = 4_096

# -- central services ------------------------------------------------------------------------
QUERY_PAGE_MAX: Final = 1_000
QUERY_ROWS_EXAMINED_MAX: Final = 50_000
"""Rows of an index that one page goes through for what is in that index."""
QUERY_ROWS_READ_MAX: Final = 10_000
"""The same where each row has to be fetched for it: a page of the database for every one."""
EXPORT_PAGE_RECORDS: Final = 500
EXPORT_PAGE_BYTES: Final = 4 * 1024 * 1024
ENROL_BYTES_MAX: Final = 64 * 1024
"""A projected token or JWT-SVID is at most some KiB."""
FLEET_INSTANCES_MAX: Final = 50_000
"""Of one scope whose last report is kept; beyond it those that were silent longest go."""
FLEET_PAGE_MAX: Final = 1_000
CENTRAL_READERS_MAX: Final = 4
"""Reading database connections; one more writes."""
