"""A development home: keys that nobody else can read, made once and in order."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path

import pytest

from gatepost.faults import InputOutputError
from gatepost.home import SCOPE, Home, toml_text
from gatepost.key_set import KEY_ROLES
from gatepost.samples import sample
from gateway import documents, seal
from gateway.policy import decode_bundle
from sidecar.config import parse
from tests.sim.clock import EPOCH_US
from tests.sim.entropy import SeededEntropy
from tests.unit.sidecar.config_text import SMALLEST, toml

POLICY = sample("policy.json")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make(SeededEntropy(1), EPOCH_US, POLICY)
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def secrets(home: Home) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.keys.iterdir()}


def test_keys_are_0600_in_0700_whatever_the_umask(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    before = os.umask(0)
    try:
        home.make(SeededEntropy(1), EPOCH_US, POLICY)
    finally:
        os.umask(before)
    assert mode(home.keys) == mode(home.directory) == 0o700
    assert {mode(path) for path in home.keys.iterdir()} == {0o600}
    assert set(secrets(home)) == {
        *(home.key_file(role).name for role in KEY_ROLES),
        *("digest-wrap.key", "operator.token", "auditor.token", "one-time.token"),
    }


def test_a_home_of_an_older_version_gets_the_token_that_it_lacks(home: Home) -> None:
    kept = home.operator_token.read_bytes()
    home.auditor_token.unlink()
    home.draw_tokens(SeededEntropy(2))
    assert len(home.auditor_token.read_bytes().strip()) == 32
    assert (home.operator_token.read_bytes(), mode(home.auditor_token)) == (kept, 0o600)


def test_keys_are_drawn_in_order_before_the_root_that_names_them(tmp_path: Path) -> None:
    drawn: list[bytes] = []

    class Entropy(SeededEntropy):
        def bytes(self, count: int) -> bytes:
            drawn.append(super().bytes(count))
            return drawn[-1]

    home = Home(tmp_path / "home")
    home.make(Entropy(1), EPOCH_US, POLICY)
    assert [seal.Signer(seed).kid for seed in drawn[: len(KEY_ROLES)]] == [
        home.signer(role).kid
        for role in ("root", "issuer", "log", "policy_head", "bundle", "revocation")
    ]


def test_the_root_is_a_development_root_that_pins_itself(home: Home) -> None:
    data = (home.roots / "1.json").read_bytes()
    sealed = seal.parse_envelope(data)
    key = home.signer("root")
    seal.open_envelope(sealed, documents.ROOT, {key.kid: key.public})
    assert seal.sha256_text(base64.b64decode(sealed.payload)) == home.root_fingerprint
    root = documents.decode_exact(base64.b64decode(sealed.payload), documents.Root)
    assert root.custody == "development"
    assert root.scopes == [SCOPE]
    assert root.roles.issuer.keyids == [home.signer("issuer").kid]
    assert root.roles.revocation.keyids != root.roles.log.keyids
    assert mode(home.roots) == 0o700


def test_a_second_make_keeps_every_key(home: Home) -> None:
    before, fingerprint = secrets(home), home.root_fingerprint
    assert home.made
    home.make(SeededEntropy(2), EPOCH_US + 1, b"{}")
    assert secrets(home) == before
    assert home.policy_json.read_bytes() == POLICY, "an edited policy is kept"
    assert home.root_fingerprint != fingerprint, "a new root of the same keys"


def test_an_interrupted_make_is_finished_by_the_next(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    class Interrupted(SeededEntropy):
        left = 3

        def bytes(self, count: int) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().bytes(count)

    with pytest.raises(KeyboardInterrupt):
        home.make(Interrupted(1), EPOCH_US, POLICY)
    assert not (home.roots / "1.json").exists()
    kept = secrets(home)
    assert len(kept) == 3
    (home.keys / "bundle.key.new").write_bytes(b"half a k")
    home.make(SeededEntropy(2), EPOCH_US, POLICY)
    assert home.made
    assert kept.items() <= secrets(home).items()
    assert len(home.signer("bundle").public) == 32
    assert not (home.keys / "bundle.key.new").exists()


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputOutputError, match=r"file/home"):
        Home(tmp_path / "file" / "home").make(SeededEntropy(1), EPOCH_US, POLICY)


@pytest.mark.parametrize("text", ["", "nonsense", "AAAA"])
def test_a_key_file_that_holds_none_is_named(home: Home, text: str) -> None:
    home.key_file("bundle").write_text(text)
    with pytest.raises(InputOutputError, match=r"bundle\.key: .*bytes, wanted 32"):
        home.signer("bundle")
    home.key_file("bundle").unlink()
    with pytest.raises(InputOutputError, match=r"bundle\.key: No such file"):
        home.signer("bundle")


def test_a_bundle_is_the_edited_policy_signed_by_the_bundle_key(home: Home) -> None:
    issued = home.bundle(7, EPOCH_US)
    sealed = seal.parse_envelope(issued.envelope)
    key = home.signer("bundle")
    seal.open_envelope(sealed, documents.BUNDLE, {key.kid: key.public})
    bundle = decode_bundle(base64.b64decode(sealed.payload))
    assert (bundle.version, bundle.scope) == (7, SCOPE)


def test_tokens_stand_in_configurations_as_digests(home: Home) -> None:
    token = home.operator_token.read_bytes().strip()
    assert home.token_sha256(home.operator_token) == hashlib.sha256(token).hexdigest()
    assert len(base64.urlsafe_b64decode(token)) == 24


@pytest.mark.parametrize("text", ["a", 'a"b', "a\\b", "a\nb", "ü", "/tmp/x y"])
def test_text_in_a_configuration_is_read_back(text: str) -> None:
    document = toml({**SMALLEST, "spool": {}}) + f"[classification]\npack_file = {toml_text(text)}"
    assert parse(document).classification.pack_file == text
