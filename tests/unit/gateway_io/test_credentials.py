from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from gateway import limits
from gateway.errors import ConfigInvalid
from gateway.io.credentials import CredentialFile, Credentials, CredentialStyle

SECRET = "sk-secret-0123456789"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    write(file, SECRET)
    return file


def write(file: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    file.write_bytes(data)
    file.chmod(0o600)


def load(file: Path, style: CredentialStyle = "bearer") -> Credentials:
    return Credentials({"openai": CredentialFile(path=str(file), style=style)})


def problem(credentials: Credentials) -> str | None:
    return credentials.status()[0].problem


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("style", "line"),
    [
        ("bearer", ("authorization", f"Bearer {SECRET}")),
        ("x-api-key", ("x-api-key", SECRET)),
        ("api-key", ("api-key", SECRET)),
        ("x-goog-api-key", ("x-goog-api-key", SECRET)),
    ],
)
async def test_each_style_has_its_header(
    path: Path, style: CredentialStyle, line: tuple[str, str]
) -> None:
    assert load(path, style).headers_for("openai") == (line,)


@pytest.mark.anyio
@pytest.mark.parametrize("content", [SECRET + "\n", SECRET + "\r\n", f"  {SECRET}\t\n\n"])
async def test_white_space_around_the_key_is_not_part_of_it(path: Path, content: str) -> None:
    write(path, content)
    assert load(path).headers_for("openai") == (("authorization", f"Bearer {SECRET}"),)


UNUSABLE: list[tuple[bytes, str]] = [
    (b"", "is empty"),
    (b" \n", "is empty"),
    (b"two words", "spaces, line breaks"),
    (b"a\r\nx-other: b", "spaces, line breaks"),
    (b"a\0b", "spaces, line breaks"),
    (b"a\x7fb", "spaces, line breaks"),
    ("schlüssel".encode(), "spaces, line breaks"),
    (b"a" * (limits.CREDENTIAL_BYTES_MAX + 1), "is larger than"),
]


@pytest.mark.parametrize(("content", "words"), UNUSABLE)
def test_a_start_without_a_usable_key_is_a_configuration_error(
    path: Path, content: bytes, words: str
) -> None:
    write(path, content)
    with pytest.raises(ConfigInvalid, match=words) as caught:
        load(path)
    assert "'openai'" in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_a_directory_and_a_pipe_are_named(path: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for file, words in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "regular file|Is a directory"),
        (pipe, "is not a regular file"),
    ):
        with pytest.raises(ConfigInvalid, match=words):
            load(file)


def test_an_unknown_style_is_a_configuration_error(path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="unknown style 'basic'"):
        load(path, "basic")  # type: ignore[arg-type]  # what a hand-made entry may say


@pytest.mark.anyio
async def test_an_unknown_id_is_a_key_error(path: Path) -> None:
    with pytest.raises(KeyError):
        load(path).headers_for("anthropic")


class Seconds:
    """Makes the next use look at the file again, without waiting for the second to pass."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def pass_by(self) -> None:
        for credential in self._credentials._loaded.values():
            credential.check_at = anyio.current_time()


@pytest.mark.anyio
async def test_a_replaced_file_is_read_within_a_second_of_use(path: Path, tmp_path: Path) -> None:
    credentials = load(path)
    seconds = Seconds(credentials)
    assert credentials.headers_for("openai")[0][1] == f"Bearer {SECRET}"
    new = tmp_path / "new"
    write(new, "sk-new")
    os.utime(new, ns=(0, 0))  # older than the one before, as a restored Secret is
    os.rename(new, path)
    assert credentials.headers_for("openai")[0][1] == f"Bearer {SECRET}"
    seconds.pass_by()
    assert credentials.headers_for("openai")[0][1] == "Bearer sk-new"


@pytest.mark.anyio
async def test_a_mounted_secret_is_followed_through_its_links(tmp_path: Path) -> None:
    for name, content in (("one", "sk-one"), ("two", "sk-two")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "key", content)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "key").symlink_to("..data/key")
    credentials = load(tmp_path / "key")
    (tmp_path / "..data_tmp").symlink_to("two")
    os.rename(tmp_path / "..data_tmp", tmp_path / "..data")
    Seconds(credentials).pass_by()
    assert credentials.headers_for("openai")[0][1] == "Bearer sk-two"


@pytest.mark.anyio
@pytest.mark.parametrize(("content", "words"), UNUSABLE)
async def test_the_last_good_key_outlives_a_bad_file_and_the_status_says_why(
    path: Path, content: bytes, words: str
) -> None:
    credentials = load(path)
    seconds = Seconds(credentials)
    write(path, content)
    seconds.pass_by()
    assert credentials.headers_for("openai")[0][1] == f"Bearer {SECRET}"
    assert words.partition(",")[0] in str(problem(credentials))
    write(path, "sk-mended")
    seconds.pass_by()
    assert credentials.headers_for("openai")[0][1] == "Bearer sk-mended"
    assert problem(credentials) is None


@pytest.mark.anyio
async def test_the_last_good_key_outlives_a_missing_file(path: Path, tmp_path: Path) -> None:
    credentials = load(path)
    seconds = Seconds(credentials)
    away = tmp_path / "away"
    os.rename(path, away)
    seconds.pass_by()
    assert credentials.headers_for("openai")[0][1] == f"Bearer {SECRET}"
    assert "No such file" in str(problem(credentials))
    # The very same file comes back.
    os.rename(away, path)
    seconds.pass_by()
    credentials.headers_for("openai")
    assert problem(credentials) is None


@pytest.mark.anyio
async def test_reload_reads_at_once(path: Path) -> None:
    credentials = load(path)
    write(path, "sk-new")
    credentials.reload()
    assert credentials.headers_for("openai")[0][1] == "Bearer sk-new"


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)]
)
def test_a_file_that_others_can_read_is_warned_of(path: Path, mode: int, warned: bool) -> None:
    path.chmod(mode)
    warning = load(path).status()[0].warning
    assert (warning is not None) == warned
    if warning is not None:
        assert f"{mode:04o}" in warning


def test_no_repr_status_or_error_holds_a_key(path: Path) -> None:
    credentials = load(path)
    texts = [repr(credentials), repr(credentials.status()), repr(credentials._loaded)]
    write(path, SECRET + " second")
    credentials.reload()
    texts.append(repr(credentials.status()))
    with pytest.raises(ConfigInvalid) as caught:
        load(path)
    texts.append(str(caught.value))
    assert all(SECRET not in text for text in texts)
