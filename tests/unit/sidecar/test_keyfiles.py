"""Keys of token issuers: read again when they change, never lost to a file that is broken."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from gateway.errors import ConfigInvalid
from gateway.identity_config import IdentityConfig
from sidecar.eventlog import EventLog
from sidecar.keyfiles import JWKS_BYTES_MAX, RELOAD_SECONDS, KeyFiles
from tests.sim.loop import elapse, simulate
from tests.unit.gateway import token_factory as make
from tests.unit.gateway.identity_world import (
    NOW,
    claims,
    config,
    delegation,
    peer,
    refusal,
)
from tests.unit.sidecar.hand_clock import HandClock

OLD, NEW = "ec-1", "ec-2"


class Place:
    """Two issuers whose keys are in files."""

    def __init__(self, directory: Path) -> None:
        self.idp = directory / "idp.json"
        self.users = directory / "users.json"
        self.stream = io.StringIO()
        issuers = [
            {
                "id": name,
                "issuer": f"https://{name}.example",
                "kind": "user",
                "jwks_file": str(directory / f"{name}.json"),
                "algorithms": ["ES256"],
            }
            for name in ("idp", "users")
        ]
        self.config: IdentityConfig = config(issuers=issuers)
        self.write(OLD)
        self.users.write_bytes(make.jwks(OLD))

    def write(self, *names: str) -> None:
        self.idp.write_bytes(make.jwks(*names))

    def open(self, *, watch: bool = False) -> KeyFiles:
        return KeyFiles(self.config, EventLog(HandClock(), self.stream), watch=watch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def in_loop(work: Callable[[], None]) -> None:
    async def world() -> None:
        work()

    simulate(1, world)


def accepts(keys: KeyFiles, key: str, issuer: str = "idp") -> bool:
    """Whether a token signed by ``key`` is taken now."""
    token = make.token(claims(iss=f"https://{issuer}.example"), key)
    try:
        keys.current.identify(peer(), delegation(token), NOW * 1_000_000)
    except Exception:
        return False
    return True


def code(keys: KeyFiles, key: str, issuer: str = "idp") -> str:
    token = make.token(claims(iss=f"https://{issuer}.example"), key)
    return refusal(delegation(token), subject=keys.current).code


def test_a_changed_set_takes_the_place_of_the_old_one(place: Place) -> None:
    def work() -> None:
        keys = place.open()
        assert accepts(keys, OLD)
        before = keys.current
        keys.reload()
        assert keys.current is before, "nothing changed"
        place.write(NEW)
        keys.reload()
        assert accepts(keys, NEW)
        assert code(keys, OLD) == "token_key_unknown"

    in_loop(work)
    assert '"keys_reloaded","issuer":"idp"' in place.stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"not json", b'{"keys":[]}', b"\xff", b"[" * 9_000, b" " * (JWKS_BYTES_MAX + 1)],
)
def test_a_broken_set_changes_nothing(place: Place, text: bytes) -> None:
    def work() -> None:
        keys = place.open()
        place.idp.write_bytes(text)
        keys.reload()
        assert accepts(keys, OLD)

    in_loop(work)
    assert "keys_unreadable" in place.stream.getvalue()


def test_a_file_that_is_gone_changes_nothing(place: Place) -> None:
    def work() -> None:
        keys = place.open()
        place.idp.unlink()
        keys.reload()
        assert accepts(keys, OLD)

    in_loop(work)


def test_a_broken_set_does_not_keep_another_issuers_withdrawn_key(place: Place) -> None:
    def work() -> None:
        keys = place.open()
        place.idp.write_bytes(b"broken")
        place.users.write_bytes(make.jwks(NEW))
        keys.reload()
        assert accepts(keys, OLD, "idp")
        assert accepts(keys, NEW, "users")
        assert code(keys, OLD, "users") == "token_key_unknown"

    in_loop(work)


def test_an_issuer_without_a_file_says_that_its_keys_are_not_available(place: Place) -> None:
    place.idp.unlink()

    def work() -> None:
        keys = place.open()
        assert code(keys, OLD) == "identity_keys_unavailable"
        assert accepts(keys, OLD, "users")
        place.write(OLD)
        keys.reload()
        assert accepts(keys, OLD)

    in_loop(work)


def test_a_set_that_is_broken_at_the_start_ends_the_start(place: Place) -> None:
    place.idp.write_bytes(b"broken")

    def work() -> None:
        with pytest.raises(ConfigInvalid, match=r"idp\.json"):
            place.open()

    in_loop(work)


def test_files_are_read_again_on_a_timer(place: Place) -> None:
    """A mounted Secret is swapped by names that no event mentions."""

    async def world() -> None:
        keys = place.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keys.run)
            place.write(NEW)
            await elapse(RELOAD_SECONDS - 1)
            assert not accepts(keys, NEW)
            await elapse(2)
            assert accepts(keys, NEW)
            tasks.cancel_scope.cancel()

    simulate(1, world)


@pytest.mark.anyio
async def test_a_change_is_noticed_at_once_where_the_kernel_tells(place: Place) -> None:
    keys = place.open(watch=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keys.run)
        # The watch begins some time after ``run``; only a change after that is told.
        with anyio.fail_after(10):
            turn = 0
            while not accepts(keys, NEW):
                turn += 1
                place.idp.write_bytes(make.jwks(NEW) + b" " * turn)
                with anyio.move_on_after(0.2):
                    await anyio.Event().wait()
        tasks.cancel_scope.cancel()


def test_without_issuers_there_is_nothing_to_watch() -> None:
    async def world() -> None:
        keys = KeyFiles(
            config(issuers=[], audience=[]), EventLog(HandClock(), io.StringIO()), watch=True
        )
        await keys.run()

    simulate(1, world)
