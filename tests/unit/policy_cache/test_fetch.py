from __future__ import annotations

import pytest

from gateway.documents import RequestOf
from gateway.ports import ServiceAnswer, ServiceUnreachable
from policy_cache.fetch import (
    FetchedHead,
    FetchFailed,
    HttpSource,
    directory_source,
    service_source,
)

DIGEST = "sha256:" + "ab" * 32


class Service:
    """Answers every call with one answer and remembers what was asked."""

    def __init__(self, answer: ServiceAnswer | ServiceUnreachable) -> None:
        self._answer = answer
        self.asked: list[tuple[str, dict[str, str], int | None]] = []

    def answers_with(self, answer: ServiceAnswer | ServiceUnreachable) -> None:
        self._answer = answer

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        of: RequestOf | None = None,
        answer_bytes_max: int | None = None,
        timeout_seconds: float | None = None,
    ) -> ServiceAnswer:
        assert (method, body, of) == ("GET", b"", None)
        self.asked.append((path, headers or {}, answer_bytes_max))
        if isinstance(self._answer, ServiceUnreachable):
            raise self._answer
        return self._answer


def source(status: int, body: bytes = b"", **headers: str) -> tuple[HttpSource, Service]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    service = Service(ServiceAnswer(status, named, body))
    return service_source(service, "acme/prod/eu"), service


@pytest.mark.anyio
async def test_a_head_is_asked_for_by_scope_and_etag() -> None:
    where, service = source(200, b"head", etag='"1"')
    assert await where.head(None) == FetchedHead(b"head", '"1"')
    await where.head('"1"')
    path = "/v1/policy/acme%2Fprod%2Feu/head"
    assert service.asked == [(path, {}, 16_384), (path, {"if-none-match": '"1"'}, 16_384)]


@pytest.mark.anyio
async def test_not_modified_brings_nothing_and_keeps_the_etag() -> None:
    where, _ = source(304)
    assert await where.head('"1"') == FetchedHead(None, '"1"')


@pytest.mark.anyio
async def test_a_bundle_is_asked_for_by_digest_and_bounded_by_its_signed_length() -> None:
    where, service = source(200, b"bundle")
    assert await where.bundle(DIGEST, 300) == b"bundle"
    assert service.asked == [(f"/v1/policy/blobs/sha256/{'ab' * 32}", {}, 400 + 16_384)]


@pytest.mark.anyio
async def test_a_missing_root_is_the_end_of_the_chain_and_no_error() -> None:
    where, service = source(404)
    assert await where.root(2) is None
    assert service.asked[0][0] == "/v1/policy/root/2"
    with pytest.raises(FetchFailed) as caught:
        await where.head(None)
    assert caught.value.kind == "missing"


@pytest.mark.anyio
@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_bucket_that_may_not_be_listed_still_ends_the_chain_of_roots(status: int) -> None:
    service = Service(ServiceAnswer(status, {}, b"<Error/>"))
    where = directory_source(service, "/acme/prod")
    assert await where.root(2) is None
    for ask in (where.head(None), where.bundle(DIGEST, 1)):
        with pytest.raises(FetchFailed):
            await ask
    paths = [path for path, _, _ in service.asked]
    blob = f"/acme/prod/blobs/sha256/{'ab' * 32}"
    assert paths == ["/acme/prod/root/2", "/acme/prod/head", blob]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "kind"),
    [(301, "status"), (401, "credential"), (403, "credential"), (500, "status"), (503, "status")],
)
async def test_any_other_answer_is_an_error(status: int, kind: str) -> None:
    where, _ = source(status, b"<html>")
    for ask in (where.head(None), where.root(1), where.bundle(DIGEST, 1)):
        with pytest.raises(FetchFailed) as caught:
            await ask
        assert caught.value.kind == kind


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("", None), ("-1", None), ("9" * 10, None), ("Fri, 31 Dec 1999", None)],
)
async def test_retry_after_is_read_in_seconds_only(text: str, seconds: float | None) -> None:
    where, _ = source(503, retry_after=text)
    with pytest.raises(FetchFailed) as caught:
        await where.head(None)
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.anyio
async def test_no_answer_keeps_the_kind_of_its_cause() -> None:
    where = service_source(Service(ServiceUnreachable("tls", "bad certificate")), "acme")
    with pytest.raises(FetchFailed, match="bad certificate") as caught:
        await where.head(None)
    assert caught.value.kind == "tls"


@pytest.mark.anyio
async def test_only_a_server_that_says_so_is_asked_to_wait_and_never_past_the_next_refresh() -> (
    None
):
    where, service = source(200, b"head", etag='"1"', vary="Accept, Prefer")
    assert not await where.changed('"1"', 60), "nothing is known of the server yet"
    await where.head(None)
    assert await where.changed('"1"', 40)
    _, headers, bytes_max = service.asked[-1]
    assert (headers, bytes_max) == ({"if-none-match": '"1"', "prefer": "wait=39"}, 16_384)
    await where.changed('"1"', 600)
    assert service.asked[-1][1]["prefer"] == "wait=55"
    asked = len(service.asked)
    assert not await where.changed('"1"', 1.9), "too short to be worth it"
    assert len(service.asked) == asked
    silent, service = source(200, b"head", etag='"1"')
    await silent.head(None)
    assert not await silent.changed('"1"', 60)
    assert len(service.asked) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("status", [304, 404, 503])
async def test_a_long_poll_that_brings_no_new_head_is_no_error_and_no_hint(status: int) -> None:
    where, service = source(200, b"head", etag='"1"', vary="prefer")
    await where.head(None)
    service.answers_with(ServiceAnswer(status, {}, b""))
    assert not await where.changed('"1"', 60)
    service.answers_with(ServiceUnreachable("timeout", "no whole answer"))
    assert not await where.changed('"1"', 60)
