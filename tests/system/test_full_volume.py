"""The spool's volume is really full: a small file system of its own, and somebody fills it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import MODEL
from tests.integration.system import Edit, replaced

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

_VOLUME_BYTES = 8 * 1024 * 1024


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 8 MiB."""
    place = tmp_path / "volume"
    place.mkdir()
    options = f"size={_VOLUME_BYTES},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _spool_on(volume: Path) -> Edit:
    settings = f'"{volume}/spool"\nsegment_bytes = 262144\nspool_free_bytes_min = 0'
    return lambda text: replaced(spool_bytes_max="67108864")(
        text.replace("[spool]\ndirectory = ", f"[spool]\ndirectory = {settings}\n# was ")
    )


def _fill(ballast: Path) -> None:
    """Let a file grow until the volume has no room left."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(ballast).free == 0


def test_a_full_volume_turns_calls_away_until_there_is_room(
    make_central: MakeCentral, make_site: MakeSite, volume: Path
) -> None:
    services = make_central()
    ends = services.ends
    daemon = make_site(_spool_on(volume), services).start()
    services.kill()
    ballast = volume / "ballast"
    _fill(ballast)
    answered = 0
    with raw.RawConnection(daemon.port) as connection:
        while True:
            reached = ends.total()
            connection.send(raw.chat_request(MODEL))
            reply = connection.reply()
            if reply.status != 200:
                break
            answered += 1
            assert answered < 10_000
    assert (reply.status, reply.code) == (503, "spool_full")
    assert ends.total() == reached
    assert daemon.status().spool.may_grow is False
    ballast.unlink()
    daemon.wait_status(lambda status: status.ready, "room on the volume")
    assert raw.ask(daemon.port, raw.chat_request(MODEL)).status == 200
    services.start()
    decisions = services.records.wait(
        answered + 1, seconds=40, instance=daemon.instance, kind="decision"
    )
    assert len(decisions) == answered + 1
    assert daemon.stop() == 0
