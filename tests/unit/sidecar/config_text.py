"""A daemon's configuration as nested dicts, and the TOML text of it.

Tests change one member by its path and hand the text to the real parser.
"""

from __future__ import annotations

import copy
import json
from typing import Any, Final

Document = dict[str, Any]

ROOT: Final = "sha256:" + "ab" * 32

SMALLEST: Final[Document] = {
    "tenant": "acme",
    "region": "eu-west-1",
    "central": {"url": "http://127.0.0.1:4143"},
    "trust": {"root_sha256": ROOT},
    "policy": {"scope": "acme/prod"},
}

WHOLE: Final[Document] = SMALLEST | {
    "enrolment": {"host_key_file": "/state/host.key", "one_time_token_file": "/state/token"},
    "spool": {"directory": "/state/spool"},
    "listen": {
        "unix": [
            {"path": "/run/a.sock", "name": "one", "agent": "bot"},
            {"path": "/run/b.sock", "name": "two", "uids": [1000, 1001]},
        ],
        "agents": [{"uid": 1000, "agent": "bot"}],
    },
    "identity": {
        "audience": ["gatepost"],
        "agents": [{"id": "bot"}],
        "issuers": [
            {
                "id": "idp",
                "issuer": "https://idp.example",
                "kind": "delegation",
                "jwks_file": "/state/jwks.json",
            }
        ],
        "tokens": [{"agent": "bot", "sha256": "0" * 64}],
        "revoked": [{"issuer": "idp", "token_id": "stolen"}],
    },
    "classification": {},
    "upstream_access": {"allowed_private_hosts": ["10.0.0.9"]},
    "credentials": [{"id": "key", "file": "/state/key"}],
    "upstreams": [
        {"name": "us", "url": "https://api.example.com/v1", "region": "us", "credential": "key"},
        {"name": "tools", "url": "http://10.0.0.9:8080", "region": "local"},
    ],
    "routes": [
        {"name": "openai", "prefix": "/openai", "protocol": "openai", "upstreams": ["us"]},
        {
            "name": "orders",
            "prefix": "/mcp/orders",
            "protocol": "mcp",
            "server": "orders",
            "upstreams": ["tools"],
        },
    ],
}
"""Every section, each array of tables with an entry."""


def changed(path: str, value: object, document: Document = WHOLE) -> Document:
    """A copy of ``document`` with ``value`` at the dotted ``path``; numbers index arrays."""
    result = copy.deepcopy(document)
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place: Any = result
    for step in parents:
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    if isinstance(last, int) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return result


def toml(document: Document) -> str:
    """``document`` as TOML, each top-level member on one line."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in document.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        inside = (f"{json.dumps(name)} = {_value(one)}" for name, one in value.items())
        return "{" + ", ".join(inside) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, float):
        return repr(value)
    # JSON's escapes of strings are a subset of TOML's, but for DEL, which JSON leaves as it is.
    return json.dumps(value).replace("\x7f", "\\u007f")
