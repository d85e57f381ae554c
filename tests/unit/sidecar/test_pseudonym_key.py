"""The key of pseudonyms is private, whole, or not taken."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from gateway.errors import ConfigInvalid
from sidecar.pseudonym_key import read_pseudonym_key

KEY = bytes(range(32))


def key_file(directory: Path, text: bytes, mode: int = 0o600) -> str:
    path = directory / "pseudonym.key"
    path.write_bytes(text)
    path.chmod(mode)
    return str(path)


def test_without_a_file_there_is_no_key() -> None:
    assert read_pseudonym_key(None) is None


def test_the_key_is_what_the_file_says(tmp_path: Path) -> None:
    assert read_pseudonym_key(key_file(tmp_path, base64.b64encode(KEY) + b"\n")) == KEY


@pytest.mark.parametrize("text", [b"", b"%%%", base64.b64encode(KEY[:31])])
def test_a_key_that_could_be_guessed_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ConfigInvalid, match="at least 32 bytes"):
        read_pseudonym_key(key_file(tmp_path, text))


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="0600"):
        read_pseudonym_key(key_file(tmp_path, base64.b64encode(KEY), 0o640))


def test_a_key_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="key_file"):
        read_pseudonym_key(str(tmp_path / "absent"))
