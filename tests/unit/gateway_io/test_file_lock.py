"""A lock that can be asked about by who must not take it."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from gateway.io import file_lock


def test_a_held_lock_is_seen_and_a_free_one_is_free(tmp_path: Path) -> None:
    path = str(tmp_path / "LOCK")
    assert file_lock.is_held(path) is False
    assert not (tmp_path / "LOCK").exists(), "asking makes no file"
    lock = file_lock.take(path)
    assert lock is not None
    assert file_lock.is_held(path) is True
    lock.release()
    assert file_lock.is_held(path) is False


def test_asking_never_stands_in_the_way_of_taking(tmp_path: Path) -> None:
    path = str(tmp_path / "LOCK")
    (tmp_path / "LOCK").touch()
    with (tmp_path / "LOCK").open("rb"):
        for _ in range(3):
            assert file_lock.is_held(path) is False
            lock = file_lock.take(path)
            assert lock is not None, "a question was taken for an owner"
            assert file_lock.is_held(path) is True
            assert file_lock.take(path) is None
            lock.release()


def test_where_the_kernel_cannot_say_it_is_not_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "LOCK")

    def refuse(*_: object) -> bytes:
        raise OSError(errno.EINVAL, "invalid argument")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    lock = file_lock.take(path)
    assert lock is not None, "the lock itself does not need the mark"
    assert file_lock.is_held(path) is None
    assert file_lock.take(path) is None
    lock.release()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "LOCK").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="symbolic links"):
        file_lock.is_held(str(tmp_path / "LOCK"))
