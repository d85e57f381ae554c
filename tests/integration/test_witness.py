"""A witness, a store and a daemon as processes: what is cosigned verifies, a new history does not.

The witness learns of the log by what `gatepost store log-keys` prints, the store of the witness by
what that announces, and the auditor of both by the same lines.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from central.record_store.witnesses import Witnessing
from gatepost.home import REGION, TENANT
from gatepost.process import Child, Children
from gateway import note, seal
from gateway.note import NoteKey
from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import MODEL
from tests.integration.system import Central, Edit
from tests.integration.waiting import eventually

pytestmark = pytest.mark.integration

BASE = f"/log/{TENANT}/{REGION}/1"


class Watch:
    """A witness of one store: started when the store's configuration is known."""

    def __init__(self, directory: Path, children: Children) -> None:
        self._directory = directory
        self._children = children
        self._child: Child | None = None
        self.url = ""
        self.key = ""

    def edit(self, text: str) -> str:
        """The store's configuration with this witness in it."""
        if self._child is None:
            self._start(text)
        policy = self._directory / "witnesses.policy"
        policy.write_text(f"witness other-house {self.key} {self.url}\nquorum other-house\n")
        return f'{text}\n[witnesses]\npolicy = "{policy}"\npush_seconds = 1\nanswer_seconds = 1\n'

    def _start(self, text: str) -> None:
        central_toml = self._directory / "central.toml"
        central_toml.write_text(text)
        logs = gatepost("store", "log-keys", "--config", str(central_toml))
        assert logs.returncode == 0, logs.stderr
        seed = self._directory / "witness.key"
        seed.write_text(base64.b64encode(b"w" * 32).decode())
        seed.chmod(0o600)
        config = self._directory / "witness.toml"
        config.write_text(
            'name = "other-house.example/w"\nkey = "witness.key"\nport = 0\n'
            f'data_directory = "witness"\n{logs.stdout}'
        )
        self._child = self._children.start(
            "witness", "gatepost", ["witness", "--config", str(config)]
        )
        announced = self._child.wait_ready()
        self.url, self.key = str(announced["url"]), str(announced["key"])

    def contradictions(self) -> list[dict[str, object]]:
        with urllib.request.urlopen(f"{self.url}/contradictions", timeout=10) as answer:
            return msgspec.json.decode(answer.read(), type=list[dict[str, object]])


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    (tmp_path / "logs").mkdir()
    with Children(tmp_path / "logs") as children:
        yield Watch(tmp_path, children)


def gatepost(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gatepost", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _witnessing(services: Central) -> Witnessing:
    return msgspec.json.decode(services.client.get(f"{BASE}/witnesses"), type=Witnessing)


def _calls(make_site: MakeSite, services: Central, count: int) -> None:
    """A daemon that takes ``count`` calls, ships them and ends."""
    daemon = make_site(services=services).start()
    for _ in range(count):
        raw.ask(daemon.port, raw.chat_request(MODEL))
    assert daemon.stop() == 0


def _verified(services: Central, directory: Path, key: str) -> dict[str, str]:
    export = directory / "export.ndjson"
    services.client.save("/v1/exports?complete=1", export)
    root = services.home.root_fingerprint
    ended = gatepost("verify", str(export), "--root", root, "--witness", key, "--json")
    assert ended.returncode in (0, 3), ended.stdout + ended.stderr
    return {one["name"]: one["state"] for one in msgspec.json.decode(ended.stdout)["verdicts"]}


def _key_of_a_stranger() -> str:
    public = seal.Signer(b"s" * 32).public
    return NoteKey("other-house.example/w", public, cosigns=True).verifier_key()


def _without(edit: Edit, services: Central) -> None:
    """The same store, key and origin with an empty database: its history begins anew."""
    services.kill()
    for path in (services.home.directory / "central").glob("records.db*"):
        path.unlink()
    services.start(edit)


@pytest.mark.timeout(180)
def test_an_export_is_cosigned_and_a_rewritten_log_is_not(
    watch: Watch, make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central(edit=watch.edit)
    _calls(make_site, services, 3)
    services.client.get("/v1/instances")
    told = eventually(
        lambda: one if (one := _witnessing(services)).quorum_size == one.size else None,
        "a cosignature of all that was shipped",
    )
    assert (told.witnesses[0].name, told.witnesses[0].state) == ("other-house", "good")
    cosigned = services.client.get(f"{BASE}/checkpoint").decode()
    assert note.cosigned(note.parse(cosigned), [note.parse_key(watch.key)])
    verdicts = _verified(services, tmp_path, watch.key)
    assert (verdicts["witnesses"], verdicts["tail"]) == ("true", "true")
    stranger = _key_of_a_stranger()
    assert _verified(services, tmp_path, stranger)["witnesses"] == "incomplete"

    _without(watch.edit, services)
    _calls(make_site, services, 1)
    ahead = eventually(
        lambda: one if (one := _witnessing(services)).witnesses[0].state == "ahead" else None,
        "the witness saying that it cosigned more",
    )
    assert ahead.size < told.size
    assert (ahead.quorum_size, ahead.witnesses[0].cosigned_size) == (None, 0)
    assert watch.contradictions() == []

    _calls(make_site, services, 20)
    services.kill()
    services.start(watch.edit)  # the pause after a refusal is as long as several rounds
    refused = eventually(
        lambda: one if (one := _witnessing(services)).witnesses[0].state == "contradicts" else None,
        "the witness refusing the other history",
    )
    assert refused.size > told.size
    assert (refused.quorum_size, refused.witnesses[0].cosigned_size) == (None, 0)
    (kept,) = watch.contradictions()
    assert str(kept["cosigned_note"]).startswith(f"localhost{BASE}\n")
    assert str(kept["refused_note"]).startswith(f"localhost{BASE}\n")
    assert _verified(services, tmp_path, watch.key)["witnesses"] == "incomplete"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('name = "w"\nkey = "absent.key"\nlogs = []\n', "absent.key"),
        ('name = "w"\nkey = "absent.key"\nlogs = []\nlogo = 1\n', "logo"),
        ("name =", "witness.toml"),
    ],
)
def test_a_witness_that_cannot_start_ends_with_78(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "witness.toml"
    path.write_text(text)
    ended = gatepost("witness", "--config", str(path))
    assert (ended.returncode, ended.stdout) == (78, "")
    assert word in ended.stderr
    assert "Traceback" not in ended.stderr


def test_log_keys_of_a_configuration_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    ended = gatepost("store", "log-keys", "--config", str(tmp_path / "absent.toml"))
    assert (ended.returncode, "absent.toml" in ended.stderr) == (2, True)
