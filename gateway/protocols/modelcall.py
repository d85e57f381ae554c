"""A model call's CallView, made from the walk over its body: what all providers share.

Owns: reading ``model`` and ``stream``, and filling the CallView. Refuses: paths, and what is
peculiar to one provider.
"""

from __future__ import annotations

from gateway.call import CallView, Head, Route
from gateway.errors import RequestRefused
from gateway.jsonbody import parse_object
from gateway.protocols import query
from gateway.protocols.dialect import Dialect, Members
from gateway.protocols.extract import Extract
from gateway.protocols.reading import (
    Action,
    Match,
    check_encoding,
    check_json_type,
    media_type,
)


def read_members(action: Action, head: Head, body: bytes) -> Members | None:
    """The body's members, or None where the call has none that can be read (no body, upload).

    Raises RequestRefused: ``content_encoding_unsupported``, ``unreadable_body``,
    ``duplicate_keys``.
    """
    check_encoding(head)
    if not body:
        if action.body == "json":
            raise RequestRefused("unreadable_body", "the body is empty; JSON is needed")
        return None
    if action.body == "none":
        raise RequestRefused("unreadable_body", "this method and path take no body")
    if action.body == "upload" and media_type(head) == "multipart/form-data":
        return None
    check_json_type(head)
    return parse_object(body)


def text_member(members: Members, name: str) -> str | None:
    """Member ``name``, or None where it is missing or null. Raises ``unreadable_body``."""
    value = members.get(name)
    if value is None or isinstance(value, str):
        return value
    raise RequestRefused("unreadable_body", f"/{name} must be a string")


def flag_member(members: Members, name: str) -> bool:
    """Member ``name``, False where it is missing or null. Raises ``unreadable_body``."""
    value = members.get(name)
    if value is None or isinstance(value, bool):
        return value is True
    raise RequestRefused("unreadable_body", f"/{name} must be true or false")


def view(
    route: Route,
    head: Head,
    body: bytes,
    match: Match,
    dialect: Dialect,
    *,
    model: str | None = None,
) -> CallView:
    """The call. ``model`` is the path's, where the provider names it there; a body that names
    another is refused (``unreadable_body``).

    Path variables other than ``model`` are ids of stored objects: references. So are other models
    that the body names anywhere below its top level (``model:<name>``): policy ruled on one.
    """
    action = match.action
    extract = Extract(dialect)
    members = None if route.opaque_upload else read_members(action, head, body)
    stated, stream = None, action.stream
    if members is not None:
        extract.body(members)
        stated = text_member(members, "model")
        stream = stream or flag_member(members, "stream")
    elif body or route.opaque_upload or action.body == "upload":
        extract.opaque[""] = None
    if model is not None and stated is not None and _bare(stated) != _bare(model):
        raise RequestRefused("unreadable_body", "/model is not the model of the path")
    if model is None:
        model = stated
    for other in extract.models:
        if model is None or _bare(other) != _bare(model):
            extract.reference(f"model:{other}")
    parameters = query.parameters(head)
    for name, value in match.variables.items():
        if name != "model":
            extract.reference(value)
    return CallView(
        protocol=route.protocol,
        operation=action.operation,
        provider=route.provider,
        model=model,
        stream=stream or parameters.get("stream") == "true",
        input=None if extract.user_text is None else extract.user_text.encode(),
        segments=(*extract.segments, *query.segments(parameters)),
        hosted_tools=tuple(extract.hosted_tools),
        unknown_tools=tuple(extract.unknown_tools),
        references=tuple(extract.references),
        opaque=tuple(extract.opaque),
        output_limits=action.output_limits,
        end_user=dialect.end_user,
        cache_keys=dialect.cache_keys,
    )


def _bare(model: str) -> str:
    return model.rpartition("/")[2]
