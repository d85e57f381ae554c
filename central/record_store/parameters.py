"""The query parameters of the record store's paths, as the served OpenAPI document shows them.

Owns: their names and shapes. Refuses: reading them (``filters.py`` and ``api.py``).
"""

from __future__ import annotations

from typing import Final

from litestar.openapi.spec import Schema

from central.described import FLAG, ONE, TEXT, TIME, number, one_of
from central.record_store.filters import TEXT_FILTERS
from central.record_store.grade import GRADES
from gateway import limits

PLACE: Final[dict[str, Schema]] = {"tenant": TEXT, "region": TEXT}

FILTERS: Final[dict[str, Schema]] = {
    **dict.fromkeys(TEXT_FILTERS, TEXT),
    "of": TEXT,
    "category": TEXT,
    "policy_version": number(limits.JSON_INTEGER_MAX),
    "untrusted": FLAG,
    "grade": one_of(*GRADES),
    "decided_from": TIME,
    "decided_to": TIME,
}

ORDER: Final[dict[str, Schema]] = {
    "order": one_of("newest", "oldest"),
    "limit": number(limits.QUERY_PAGE_MAX),
}

PAGE: Final[dict[str, Schema]] = {**FILTERS, **ORDER, **PLACE, "cursor": TEXT}

EXPORT: Final[dict[str, Schema]] = {
    **FILTERS,
    **ORDER,
    **PLACE,
    "complete": ONE,
    "from": number(limits.JSON_INTEGER_MAX),
}
