"""What the served OpenAPI document says of a path, beside what the framework reads from its code.

Bodies are read as bytes, because signatures are over bytes, and filters as the pairs that they came
as; so the framework sees neither. Here a path says them, with every error that it may answer.

Owns: the words of that description. Refuses: checking a request by it; the handlers do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from central.acts import WHY_HEADER
from central.errors import CODES
from gateway import limits, signed_request

Caller = Literal["person", "daemon", "anybody"]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
OCTETS: Final = "application/octet-stream"
TEXT_PLAIN: Final = "text/plain"

TEXT: Final = Schema(type=OpenAPIType.STRING)
FLAG: Final = Schema(type=OpenAPIType.STRING, enum=["0", "1"])
ONE: Final = Schema(type=OpenAPIType.STRING, enum=["1"])
TIME: Final = Schema(
    type=OpenAPIType.STRING,
    pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
)
BYTES: Final = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
ENVELOPE: Final = Schema(
    type=OpenAPIType.OBJECT,
    description="A DSSE envelope.",
    required=["payloadType", "payload", "signatures"],
    properties={
        "payloadType": TEXT,
        "payload": Schema(type=OpenAPIType.STRING, content_encoding="base64"),
        "signatures": Schema(
            type=OpenAPIType.ARRAY,
            items=Schema(
                type=OpenAPIType.OBJECT,
                required=["keyid", "sig"],
                properties={"keyid": TEXT, "sig": TEXT},
            ),
        ),
    },
)

COMPONENTS: Final = Components(
    security_schemes={
        "person": SecurityScheme(
            type="http", scheme="bearer", description="A person's token, of a tenant and a role."
        ),
        "daemon": SecurityScheme(
            type="apiKey",
            name=signed_request.HEADER,
            security_scheme_in="header",
            description="Binds method, path, time and body to a certified instance key.",
        ),
    }
)

_ALWAYS: Final = ("malformed_request", "internal_error", "storage_failed")
_OF_CALLER: Final[Mapping[Caller, tuple[str, ...]]] = {
    "person": ("token_missing", "token_unknown", "role_insufficient"),
    "daemon": (
        "request_unsigned",
        "request_signature",
        "key_revoked",
        "certificate_expired",
        "not_entitled",
        "certificate_unknown",
    ),
    "anybody": (),
}


def number(most: int) -> Schema:
    """A whole number from 0 to ``most``."""
    return Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=most)


def one_of(*words: str) -> Schema:
    """One of these words."""
    return Schema(type=OpenAPIType.STRING, enum=words)


def fields_of(struct: type[msgspec.Struct]) -> Schema:
    """A JSON object with the members of ``struct``, which nests no other."""
    _, components = msgspec.json.schema_components((struct,))
    # The framework writes what it is given; its own classes have no reader for this.
    return _Given(components[struct.__name__])


class _Given(Schema):
    """A schema that is there already, in JSON's own types."""

    def __init__(self, given: dict[str, Any]) -> None:  # JSON
        super().__init__()
        self._given = given

    def to_schema(self) -> dict[str, Any]:  # JSON
        return self._given


def described(
    *codes: str,
    caller: Caller = "anybody",
    query: Mapping[str, Schema] | None = None,
    required: frozenset[str] = frozenset(),
    body: tuple[str, Schema] | None = None,
    answer: tuple[str, Schema] | None = None,
    statuses: tuple[int, ...] = (),
    noted: bool = True,
) -> type[Operation]:
    """The description of a path.

    ``codes``: the errors that are its own; those of ``caller`` and of every path are added.
    ``required``: names of ``query`` that must be there. ``body``, ``answer``: media type and shape,
    of the answer where the framework cannot know it; ``statuses``: further ones, without a body.
    ``noted``: whether a person's act here is recorded, and with it why.
    """
    given = (*_ALWAYS, *_OF_CALLER[caller], *codes, *(("body_too_large",) if body else ()))
    names = {WHY_HEADER: "header"} if caller == "person" and noted else {}

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.parameters = [
                *(one for one in self.parameters or [] if not _named(one, query or {})),
                *(
                    Parameter(name=name, param_in="query", schema=shape, required=name in required)
                    for name, shape in (query or {}).items()
                ),
                *(
                    Parameter(name=name, param_in=place, schema=_why(), required=False)
                    for name, place in names.items()
                ),
            ]
            if body is not None:
                content = {body[0]: OpenAPIMediaType(schema=body[1])}
                self.request_body = RequestBody(content=content, required=True)
            if caller != "anybody":
                self.security = [{caller: []}]
            good = {
                status: response
                for status, response in (self.responses or {}).items()
                if status.startswith("2")
            }
            if answer is not None:
                for response in good.values():
                    assert isinstance(response, OpenAPIResponse)
                    response.content = {answer[0]: OpenAPIMediaType(schema=answer[1])}
            for status in statuses:
                good[str(status)] = OpenAPIResponse(description="without a body")
            self.responses = {**good, **_errors(given)}

    return Described


def _named(parameter: object, query: Mapping[str, Schema]) -> bool:
    return isinstance(parameter, Parameter) and parameter.name in query


def _why() -> Schema:
    return Schema(type=OpenAPIType.STRING, max_length=limits.ADMIN_TEXT_BYTES_MAX)


def _errors(codes: tuple[str, ...]) -> dict[str, OpenAPIResponse]:
    """One response for each status, with the codes that it may have."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {
        str(status): OpenAPIResponse(
            description="; ".join(f"`{code}`: {CODES[code].message}" for code in found),
            content={JSON: OpenAPIMediaType(schema=_error(found))},
        )
        for status, found in sorted(by_status.items())
    }


def _error(codes: list[str]) -> Schema:
    members: dict[str, Reference | Schema] = {
        "type": one_of("gatepost"),
        "code": one_of(*codes),
        "message": TEXT,
        "retryable": Schema(type=OpenAPIType.BOOLEAN),
    }
    inner = Schema(type=OpenAPIType.OBJECT, required=list(members), properties=members)
    return Schema(type=OpenAPIType.OBJECT, required=["error"], properties={"error": inner})
