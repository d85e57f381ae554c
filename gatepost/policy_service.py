"""The policy service as the commands of operators ask it: where it is, whose scope, and its words.

Owns: the options that these commands share, and the paths of a scope. Refuses: HTTP
(``central_client.py``) and showing anything.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from gatepost.central_client import CentralClient, client_of
from gatepost.faults import InputOutputError
from gateway.errors import UNREADABLE

_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])
_AnswerT = TypeVar("_AnswerT")


def service_options(command: _CommandT) -> _CommandT:
    """``--central`` and ``--token-file`` of an operator."""
    token = click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        required=True,
        help="A file with an operator's token.",
    )
    central = click.option("--central", required=True, help="Base URL of the policy service.")
    return central(token(command))


def scope_option(command: _CommandT) -> _CommandT:
    """``--scope``."""
    return click.option("--scope", required=True, help="Exact scope, e.g. acme/prod.")(command)


class ScopeClient:
    """The policy service about one scope. Every call raises InputOutputError."""

    def __init__(self, central: str, token_file: Path, scope: str) -> None:
        self.scope = scope
        self._client: CentralClient = client_of(central, token_file)
        self._above = f"/v1/policy/{urllib.parse.quote(scope, safe='')}"
        self._central = central

    def get(self, what: str, parameters: Mapping[str, str | int] | None = None) -> bytes:
        """The body of a GET below the scope."""
        return self._client.get(f"{self._above}/{what}", parameters)

    def read(
        self, what: str, shape: type[_AnswerT], parameters: Mapping[str, str | int] | None = None
    ) -> _AnswerT:
        """The answer to a GET as ``shape``."""
        return self._decoded(self.get(what, parameters), shape)

    def post(self, what: str, body: bytes, shape: type[_AnswerT]) -> _AnswerT:
        """The answer to a POST as ``shape``."""
        return self._decoded(self._client.post(f"{self._above}/{what}", body), shape)

    def put(self, what: str, body: bytes, shape: type[_AnswerT]) -> _AnswerT:
        """The answer to a PUT as ``shape``."""
        return self._decoded(self._client.put(f"{self._above}/{what}", body), shape)

    def delete(self, what: str, shape: type[_AnswerT]) -> _AnswerT:
        """The answer to a DELETE as ``shape``."""
        return self._decoded(self._client.delete(f"{self._above}/{what}"), shape)

    def _decoded(self, body: bytes, shape: type[_AnswerT]) -> _AnswerT:
        try:
            return msgspec.json.decode(body, type=shape)
        except UNREADABLE as error:
            raise InputOutputError(f"{self._central}: the answer: {error}") from error
