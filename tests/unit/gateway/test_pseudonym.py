"""A provider can tell people apart and learns no name."""

from __future__ import annotations

import pytest

from gateway.call import Principal
from gateway.jsonbody import parse
from gateway.obligation import Unmet
from gateway.pseudonym import pseudonym, pseudonymised
from tests.unit.gateway import policy_factory as make

KEY = b"k" * 32
ANN = make.principal(person_id="ann", person_iss="https://id.example")
NOBODY = make.principal(person_id=None, person_iss=None)


def changed(
    body: bytes, who: Principal = ANN, *, key: bytes = KEY, provider: str | None = "openai"
) -> bytes:
    return pseudonymised(
        body,
        end_user=("/user", "/safety_identifier", "/metadata/user_id"),
        cache_keys=("/prompt_cache_key",),
        key=key,
        provider=provider,
        principal=who,
    )


def named(body: bytes, who: Principal = ANN, **more: object) -> str:
    value = parse(changed(body, who, **more))  # type: ignore[arg-type]  # as changed names them
    assert isinstance(value, dict)
    user = value["user"]
    assert isinstance(user, str)
    return user


def test_the_name_is_the_verified_persons_whatever_was_stated() -> None:
    ours = named(b'{"user":"ann"}')
    assert ours == named(b'{"user":"mallory"}')
    assert ours != named(b'{"user":"ann"}', make.principal(person_id="bob"))
    assert "ann" not in ours
    assert len(ours) <= 64


def test_without_a_person_the_stated_name_is_told_apart_but_not_told() -> None:
    one, other = named(b'{"user":"ann"}', NOBODY), named(b'{"user":"bob"}', NOBODY)
    assert one != other
    assert one == named(b'{"user":"\\u0061nn"}', NOBODY)
    assert one != named(b'{"user":"ann"}')


def test_a_pseudonym_is_stable_under_one_key_and_for_one_provider() -> None:
    assert named(b'{"user":"x"}') == "user-IT1dVPkbbOhxFfzwTVCFHvGFteuPisfQ"
    assert named(b'{"user":"x"}') != named(b'{"user":"x"}', key=b"l" * 32)
    assert named(b'{"user":"x"}') != named(b'{"user":"x"}', provider="anthropic")


def test_parts_of_a_name_cannot_be_shifted_into_one_another() -> None:
    assert pseudonym(KEY, "p", "person", "ab", "c") != pseudonym(KEY, "p", "person", "a", "bc")


def test_only_what_names_the_user_changes() -> None:
    body = b'{"n":1.0, "user" : "a","metadata":{"user_id":"b","k":"v"},"prompt_cache_key":"c"}'
    after = changed(body)
    value = parse(after)
    assert isinstance(value, dict)
    ours = str(value["user"]).encode()
    kept = str(value["prompt_cache_key"]).encode()
    assert after == (
        b'{"n":1.0, "user" : "%b","metadata":{"user_id":"%b","k":"v"},"prompt_cache_key":"%b"}'
        % (ours, ours, kept)
    )
    assert kept != ours


def test_the_caches_of_one_person_stay_apart() -> None:
    first, second = (parse(changed(b'{"prompt_cache_key":"%b"}' % key)) for key in (b"a", b"b"))
    assert first != second


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"user":null}', b'{"metadata":null}', b'{"metadata":{}}', b'{"x":{"user":"a"}}'],
)
def test_nothing_is_added(body: bytes) -> None:
    assert changed(body) == body


@pytest.mark.parametrize("body", [b'{"user":7}', b'{"user":{"id":"a"}}', b'{"metadata":"ann"}'])
def test_a_name_that_is_not_a_text_is_refused(body: bytes) -> None:
    with pytest.raises(Unmet):
        changed(body)
