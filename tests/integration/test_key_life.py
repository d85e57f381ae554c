"""Keys that change under a running system: a new root, and a key that is taken back."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from gatepost import signed_file
from gatepost.cli import main
from gatepost.home import SCOPE
from gatepost.key_set import KEY_ROLES
from gateway import roots, seal
from gateway.evidence import Asked, Auditor, Report
from tests.integration import raw
from tests.integration.conftest import MakeCentral, MakeSite
from tests.integration.rules import MODEL, rules
from tests.integration.system import Central, hurried

pytestmark = pytest.mark.integration


def _gatepost(*arguments: object) -> str:
    """What the command printed; it must succeed."""
    ended = CliRunner().invoke(main, [str(one) for one in arguments])
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def _audited(services: Central, directory: Path) -> Report:
    auditor = Auditor(services.home.root_fingerprint, Asked())
    with services.records.export(directory / "all.ndjson").open("rb") as lines:
        for line in lines:
            auditor.add(line)
    return auditor.report()


def _false(report: Report) -> list[str]:
    return [verdict.name for verdict in report.verdicts if verdict.state == "false"]


def _call(port: int) -> str:
    """A call that is allowed; the id of its decision."""
    reply = raw.ask(port, raw.chat_request(MODEL))
    assert reply.status == 200, reply.body
    return reply.decision_id


def _rotate_everything(services: Central, directory: Path) -> None:
    """Root 2 with another key in every role, beside root 1, and the new keys in their places."""
    keys, placed = directory / "new", services.home.roots
    keys.mkdir()
    replaced: list[object] = []
    for role in KEY_ROLES:
        drawn = msgspec.json.decode(_gatepost("keys", "init", keys / f"{role}.key", "--json"))
        replaced += ["--replace", f"{services.home.signer(role).kid}={drawn['public']}"]
    draft = directory / "2.json"
    _gatepost("keys", "rotate-root", placed, "--out", draft, *replaced)
    for key in (services.home.key_file("root"), keys / "root.key"):
        _gatepost("keys", "sign", draft, "--root", placed, "--key", key, "--yes")
    _gatepost("keys", "show", draft, "--root", placed)
    draft.rename(placed / "2.json")
    for role in KEY_ROLES:
        (keys / f"{role}.key").rename(services.home.key_file(role))


def _publish_for_both_roots(services: Central, directory: Path, new_key: Path) -> None:
    """The policy as the next version, signed by the bundle keys of root 1 and of root 2."""
    before = services.signed(rules(), services.version + 1)
    bundle = directory / "bundle.json"
    bundle.write_bytes(before.envelope)
    _gatepost(*("keys", "sign", bundle, "--root", services.home.roots, "--key", new_key, "--yes"))
    services.client.post(f"/v1/policy/{SCOPE.replace('/', '%2F')}/bundles", bundle.read_bytes())
    services.version += 1


def test_every_key_of_a_running_system_is_replaced_and_everything_goes_on(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    place = make_site(services=services)
    daemon = place.start()
    first = _call(daemon.port)
    services.records.decision(first)
    instance, before = daemon.instance, daemon.status()
    assert before.policy.root_version == 1
    services.signal(signal.SIGTERM)
    _rotate_everything(services, tmp_path)
    services.kill()
    services.start()
    # Nobody told the daemon: a head that its root does not know makes it look for the next.
    daemon.wait_status(lambda status: status.policy.root_version == 2, "root 2")
    during = _call(daemon.port)
    services.records.decision(during)
    _publish_for_both_roots(services, tmp_path, services.home.key_file("bundle"))
    daemon.wait_status(
        lambda status: (
            status.policy.version == services.version and status.shipping.unproven is None
        ),
        "a policy of root 2, and proofs under its log key",
    )
    last = _call(daemon.port)
    assert daemon.stop() == 0, "every record is proved by a log key of root 2, and deleted"
    again = place.start()
    assert again.instance != instance
    after = _call(again.port)
    assert again.stop() == 0
    kept = {item["id"] for item in services.records.all(kind="decision")}
    assert {first, during, last, after} <= kept
    report = _audited(services, tmp_path)
    assert _false(report) == []
    chain = signed_file.read_roots(services.home.roots)
    issuers = [roots.role_keys(root, "issuer").keys for root in chain]
    signers = {
        seal.parse_envelope(line).signatures[0].keyid
        for line in (tmp_path / "all.ndjson").read_bytes().splitlines()
        if b"key-cert" in line[:80]
    }
    assert signers == {next(iter(keys)) for keys in issuers}, "each issuer key certified"


def test_a_bundle_signed_again_by_the_next_roots_keys_is_taken_without_a_new_version(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    place = make_site(services=services)
    digest = place.start().status().policy.digest
    assert digest is not None
    hex_digest = digest.removeprefix("sha256:")
    published = services.client.get(f"/v1/policy/blobs/sha256/{hex_digest}")
    services.signal(signal.SIGTERM)
    _rotate_everything(services, tmp_path)
    services.kill()
    services.start()
    newcomer = make_site(services=services).start()
    assert newcomer.status().policy.digest is None, "root 2 did not sign the bundle"
    bundle = tmp_path / "bundle.json"
    bundle.write_bytes(published)
    _gatepost(
        *("keys", "sign", bundle, "--root", services.home.roots, "--yes"),
        *("--key", services.home.key_file("bundle")),
    )
    services.client.post(f"/v1/policy/{SCOPE.replace('/', '%2F')}/bundles", bundle.read_bytes())
    newcomer.wait_status(lambda status: status.policy.digest == digest, "the bundle")
    _call(newcomer.port)


def _post_revocation(services: Central, path: Path) -> dict[str, object]:
    """Bring it as anybody may: without a token."""
    request = urllib.request.Request(
        f"{services.url}/v1/revocations", data=path.read_bytes(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, object] = msgspec.json.decode(answer.read())
    return found


def test_a_key_taken_back_ships_no_more_and_its_successor_brings_the_rest(
    make_central: MakeCentral, make_site: MakeSite, tmp_path: Path
) -> None:
    services = make_central()
    place = make_site(hurried, services)
    daemon = place.start()
    before = _call(daemon.port)
    services.records.decision(before)
    kid = daemon.status().instance.kid
    path = tmp_path / "revocation.json"
    _gatepost(
        *("keys", "revoke", kid, "--root", services.home.roots, "--reason", "the node was lost"),
        *("--key", services.home.key_file("revocation"), "--out", path),
    )
    told = _post_revocation(services, path)
    assert (told["kid"], told["certified_no_more"]) == (kid, True)
    unsent = _call(daemon.port)
    daemon.wait_status(lambda status: status.shipping.last_status == 403, "a refusal")
    assert daemon.stop() == 75, "its records are left on the volume: none is thrown away"
    following = place.start()
    services.records.decision(unsent)
    after = _call(following.port)
    services.records.decision(after)
    flagged = {item["id"] for item in services.records.all(kind="decision", untrusted=1)}
    assert flagged == {unsent}
    assert following.stop() == 0
    report = _audited(services, tmp_path)
    assert _false(report) == ["revocations"]
