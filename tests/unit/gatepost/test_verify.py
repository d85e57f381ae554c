"""``gatepost verify``: proved, false, incomplete and unreadable are four exit codes."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from gateway.evidence import Report
from gateway.note import NoteKey
from tests.attacked import WITNESS_KEY, World
from tests.exports import OTHER, PIN, Writer, export, logged, sound
from tests.unit.gatepost.running import gatepost

OTHER_ROOT = "sha256:" + "0" * 64


@pytest.fixture
def lines() -> list[bytes]:
    """An export in which everything is proved."""
    return sound()


def written(tmp_path: Path, lines: list[bytes], name: str = "export.ndjson") -> Path:
    path = tmp_path / name
    path.write_bytes(b"".join(lines))
    return path


def test_a_whole_export_is_0(tmp_path: Path, lines: list[bytes]) -> None:
    ended = gatepost("verify", written(tmp_path, lines), "--root", PIN)
    assert (ended.code, ended.err.strip()) == (0, "")
    assert PIN in ended.out
    assert "true" in ended.out


def test_json_is_the_report_alone(tmp_path: Path, lines: list[bytes]) -> None:
    ended = gatepost("verify", written(tmp_path, lines), "--root", PIN, "--json")
    assert (ended.code, ended.err) == (0, "")
    report = msgspec.json.decode(ended.out, type=Report)
    assert (report.lines, report.fingerprint) == (len(lines), PIN)


def test_a_compressed_export_is_the_same(tmp_path: Path, lines: list[bytes]) -> None:
    plain = gatepost("verify", written(tmp_path, lines), "--root", PIN, "--json")
    path = tmp_path / "export.gz"
    path.write_bytes(gzip.compress(b"".join(lines[:2])) + gzip.compress(b"".join(lines[2:])))
    packed = gatepost("verify", path, "--root", PIN, "--json")
    assert (packed.code, packed.json) == (plain.code, plain.json)


def test_one_flipped_bit_is_1(tmp_path: Path, lines: list[bytes]) -> None:
    data = bytearray(b"".join(lines))
    data[len(data) // 2] ^= 1
    ended = gatepost("verify", written(tmp_path, [bytes(data)]), "--root", PIN)
    assert ended.code == 1
    assert "false" in ended.out


def test_another_root_proves_nothing(tmp_path: Path, lines: list[bytes]) -> None:
    assert gatepost("verify", written(tmp_path, lines), "--root", OTHER_ROOT).code == 1


def test_what_is_missing_is_3(tmp_path: Path) -> None:
    writer = Writer()
    records = writer.whole()[:-1]
    ended = gatepost("verify", written(tmp_path, logged(export(writer, records))), "--root", PIN)
    assert ended.code == 3
    assert "incomplete" in ended.out


def test_there_is_no_default_for_the_root(tmp_path: Path, lines: list[bytes]) -> None:
    path = written(tmp_path, lines)
    missing = gatepost("verify", path)
    assert missing.code == 2
    assert "--root" in missing.err
    for text in ("", "nonsense", PIN.upper(), PIN + "0", PIN.removeprefix("sha256:"), f"{PIN}\n"):
        ended = gatepost("verify", path, "--root", text)
        assert (ended.code, ended.out) == (2, "")
        assert "is not sha256: and 64 hex digits" in ended.err


@pytest.mark.parametrize("damage", ["cut", "flipped", "trailing"])
def test_damaged_compression_is_2_and_said_to_be_that(
    tmp_path: Path, lines: list[bytes], damage: str
) -> None:
    data = bytearray(gzip.compress(b"".join(lines) * 3))
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    else:
        data += b"\x1f\x8b\xff"
    path = tmp_path / "export.gz"
    path.write_bytes(data)
    for options in ([], ["--json"]):
        ended = gatepost("verify", path, "--root", PIN, *options)
        assert (ended.code, ended.out) == (2, "")
        assert "export.gz" in ended.err


def test_what_cannot_be_opened_is_2(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        ended = gatepost("verify", path, "--root", PIN)
        assert (ended.code, ended.out) == (2, "")
        assert str(path) in ended.err


@pytest.mark.parametrize("text", [b"", b"\n\n", b"not json\n", b"\xff\xfe\x00", b"{}\n" * 2_000])
def test_what_is_no_export_is_judged_and_not_crashed_on(tmp_path: Path, text: bytes) -> None:
    ended = gatepost("verify", written(tmp_path, [text]), "--root", PIN, "--json")
    assert ended.code in (1, 3)
    assert msgspec.json.decode(ended.out, type=Report).lines <= 2_000


def test_an_endless_line_is_cut_and_not_held(
    tmp_path: Path, lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatepost.export_file._LINE_BYTES_MAX", 100_000)
    path = written(tmp_path, [*lines, b"x" * 350_000])
    ended = gatepost("verify", path, "--root", PIN, "--json")
    assert ended.code == 1
    assert msgspec.json.decode(ended.out, type=Report).lines == len(lines) + 4


def test_words_of_an_export_are_not_obeyed(tmp_path: Path, lines: list[bytes]) -> None:
    forged = b'{"payloadType":"[/red]\\u001b[2J","payload":"","signatures":[]}\n'
    ended = gatepost("verify", written(tmp_path, [*lines, forged]), "--root", PIN)
    assert ended.code == 1
    assert "\x1b" not in ended.out


def test_a_checkpoint_and_witnesses_of_the_auditor_are_held_against_the_export(
    tmp_path: Path,
) -> None:
    world = World().play()
    path = written(tmp_path, world.lines())
    pin = tmp_path / "seen.txt"
    pin.write_text(world.pinned)
    options = ["--root", PIN, "--pin", pin, "--witness", WITNESS_KEY.verifier_key()]
    ended = gatepost("verify", path, *options)
    assert ended.code == 0, ended.out
    assert "anchored until: 19 leaves" in " ".join(ended.out.split())
    assert "seen by witness.example/1 at 2026-11-23T19:35:00" in " ".join(ended.out.split())
    pin.write_text(world.pinned.replace("\n8\n", "\n7\n"))
    assert gatepost("verify", path, *options).code == 1


def test_what_an_auditor_brings_must_be_usable(tmp_path: Path, lines: list[bytes]) -> None:
    path = written(tmp_path, lines)
    witness = NoteKey("w.example", OTHER.public, cosigns=True).verifier_key()
    log_key = NoteKey("log.example", OTHER.public).verifier_key()
    junk = tmp_path / "junk.txt"
    junk.write_text("no note")
    for options, words in (
        (["--witness", "nonsense"], "a verifier key is"),
        (["--witness", log_key], "the key of a log"),
        (["--witness", witness, "--witness", witness], "twice"),
        (["--witness", witness, "--quorum", "2"], "there are 1 witnesses"),
        (["--quorum", "1"], "there are 0 witnesses"),
        (["--witness", witness, "--quorum", "0"], "there are 1 witnesses"),
        (["--pin", junk], "junk.txt"),
        (["--pin", tmp_path / "absent"], "absent"),
    ):
        ended = gatepost("verify", path, "--root", PIN, *options)
        assert (ended.code, ended.out) == (2, ""), options
        assert words in " ".join(ended.err.split()), options


def test_a_policy_says_which_witnesses_are_enough(tmp_path: Path) -> None:
    world = World().play()
    path = written(tmp_path, world.lines())
    pin, policy = tmp_path / "seen.txt", tmp_path / "policy.txt"
    pin.write_text(world.pinned)
    other = NoteKey("other.example", OTHER.public, cosigns=True)
    named = f"witness w {WITNESS_KEY.verifier_key()}\nwitness o {other.verifier_key()}\n"
    options = ["--root", PIN, "--pin", pin, "--witness-policy", policy]
    for rest, code in (("group g any w o\nquorum g\n", 0), ("group g all w o\nquorum g\n", 3)):
        policy.write_text(named + rest)
        ended = gatepost("verify", path, *options)
        assert ended.code == code, ended.out
    assert "1 of 2 witnesses cosigned the checkpoint" in " ".join(ended.out.split())


@pytest.mark.parametrize(
    ("text", "more", "cause"),
    [
        ("quorum none\n", [], "leave the option out"),
        ("quorum w\n", [], "line 1: nothing above is named 'w'"),
        ("", ["--quorum", "1"], "give it alone"),
    ],
)
def test_a_policy_that_cannot_be_used_is_2(
    tmp_path: Path, lines: list[bytes], text: str, more: list[str], cause: str
) -> None:
    policy = tmp_path / "policy.txt"
    policy.write_text(text)
    options = ["--root", PIN, "--witness-policy", policy, *more]
    ended = gatepost("verify", written(tmp_path, lines), *options)
    assert (ended.code, ended.out) == (2, "")
    assert cause in " ".join(ended.err.split())
