"""Enrolment against the real issuer and store: certificates, renewals, refusals, outages."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path

import msgspec
import pytest

from gateway import attestation, documents, record, seal
from gateway.documents import KeyCert
from gateway.errors import ConfigInvalid
from gateway.ports import ServiceAnswer, ServiceUnreachable
from gateway.timestamp import time_micros
from sidecar.parts import Parts
from tests.sim.clock import EPOCH_US
from tests.sim.loop import elapse
from tests.unit.sidecar.enrolment_world import (
    ANOTHER_TOKEN,
    HOST_KEY,
    TOKEN,
    TOKEN_TEXT,
    World,
    enrol,
    play,
    write_start,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files of the central services."""
    return tmp_path_factory.mktemp("central")


# -- the first certificate -------------------------------------------------------------------


def test_a_known_host_gets_a_certificate_at_once(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        (certificate,) = world.issued()
        assert parts.instance.certificate == certificate
        assert certificate.kid == parts.instance.signer.kid
        assert certificate.instance == parts.instance.id
        assert parts.instance.may_ship()
        assert parts.enroller.last_error is None
        await elapse(1)

    world = play(script, directory)
    (line,) = world.lines("enrolled")
    assert line["serial"] == world.issued()[0].serial
    assert world.lines("enrolment_failed") == []


def test_the_window_begins_with_the_start_so_that_what_was_signed_is_covered(
    directory: Path,
) -> None:
    async def script(world: World, parts: Parts) -> None:
        await elapse(60)
        world.cut_off(cut_off=False)
        await parts.instance.certified.wait()
        certificate = parts.instance.certificate
        assert certificate is not None
        assert time_micros(certificate.not_before) == parts.instance.started_us
        assert time_micros(certificate.issued) >= EPOCH_US + 60_000_000

    play(script, directory, central=False)


def test_the_store_is_told_of_the_certificate(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await elapse(1)
        kept = world.shipped("serial", "certificate")
        assert kept == [(world.issued()[0].serial,)]

    play(script, directory)


def test_a_certificate_that_comes_late_is_in_a_heartbeat(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await write_start(parts)
        world.cut_off(cut_off=False)
        await parts.instance.certified.wait()
        await elapse(1)
        start, heartbeat = world.records(parts)
        assert isinstance(start, record.Start)
        assert start.certificate is None
        assert isinstance(heartbeat, record.Heartbeat)
        assert heartbeat.certificate == parts.instance.certificate_envelope

    play(script, directory, central=False)


# -- host keys and one-time tokens -----------------------------------------------------------


def test_a_token_registers_a_new_host_once(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        spent = world.rows("issuer", "SELECT name, host_kid FROM spent_token")
        drawn = seal.Signer(base64.b64decode(world.disk.content(HOST_KEY)))
        assert spent == [("new", drawn.kid)]
        # Another start of the same machine needs no token any more.
        world.disk.put(TOKEN, b"")
        again = await world.build(
            spool={"directory": "/state/spool2"}, policy={"scope": "acme/prod", "directory": "/p2"}
        )
        await enrol(again)
        assert again.instance.certificate is not None
        assert again.instance.certificate.attestation.subject == drawn.kid
        await again.aclose()

    play(script, directory, host_key=None, token=TOKEN_TEXT)


def test_a_host_that_is_known_leaves_its_token_alone(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        assert world.rows("issuer", "SELECT count(*) FROM spent_token") == [(0,)]

    play(script, directory, token=TOKEN_TEXT)


@pytest.mark.parametrize("token", [None, ANOTHER_TOKEN])
def test_without_a_good_token_a_new_host_is_refused_and_keeps_asking(
    directory: Path, token: str | None
) -> None:
    async def script(world: World, parts: Parts) -> None:
        await elapse(300)
        assert not parts.instance.certified.is_set()
        assert "attestation_invalid" in (parts.enroller.last_error or "")
        assert parts.enroller.refused is None
        # It is enough to put the right token there.
        world.disk.put(TOKEN, TOKEN_TEXT.encode())
        await elapse(60)
        assert parts.instance.may_ship()
        assert not parts.enroller.last_error

    play(script, directory, host_key=None, token=token)


def test_a_token_that_another_host_spent_registers_nobody(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        thief = seal.Signer(b"t" * 32)
        body = attestation.register_host(TOKEN_TEXT, thief, "acme", "eu")
        await world.central.operate("POST", "/v1/hosts", msgspec.json.encode(body))
        world.cut_off(cut_off=False)
        await elapse(120)
        assert parts.instance.certificate is None
        assert "the one-time token was spent" in (parts.enroller.last_error or "")

    play(script, directory, host_key=None, token=TOKEN_TEXT, central=False)


def test_no_token_is_spent_because_the_issuer_is_busy(directory: Path) -> None:
    """Only an unknown host is cured by registering it."""

    async def script(world: World, parts: Parts) -> None:
        asked: list[str] = []

        class Busy:
            async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
                asked.append(path)
                return ServiceAnswer(503, {}, b'{"error":{"code":"too_busy","message":"later"}}')

        parts.enroller._issuer = Busy()
        world.cut_off(cut_off=False)
        await elapse(60)
        assert set(asked) == {"/v1/enrol/nonce"}
        assert parts.enroller.last_error == "503 too_busy: later"

    play(script, directory, token=TOKEN_TEXT, central=False)


@pytest.mark.parametrize("text", [b"", b"no key"])
def test_a_host_key_that_is_none_ends_the_start(directory: Path, text: bytes) -> None:
    async def script(world: World, parts: Parts) -> None:
        await elapse(10)

    # Whether or not the issuer can be reached.
    for central in (True, False):
        with pytest.raises(BaseExceptionGroup) as caught:
            play(script, directory, host_key=text, central=central)
        assert caught.group_contains(ConfigInvalid, match=r"/state/host\.key")


# -- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(("member", "value"), [("tenant", "globex"), ("region", "mars")])
def test_a_wrong_tenant_or_region_is_final(directory: Path, member: str, value: str) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.enroller.refused_for_good.wait()
        assert parts.enroller.refused is not None
        assert parts.enroller.refused.code == "wrong_tenant"
        assert parts.enroller.refused.status == 403
        asked = len(world.lines("enrolment_failed"))
        await elapse(3_600)
        assert len(world.lines("enrolment_failed")) == asked == 1
        assert parts.instance.certificate is None

    play(script, directory, place={member: value})


class Forger:
    """An issuer that answers with another certificate than it was asked for."""

    def __init__(self, parts: Parts, change: dict[str, str], signer: seal.Signer | None) -> None:
        self._real = parts.enroller._issuer
        self._change = change
        self._signer = signer

    async def call(self, method: str, path: str, **options: object) -> ServiceAnswer:
        answer = await self._real.call(method, path, **options)  # type: ignore[arg-type]  # passed on
        if path != "/v1/enrol":
            return answer
        given = msgspec.json.decode(answer.body, type=attestation.EnrolAnswer)
        payload = base64.b64decode(given.certificate.payload)
        forged = msgspec.structs.replace(msgspec.json.decode(payload, type=KeyCert), **self._change)
        envelope = (self._signer or seal.Signer(b"i" * 32)).sign_document(
            documents.KEY_CERT, forged
        )
        return ServiceAnswer(
            201, {}, msgspec.json.encode({"certificate": envelope, "supersedes": None})
        )


OTHER = seal.Signer(b"o" * 32)


@pytest.mark.parametrize(
    ("change", "signer", "words"),
    [
        ({"kid": OTHER.kid, "pub": base64.b64encode(OTHER.public).decode()}, None, "another key"),
        ({"instance": "a" * 26}, None, "another key, instance or place"),
        ({"tenant": "globex"}, None, "another key, instance or place"),
        ({"region": "mars"}, None, "another key, instance or place"),
        ({"issuer_kid": OTHER.kid}, OTHER, ""),
        ({}, OTHER, ""),
    ],
)
def test_a_certificate_for_another_or_by_another_is_not_taken(
    directory: Path, change: dict[str, str], signer: seal.Signer | None, words: str
) -> None:
    async def script(world: World, parts: Parts) -> None:
        parts.enroller._issuer = Forger(parts, change, signer)
        world.cut_off(cut_off=False)
        await elapse(120)
        assert parts.instance.certificate is None
        assert not parts.instance.certified.is_set()
        assert words in (parts.enroller.last_error or "")
        assert len(world.lines("enrolment_failed")) > 1, "it asks again"

    play(script, directory, central=False)


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b'{"nonce":1}', b"[" * 5_000, b'{"error":"text"}']
)
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_is_none_is_one_more_failure(
    directory: Path, status: int, body: bytes
) -> None:
    class Babbler:
        async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
            return ServiceAnswer(status, {}, body)

    async def script(world: World, parts: Parts) -> None:
        parts.enroller._issuer = Babbler()
        world.cut_off(cut_off=False)
        await elapse(30)
        assert parts.enroller.last_error
        assert parts.instance.certificate is None

    play(script, directory, central=False)


# -- outages ---------------------------------------------------------------------------------


def test_an_issuer_that_is_away_is_asked_again_with_growing_random_waits(directory: Path) -> None:
    asked: list[float] = []

    class Away:
        def __init__(self, parts: Parts) -> None:
            self._parts = parts

        async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
            asked.append(self._parts.outside.clock.mono_us() / 1e6)
            raise ServiceUnreachable("connect", "refused")

    async def script(world: World, parts: Parts) -> None:
        parts.enroller._issuer = Away(parts)
        world.cut_off(cut_off=False)
        await elapse(6 * 3_600)
        assert parts.enroller.last_error == "connect: refused"

    play(script, directory, central=False)
    waits = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert len(waits) > 1_100, "hours of it, and it still asks"
    assert max(waits) <= 30.1
    assert max(waits[:2]) <= 4.1
    late = waits[10:]
    assert min(late) < 5 < 25 < max(late), "full jitter"
    assert 10 < sum(late) / len(late) < 20


def test_nothing_is_asked_for_before_it_could_be_checked(directory: Path) -> None:
    """A certificate that waits for a root would look as if the clock were wrong."""

    async def script(world: World, parts: Parts) -> None:
        real, asked = parts.policy.wait_root, []

        async def late() -> dict[str, bytes]:
            await elapse(600)
            await real()
            asked.append(len(world.issued()))
            return parts.issuer_keys()

        parts.enroller._issuer_keys = late
        await parts.instance.certified.wait()
        assert asked == [0]
        assert not parts.clock_suspect

    play(script, directory)


# -- what the store lacks --------------------------------------------------------------------


def test_a_412_is_answered_with_our_certificate_and_that_of_a_dead_instance(
    directory: Path,
) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.instance.certified.wait()
        await write_start(parts)
        await elapse(2)
        await parts.aclose()
        # The next start finds what the first one left, and the store has lost its certificates.
        world.disk = world.disk.killed()
        following = await world.build()
        assert [dead.instance for dead in following.dead] == [parts.instance.id]
        await enrol(following)
        world.rows("records", "DELETE FROM certificate")
        for instance in (following.instance.id, parts.instance.id):
            await following.post_certificate(instance)
        kept = {
            instance for (instance,) in world.rows("records", "SELECT instance FROM certificate")
        }
        assert kept == {following.instance.id, parts.instance.id}
        await following.post_certificate("nobody")
        await following.aclose()

    play(script, directory)


def test_nothing_is_posted_before_there_is_a_certificate_or_for_others(directory: Path) -> None:
    async def script(world: World, parts: Parts) -> None:
        await parts.enroller.post_certificate(parts.instance.id)
        world.cut_off(cut_off=False)
        await parts.instance.certified.wait()
        await elapse(1)
        world.rows("records", "DELETE FROM certificate")
        await parts.enroller.post_certificate("nobody")
        assert world.rows("records", "SELECT count(*) FROM certificate") == [(0,)]

    play(script, directory, central=False)


def test_a_store_that_is_away_does_not_undo_a_certificate(directory: Path) -> None:
    class Away:
        async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
            raise ServiceUnreachable("timeout", "no answer")

    class Refusing:
        async def call(self, method: str, path: str, **_: object) -> ServiceAnswer:
            return ServiceAnswer(503, {}, b"")

    for store, told in ((Away(), {"reason": "timeout"}), (Refusing(), {"status": 503})):

        async def script(world: World, parts: Parts, store: object = store) -> None:
            parts.enroller._store = store  # type: ignore[assignment]  # one method of it is used
            world.cut_off(cut_off=False)
            await parts.instance.certified.wait()
            await elapse(1)

        world = play(script, directory, central=False)
        (line,) = world.lines("certificate_refused")
        assert told.items() <= line.items()
