"""Where policies lie on disk: a file, a directory of files, or a bundle.

Owns: which files of a directory belong to a policy, their reading and its bounds, and telling the
author what is wrong. Refuses: what stands in them (``gateway.policy_source``), and signatures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NoReturn

import click

from gatepost.faults import InputOutputError
from gatepost.terminal import plain
from gateway import documents, limits, seal
from gateway.errors import DocumentInvalid
from gateway.policy import SampleInput, SelfTest, decode_bundle
from gateway.policy_source import PolicySource, read_call, read_policy, read_tests
from gateway.table import compile_policy
from gateway.yaml_text import Place, SourceInvalid

_ENDINGS: Final = (".yaml", ".yml", ".json")
_BYTES_MAX: Final = 2 * limits.POLICY_BUNDLE_BYTES_MAX
_ENVELOPE: Final = b'"payloadType"'


def policy_in(path: Path) -> PolicySource:
    """The policy in ``path``. Raises InputOutputError; ends with exit code 1 if it is invalid.

    A directory is one policy: its ``*.yaml``, ``*.yml`` and ``*.json``, by name, without those
    below it. A signed or unsigned bundle is taken as it is.
    """
    files = [(str(one), _read(one)) for one in _files(path)]
    try:
        if len(files) == 1 and _ENVELOPE in files[0][1][:64]:
            return _of_bundle(*files[0])
        return read_policy(files)
    except SourceInvalid as error:
        _tell(error)
    except DocumentInvalid as error:
        raise click.ClickException(plain(f"{path}: {error.detail}")) from error


def tests_in(path: Path) -> list[SelfTest]:
    """The tests in ``path``, a file or a directory. As ``policy_in``."""
    try:
        return [test for one in _files(path) for test in read_tests(str(one), _read(one))]
    except SourceInvalid as error:
        _tell(error)


def call_in(path: Path) -> SampleInput:
    """The call in ``path``, written as a test's input. As ``policy_in``."""
    try:
        return read_call(str(path), _read(path))
    except SourceInvalid as error:
        _tell(error)


def _tell(error: SourceInvalid) -> NoReturn:
    for fault in error.faults:
        click.echo(plain(str(fault)), err=True)
    count = len(error.faults)
    raise click.ClickException(f"{count} mistake{'s' if count > 1 else ''}; nothing was done")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.iterdir() if one.suffix in _ENDINGS and one.is_file())
    if not found:
        raise InputOutputError(f"{path}: no file that ends in {', '.join(_ENDINGS)}")
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise InputOutputError(f"{path}: {error.strerror}") from error
    if len(data) > _BYTES_MAX:
        raise InputOutputError(f"{path}: over {_BYTES_MAX} bytes")
    return data


def _of_bundle(file: str, data: bytes) -> PolicySource:
    envelope = seal.parse_envelope(data)
    if envelope.payload_type != documents.BUNDLE:
        raise DocumentInvalid("type", f"is {envelope.payload_type!r}, not a bundle")
    payload = seal.unbase64(envelope.payload, "unreadable")
    policy = decode_bundle(payload).policy
    digest = seal.sha256_text(payload)
    return PolicySource(policy, compile_policy(policy), {(): Place(file, 1, 1)}, digest)
