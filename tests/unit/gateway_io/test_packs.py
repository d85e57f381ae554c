from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gateway.io.packs import PrivateDirectory, read_core_pack

KEY = "ab" * 32


def test_the_shipped_pack_is_in_the_package() -> None:
    assert b'name = "core"' in read_core_pack()


def test_what_was_written_is_read_from_a_directory_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache"
    cache = PrivateDirectory(str(path))
    assert cache.read(KEY) is None
    cache.write(KEY, b"database")
    assert cache.read(KEY) == b"database"
    cache.write(KEY, b"newer")
    assert cache.read(KEY) == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert [entry.name for entry in path.iterdir()] == [f"{KEY}.hsdb"]
    assert stat.S_IMODE((path / f"{KEY}.hsdb").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_is_not_used(tmp_path: Path, mode: int) -> None:
    cache = PrivateDirectory(str(tmp_path / "cache"))
    cache.write(KEY, b"database")
    (tmp_path / "cache").chmod(mode)
    assert cache.read(KEY) is None
    cache.write("cd" * 32, b"other")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_file_that_others_can_write_and_a_link_are_not_read(tmp_path: Path) -> None:
    cache = PrivateDirectory(str(tmp_path / "cache"))
    cache.write(KEY, b"database")
    file = tmp_path / "cache" / f"{KEY}.hsdb"
    file.chmod(0o622)
    assert cache.read(KEY) is None
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o600)
    assert cache.read(KEY) is None


def test_a_place_that_cannot_be_written_keeps_nothing_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = PrivateDirectory(str(tmp_path / "file" / "cache"))
    cache.write(KEY, b"database")
    assert cache.read(KEY) is None


@pytest.mark.parametrize("key", ["", "../x", "A" * 64])
def test_a_key_is_a_digest_and_never_a_path(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="hex digest"):
        PrivateDirectory(str(tmp_path)).write(key, b"x")
