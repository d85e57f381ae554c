"""What a daemon tells the policy service of its policy: one form for both ends.

Owns: the Structs of ``POST /v1/policy/<scope>/reports`` and their reading. Refuses: proving who
sends it (``signed_request.py`` does, over these bytes) and believing its times: they are the
daemon's own, and the service measures by its own clock.

Readers pass over members they do not know, because either end may be the newer one.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import quote

import msgspec

from gateway import limits
from gateway.documents import Envelope
from gateway.errors import UNREADABLE, DocumentInvalid

_WORD_CHARACTERS_MAX: Final = 128

Channel = Literal["stable", "canary"]

Word = Annotated[str, msgspec.Meta(max_length=_WORD_CHARACTERS_MAX)]
Version = Annotated[int, msgspec.Meta(ge=0, le=limits.JSON_INTEGER_MAX)]


class RefusedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The newest candidate that was refused. ``code``: the reason of ``DocumentInvalid``.

    ``head_version``, ``version``, ``digest``: of the head and the bundle that it pinned, null where
    the head itself was refused and so nothing in it is believed.
    """

    code: Word
    time: Word
    head_version: Version | None
    version: Version | None
    digest: Word | None


class PolicyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force. ``state``: ``vocabulary.PolicyState``; ``version`` and ``digest`` are the
    bundle's.

    ``received``, ``verified``, ``activated``: when the head that brought it came, when its bundle
    had been checked, and when calls were first decided by it; null where it came from the disk.
    ``refused``: null once a newer candidate was accepted. ``leaving``: the daemon ends, and this is
    its last report.
    """

    channel: Channel
    state: Word
    head_version: Version | None
    version: Version | None
    digest: Word | None
    received: Word | None
    verified: Word | None
    activated: Word | None
    refused: RefusedPolicy | None
    leaving: bool


class ReportBody(msgspec.Struct, frozen=True):
    """``certificate``: of the key that signed the request. The policy service knows no instance."""

    report: PolicyReport
    certificate: Envelope


REPORT_BYTES_MAX: Final = 16 * 1024


def reports_path(scope: str) -> str:
    """Where reports on ``scope`` are posted to: one percent-encoded segment."""
    return f"/v1/policy/{quote(scope, safe='')}/reports"


def decode_report(body: bytes) -> ReportBody:
    """The report in ``body``. Raises DocumentInvalid (``unreadable``)."""
    try:
        return msgspec.json.decode(body, type=ReportBody)
    except UNREADABLE as error:
        raise DocumentInvalid("unreadable", f"policy report: {error}") from error
