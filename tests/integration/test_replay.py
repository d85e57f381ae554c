"""Records that a daemon made and a store exported, put to the bundle that the service keeps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.integration import raw, system
from tests.integration.records import Item
from tests.integration.rules import MODEL, rules
from tests.integration.system import Central, Daemon
from tests.integration.test_refusal_codes import RULINGS
from tests.unit.gatepost.running import gatepost

pytestmark = pytest.mark.integration

_ASKED = (
    "unreadable_body", "value_too_long", "denied", "approval_required", "obligation_unsupported",
    "assurance_too_low", "token_malformed",
)  # fmt: skip


@pytest.fixture(scope="module")
def daemon(base: Path, central: Central) -> Iterator[Daemon]:
    with system.site(base / "rp", central) as place:
        yield place.start()


@pytest.fixture(scope="module")
def export(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything the store holds, once these calls are in it."""
    issuer = daemon.site.central.ends.issuer
    headers = {"X-Gatepost-Delegation": issuer.token()}
    requests = [
        raw.chat_request(MODEL),
        raw.chat_request(MODEL, text="Write to bob@example.com", headers=headers),
        *(RULINGS[code](issuer) for code in _ASKED),
    ]
    for data in requests:
        assert raw.ask(daemon.port, data).decision_id
    daemon.records.wait(len(requests), instance=daemon.instance, kind="decision")
    return daemon.records.export(tmp_path_factory.mktemp("replay") / "export.ndjson")


def replay(export: Path, bundle: Path, *options: str) -> tuple[int, list[Item]]:
    """Its exit code, and the lines that it printed; the last is the summary."""
    command = [sys.executable, "-m", "gatepost", "replay", str(export), "--bundle", str(bundle)]
    ended = subprocess.run(
        [*command, "--json", *options], capture_output=True, timeout=50, check=False
    )
    lines = [msgspec.json.decode(line) for line in ended.stdout.splitlines()]
    assert lines, ended.stderr.decode()
    return ended.returncode, lines


def test_the_bundle_that_the_service_keeps_says_the_same(
    daemon: Daemon, export: Path, tmp_path: Path
) -> None:
    central = daemon.site.central
    (first, *_) = daemon.records.wait(instance=daemon.instance, kind="decision")
    digest = daemon.records.members(first["id"])["policy"]["digest"]
    bundle = tmp_path / "bundle.json"
    central.client.save(f"/v1/policy/blobs/sha256/{digest.removeprefix('sha256:')}", bundle)
    _, lines = replay(export, bundle, "--root", central.home.root_fingerprint)
    own = [line for line in lines[:-1] if line["own"]]
    assert len(own) >= len(_ASKED) + 2
    assert {line["verdict"] for line in own} == {"same", "not_by_rules"}
    assert (lines[-1]["summary"]["digest"], lines[-1]["summary"]["skipped"]) == (digest, {})
    assert lines[-1]["summary"]["signatures_checked"] is True


def test_a_policy_that_grants_nothing_changes_what_was_allowed(
    export: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_bytes(rules(grants=[], restrictions=[]))
    code, lines = replay(export, policy, "--only", "changed")
    assert code == 1
    allowed = [line for line in lines[:-1] if line["before"]["outcomes"] == ["allow"]]
    assert len(allowed) >= 2
    assert {line["after"]["outcomes"][0] for line in allowed} == {"deny"}


def test_a_store_is_replayed_without_an_export_each_decision_by_its_own_bundle(
    daemon: Daemon, export: Path
) -> None:
    central = daemon.site.central
    asked = ("--central", central.url, "--token-file", central.home.operator_token)
    place = ("--filter", f"instance={daemon.instance}")
    ended = gatepost("replay", *asked, *place, "--root", central.home.root_fingerprint, "--json")
    lines = [msgspec.json.decode(line) for line in ended.out.splitlines()]
    summary = lines[-1]["summary"]
    assert ended.code == 0, ended.err
    assert summary["decisions"] == summary["own"] == len(lines) - 1 >= len(_ASKED) + 2
    assert (summary["bundles"], summary["skipped"]) == (1, {})
    assert {line["verdict"] for line in lines[:-1]} == {"same", "not_by_rules"}
    stranger = gatepost("replay", *asked, "--root", f"sha256:{'0' * 64}")
    assert stranger.code == 2
    assert "root" in stranger.err


def test_a_recorded_decision_is_explained_by_the_bundle_that_made_it(
    daemon: Daemon, export: Path
) -> None:
    central = daemon.site.central
    items = daemon.records.wait(instance=daemon.instance, kind="decision")
    allowed = next(item for item in items if item["outcome"] == "allow")
    services = ("--central", central.url, "--token-file", central.home.operator_token)
    by_store = gatepost("policy", "explain", "--decision", allowed["id"], *services, "--json")
    places = ("--export", export, "--central", central.url)
    by_export = gatepost("policy", "explain", "--decision", allowed["id"], *places, "--json")
    assert by_store.json == by_export.json
    rules_of = daemon.records.members(allowed["id"])["decision"]["rules"]
    told = by_store.json
    assert (told["outcome"], told["own"], told["verdict"]) == ("allow", True, "same")
    assert [line["id"] for line in told["rules"] if line["decided"]] == rules_of
    words = gatepost("policy", "explain", "--decision", allowed["id"], *services)
    assert "by the bundle that decided" in words.out
    missing = gatepost("policy", "explain", "--decision", "absent", *services)
    assert (missing.code, "404" in missing.err) == (2, True)
