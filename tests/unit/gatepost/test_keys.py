"""``gatepost keys``: several holders, each with a key file of their own, and what they may sign."""

from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatepost import signed_file
from gateway import checkpoint, documents, issuing, quorum, roots, seal
from gateway.documents import LogStatement, Root
from gateway.policy import Grant, Policy
from tests import exports
from tests.unit.gatepost.running import Ended, gatepost

HOLDERS = ("alice", "bob", "carol")
PLAN = """
scopes = ["acme/prod/*"]
custody = "offline"

[keys]
{keys}

[roles.root]
keys = ["alice", "bob", "carol"]
threshold = 2
[roles.bundle]
keys = ["alice", "bob"]
threshold = 2
[roles.policy_head]
keys = ["head"]
threshold = 1
[roles.issuer]
keys = ["issuer"]
threshold = 1
[roles.log]
keys = ["log"]
threshold = 1
[roles.revocation]
keys = ["bob", "carol"]
threshold = 2
"""
KID = "ed25519:" + "ab" * 32


class Holders:
    """Key files and public keys, by name, and the drafted root 1."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.keys: dict[str, Any] = {}
        for name in (*HOLDERS, "head", "issuer", "log"):
            self.draw(name)
        self.roots = directory / "roots"
        self.roots.mkdir()
        self.plan = directory / "plan.toml"
        listed = "\n".join(f'{name} = "{key["public"]}"' for name, key in self.keys.items())
        self.plan.write_text(PLAN.format(keys=listed))

    def draw(self, name: str) -> None:
        drawn = gatepost("keys", "init", self.file(name), "--json")
        assert drawn.code == 0
        self.keys[name] = drawn.json

    def file(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def kid(self, name: str) -> str:
        return str(self.keys[name]["kid"])

    def sign(self, file: Path, name: str, *more: object) -> Ended:
        return gatepost("keys", "sign", file, "--key", self.file(name), "--yes", *more)

    def first_root(self) -> Path:
        """Root 1, signed by two of three and put in its place."""
        draft = self.directory / "draft.json"
        assert gatepost("keys", "init", "--root", draft, "--plan", self.plan).code == 0
        for name in ("alice", "carol"):
            assert self.sign(draft, name).code == 0
        return draft.rename(self.roots / "1.json")

    @property
    def root(self) -> Root:
        return signed_file.read_roots(self.roots)[-1]


@pytest.fixture
def holders(tmp_path: Path) -> Holders:
    return Holders(tmp_path)


@pytest.fixture
def trusted(holders: Holders) -> Holders:
    holders.first_root()
    return holders


def test_a_key_is_drawn_for_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "alice.key"
    drawn = gatepost("keys", "init", path, "--role", "root")
    assert drawn.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    signer = seal.Signer(base64.b64decode(path.read_text()))
    assert signer.kid in drawn.out
    assert base64.b64encode(signer.public).decode() in drawn.out
    assert base64.b64encode(base64.b64decode(path.read_text())).decode() not in drawn.out
    before = path.read_bytes()
    again = gatepost("keys", "init", path)
    assert again.code == 2
    assert "never overwritten" in again.err
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["alice.key"]


def test_a_root_is_complete_when_its_threshold_has_signed(holders: Holders) -> None:
    draft = holders.directory / "draft.json"
    written = gatepost("keys", "init", "--root", draft, "--plan", holders.plan)
    assert "2 of 3 must sign" in written.out
    payload = quorum.payload_of(signed_file.read_envelope(draft))
    assert seal.sha256_text(payload) in written.out
    assert gatepost("keys", "show", draft).code == 3
    first = holders.sign(draft, "alice")
    assert (first.code, "complete" in first.out) == (0, False)
    assert holders.sign(draft, "alice").out.startswith("this key had signed it before")
    assert gatepost("keys", "show", draft).code == 3
    second = holders.sign(draft, "bob")
    assert "put it as 1.json into roots_directory" in second.out
    shown = gatepost("keys", "show", draft, "--json")
    assert shown.code == 0
    assert shown.json["complete"]
    assert shown.json["custody"] == "offline"
    assert shown.json["roles"][0]["missing"] == [holders.kid("carol")]
    assert quorum.payload_of(signed_file.read_envelope(draft)) == payload
    roots.open_first(signed_file.read_envelope(draft), seal.sha256_text(payload))


def test_what_is_signed_is_told_and_asked_first(holders: Holders) -> None:
    draft = holders.directory / "draft.json"
    gatepost("keys", "init", "--root", draft, "--plan", holders.plan)
    before = draft.read_bytes()
    asked = gatepost("keys", "sign", draft, "--key", holders.file("alice"))
    assert asked.code == 1
    assert "root 1, epoch 1, custody offline" in asked.err
    assert "Sign this with" in asked.err
    assert draft.read_bytes() == before


def test_the_next_root_counts_when_the_holders_of_both_have_signed(trusted: Holders) -> None:
    trusted.draw("dora")
    draft, dora = trusted.directory / "next.json", trusted.keys["dora"]["public"]
    change = f"{trusted.kid('alice')}={dora}"
    drafted = gatepost(
        *("keys", "rotate-root", trusted.roots, "--out", draft, "--replace", change),
        *("--threshold", "root=3"),
    )
    assert drafted.code == 0, drafted.err
    for words in (
        f"root: loses {trusted.kid('alice')}",
        f"root: gains {trusted.kid('dora')}",
        "root: threshold 2 becomes 3",
        f"bundle: gains {trusted.kid('dora')}",
    ):
        assert words in drafted.out
    root = ("--root", trusted.roots)
    # Dora is trusted by nobody yet: root 1 must say so.
    for name in ("dora", "bob", "carol"):
        assert "complete" not in gatepost("keys", "show", draft, *root).out
        assert trusted.sign(draft, name, *root).code == 0
    assert gatepost("keys", "show", draft, *root).code == 0
    draft.rename(trusted.roots / "2.json")
    assert [one.version for one in signed_file.read_roots(trusted.roots)] == [1, 2]


def test_a_root_that_only_its_own_holders_signed_is_incomplete(trusted: Holders) -> None:
    for name in ("dora", "emil"):
        trusted.draw(name)
    draft = trusted.directory / "next.json"
    replaced = [
        f"{trusted.kid(old)}={trusted.keys[new]['public']}"
        for old, new in (("alice", "dora"), ("bob", "emil"))
    ]
    arguments = [word for one in replaced for word in ("--replace", one)]
    gatepost("keys", "rotate-root", trusted.roots, "--out", draft, *arguments)
    for name in ("dora", "emil", "carol"):
        trusted.sign(draft, name, "--root", trusted.roots)
    shown = gatepost("keys", "show", draft, "--root", trusted.roots, "--json")
    assert shown.code == 3
    assert [one["met"] for one in shown.json["roles"]] == [False, True]


@pytest.mark.parametrize("name", ["head", "issuer"])
def test_a_key_of_another_role_does_not_sign(holders: Holders, name: str) -> None:
    draft = holders.directory / "draft.json"
    gatepost("keys", "init", "--root", draft, "--plan", holders.plan)
    before = draft.read_bytes()
    refused = holders.sign(draft, name)
    assert refused.code == 1
    assert "is no key of the role root" in refused.err
    assert draft.read_bytes() == before


def _bundle(holders: Holders, **changes: Any) -> Path:
    issued = issuing.build_bundle(
        Policy(grants=[Grant(id="chat", actions=["chat"])]),
        scope="acme/prod/eu",
        epoch=1,
        version=7,
        issued_us=exports.NOW_US,
        not_before_us=exports.NOW_US,
        expires_us=exports.NOW_US + exports.DAY_US,
        source=None,
        signers=[],
    )
    path = holders.directory / "bundle.json"
    path.write_bytes(issued.envelope)
    return path


def test_a_policy_bundle_takes_two_people(trusted: Holders) -> None:
    path, root = _bundle(trusted), ("--root", trusted.roots)
    assert trusted.sign(path, "alice").code == 1, "no root, no role"
    trusted.sign(path, "alice", *root)
    shown = gatepost("keys", "show", path, *root)
    assert shown.code == 3
    assert "policy bundle of acme/prod/eu, version 7" in shown.out
    assert "grant chat: chat" in shown.out
    assert "POST /v1/policy" in trusted.sign(path, "bob", *root).out
    held = roots.role_keys(trusted.root, "bundle")
    seal.open_envelope(path.read_bytes(), documents.BUNDLE, held.keys, held.threshold)


def test_a_log_statement_takes_both_roles(trusted: Holders) -> None:
    path, root = trusted.directory / "statement.json", ("--root", trusted.roots)
    statement = LogStatement(
        closed_origin=checkpoint.origin("store.example", "acme", "eu", 1),
        last_checkpoint="",
        opened_origin=checkpoint.origin("store.example", "acme", "eu", 2),
        reason="the volume was lost",
        issued="2026-11-28T09:00:00.000000Z",
    )
    signed_file.write_draft(path, documents.LOG_STATEMENT, documents.encode(statement))
    for name in ("log", "bob"):
        assert trusted.sign(path, name, *root).code == 0
        assert gatepost("keys", "show", path, *root).code == 3
    assert "install-statement" in trusted.sign(path, "carol", *root).out


def test_what_this_version_does_not_understand_is_not_signed(trusted: Holders) -> None:
    path = trusted.directory / "odd.json"
    payload = documents.encode(trusted.root).replace(b'"spec":1', b'"spec":2')
    signed_file.write_draft(path, documents.ROOT, payload)
    assert "root spec 2" in trusted.sign(path, "alice").err
    path.unlink()
    signed_file.write_draft(path, "application/vnd.example.v1+json", b"{}")
    assert "does not understand" in trusted.sign(path, "alice").err


@pytest.mark.parametrize("line", ["", "{}", "not json"])
def test_a_file_that_holds_no_document_is_named(trusted: Holders, line: str) -> None:
    path = trusted.directory / "other.json"
    path.write_text(line)
    for command in ("show", "sign"):
        key = ("--key", trusted.file("alice")) if command == "sign" else ()
        ended = gatepost("keys", command, path, *key)
        assert ended.code == 2
        assert "other.json" in ended.err


def test_a_revocation_is_written_and_signed_by_two_people(trusted: Holders) -> None:
    path = trusted.directory / "revocation.json"
    written = gatepost(
        *("keys", "revoke", KID, "--root", trusted.roots, "--reason", "the node was taken over"),
        *("--untrusted-from", "2026-11-28T09:00:00.000000Z"),
        *("--key", trusted.file("bob"), "--out", path),
    )
    assert written.code == 0, written.err
    assert "not trusted from 2026-11-28T09:00:00.000000Z on" in written.out
    assert "complete" not in written.out
    assert "POST /v1/revocations" in trusted.sign(path, "carol", "--root", trusted.roots).out
    held = roots.role_keys(trusted.root, "revocation")
    payload = seal.open_envelope(path.read_bytes(), documents.REVOCATION, held.keys, 2)
    assert msgspec.json.decode(payload)["kid"] == KID


def test_a_key_of_a_role_is_not_revoked_but_rotated(trusted: Holders) -> None:
    path = trusted.directory / "revocation.json"
    asked = ("--root", trusted.roots, "--reason", "leaked", "--out", path)
    for name in ("issuer", "log"):
        refused = gatepost("keys", "revoke", trusted.kid(name), *asked)
        assert refused.code == 2
        assert "gatepost keys rotate-root" in refused.err
    assert gatepost("keys", "revoke", "ed25519:short", *asked).code == 2
    assert not path.exists()


def test_a_key_without_the_role_leaves_no_revocation_behind(trusted: Holders) -> None:
    path = trusted.directory / "revocation.json"
    refused = gatepost(
        *("keys", "revoke", KID, "--root", trusted.roots, "--reason", "leaked", "--out", path),
        *("--key", trusted.file("alice")),
    )
    assert refused.code == 1
    assert not path.exists()


def test_an_unsigned_root_is_nothing_to_hold_a_document_against(holders: Holders) -> None:
    draft = holders.directory / "draft.json"
    gatepost("keys", "init", "--root", draft, "--plan", holders.plan)
    holders.sign(draft, "alice")
    refused = gatepost("keys", "show", _bundle(holders), "--root", draft)
    assert refused.code == 2
    assert "1 of 2 needed signatures" in refused.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("threshold = 2", "threshold = 4"), "role root wants 4 of 3"),
        (('keys = ["head"]', 'keys = ["nobody"]'), "'nobody', not in [keys]"),
        (
            ('keys = ["head"]\nthreshold = 1', 'keys = ["head", "log"]\nthreshold = 2'),
            "signs alone",
        ),
        (('custody = "offline"', 'custody = "safe"'), "safe"),
        (("[roles.log]", "[roles.logs]"), "logs"),
    ],
)
def test_a_plan_that_cannot_hold_is_refused(
    holders: Holders, change: tuple[str, str], words: str
) -> None:
    text = holders.plan.read_text()
    assert change[0] in text
    holders.plan.write_text(text.replace(*change, 1))
    draft = holders.directory / "draft.json"
    refused = gatepost("keys", "init", "--root", draft, "--plan", holders.plan)
    assert refused.code == 2
    assert words in refused.err
    assert not draft.exists()


def test_a_set_for_development_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = gatepost(
        *("keys", "init", "--custody", "development", "--directory", home),
        *("--scope", "acme/dev", "--json"),
    )
    assert made.code == 0, made.err
    shown = gatepost("keys", "show", home / "roots" / "1.json")
    assert shown.code == 0
    assert "custody: development" in shown.out
    assert made.json["fingerprint"] in shown.out
    again = gatepost(
        *("keys", "init", "--custody", "development", "--directory", home, "--scope", "acme/dev")
    )
    assert again.code == 2
    assert "never overwritten" in again.err


def test_what_services_signed_is_shown_and_held_against_the_root(tmp_path: Path) -> None:
    root, certificate = tmp_path / "root.json", tmp_path / "certificate.json"
    root.write_bytes(exports.root(1, "development").envelope)
    certificate.write_bytes(exports.Writer().certificate())
    shown = gatepost("keys", "show", certificate, "--root", root)
    assert shown.code == 0, shown.err
    assert "key certificate" in shown.out
    assert "wants for the role issuer: enough" in shown.out
    assert "custody: development" in shown.out
    forged = exports.Writer().certificate(None, exports.OTHER)
    certificate.write_bytes(forged)
    refused = gatepost("keys", "show", certificate, "--root", root)
    assert refused.code == 1
    assert "no role here has it" in refused.err
    assert gatepost("keys", "show", certificate).code == 1, "no root says who may certify"


@pytest.mark.parametrize("arguments", [(), ("a.key", "--root", "x"), ("--root", "x")])
def test_init_does_one_thing_at_a_time(arguments: tuple[str, ...]) -> None:
    assert gatepost("keys", "init", *arguments).code == 2
