"""The made-up answer to a request, the same for the same request, and what it would cost.

Owns: reading a request body leniently, the text of an answer and its token counts (words, here).
Refuses: wire formats; ``openai.py`` and ``anthropic.py`` have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

CREATED: Final = 1_795_456_800
"""Seconds since 1970 in every answer: made-up answers have no time."""

_ANSWER: Final = "This answer was made up by the stand-in provider; you sent {} words."
_NOT_TEXT: Final = frozenset({"type", "role", "id", "name", "model", "media_type", "call_id"})


class BadRequest(Exception):
    """The body is not what this endpoint takes; the message may be shown to the caller."""


class Body(msgspec.Struct, frozen=True):
    """The members of request bodies that a stand-in has to understand; others are ignored."""

    model: str
    stream: bool = False
    messages: list[object] | None = None
    system: object = None
    input: object = None
    instructions: object = None
    stream_options: dict[str, object] | None = None
    encoding_format: str = "float"
    max_tokens: int | None = None


class Answer(msgspec.Struct, frozen=True):
    """``number`` makes the ids of this answer; ``words`` is ``text`` in the parts of a stream."""

    number: int
    model: str
    text: str
    input_tokens: int

    @property
    def words(self) -> list[str]:
        first, *others = self.text.split(" ")
        return [first, *(" " + word for word in others)]

    @property
    def output_tokens(self) -> int:
        return len(self.words)

    @property
    def tail(self) -> str:
        """The part of an id behind its prefix."""
        return f"{self.number:012d}"


def read(body: bytes) -> Body:
    """The request in ``body``. Raises BadRequest."""
    try:
        return msgspec.json.decode(body, type=Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"We could not parse the JSON body of your request: {error}") from error


def make(body: Body, number: int) -> Answer:
    """The answer to ``body``, the ``number``-th of this process."""
    words = sum(
        len(text.split())
        for part in (body.system, body.instructions, body.messages, body.input)
        for text in _texts(part)
    )
    return Answer(number=number, model=body.model, text=_ANSWER.format(words), input_tokens=words)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in _NOT_TEXT:
                yield from _texts(one)
