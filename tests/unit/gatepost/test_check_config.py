"""``gatepost check-config``: what would keep a daemon from working here, and the exit code."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from gatepost.machine_fit import problems
from sidecar.config import parse
from tests.unit.gatepost.running import gatepost
from tests.unit.gateway import token_factory as make
from tests.unit.sidecar.config_text import SMALLEST, Document, changed, toml

ZEROS = "sha256:" + "0" * 64


class Place:
    """A machine on which the whole configuration works."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "sidecar.toml"
        for name in ("state", "run"):
            (directory / name).mkdir()
        self.secret("host.key", base64.b64encode(b"h" * 32))
        self.secret("key", b"sk-company")
        (directory / "state" / "jwks.json").write_bytes(make.jwks("ec-1"))

    def secret(self, name: str, text: bytes, mode: int = 0o600) -> Path:
        path = self.directory / "state" / name
        path.write_bytes(text)
        path.chmod(mode)
        return path


def document(directory: Path) -> Document:
    """The whole configuration, with every path in ``directory``."""
    state, run = f"{directory}/state", f"{directory}/run"
    found: Document = changed("listen.admin_socket", f"{run}/admin/s")
    for path, value in {
        "listen.unix.0.path": f"{run}/a/s",
        "listen.unix.1.path": f"{run}/b/s",
        "enrolment": {"host_key_file": f"{state}/host.key"},
        "spool.directory": f"{state}/spool",
        "policy.directory": f"{state}/policy",
        "identity.issuers.0.jwks_file": f"{state}/jwks.json",
        "credentials.0.file": f"{state}/key",
    }.items():
        found = changed(path, value, found)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def told(place: Place, **changes: object) -> dict[str, tuple[str, bool]]:
    """Setting → (message, fatal) for the whole configuration with ``changes``."""
    found = document(place.directory)
    for path, value in changes.items():
        found = changed(path.replace("__", "."), value, found)
    return {one.path: (one.message, one.fatal) for one in problems(parse(toml(found)))}


def checked(place: Place, *options: str, **changes: object) -> Any:
    found = document(place.directory)
    for path, value in changes.items():
        found = changed(path.replace("__", "."), value, found)
    place.config.write_text(toml(found))
    return gatepost("check-config", place.config, *options)


# -- exit codes ------------------------------------------------------------------------------


def test_a_configuration_that_works_here_is_0(place: Place) -> None:
    ended = checked(place)
    assert (ended.code, ended.err) == (0, "")
    assert "usable" in ended.out
    assert "orders" in ended.out, "it shows the routes in force"


def test_one_that_does_not_is_1_and_says_why(place: Place) -> None:
    ended = checked(place, routes=[])
    assert ended.code == 1
    assert "error routes: is empty" in ended.out
    assert "not usable" in ended.out


def test_one_that_breaks_a_rule_is_1_and_names_the_place(place: Place) -> None:
    place.config.write_text("tenant = 1")
    ended = gatepost("check-config", place.config)
    assert (ended.code, ended.out) == (1, "")
    assert "$.tenant" in ended.err
    told = gatepost("check-config", place.config, "--json")
    assert (told.code, told.json["ok"]) == (1, False)
    assert "$.tenant" in told.json["error"]


def test_one_that_is_not_there_is_2(place: Place) -> None:
    for options in ([], ["--json"]):
        ended = gatepost("check-config", place.directory / "absent.toml", *options)
        assert (ended.code, ended.out) == (2, "")
        assert "absent.toml: No such file" in ended.err


def test_json_is_one_document_without_secrets(place: Place) -> None:
    ended = checked(place, "--json")
    assert ended.code == 0
    document = ended.json
    assert document["ok"] is True
    assert document["effective"]["listen"]["probe_port"] == 4142, "defaults are in it"
    assert "sk-company" not in ended.out
    assert base64.b64encode(b"h" * 32).decode() not in ended.out


def test_text_of_the_file_is_not_markup(place: Place) -> None:
    ended = checked(place, enrolment={"host_key_file": "/[bold]/[/nothing]"})
    assert "/[bold]/[/nothing]" in ended.out


# -- one problem after the other -------------------------------------------------------------


def test_nothing_is_wrong_with_a_machine_that_is_set_up(place: Place) -> None:
    assert set(told(place)) == set()


@pytest.mark.parametrize(
    ("changes", "path", "words", "fatal"),
    [
        ({"trust__root_sha256": ZEROS}, "trust.root_sha256", "placeholder", True),
        ({"enrolment": {}}, "enrolment", "host_key_file is set", True),
        ({"routes": []}, "routes", "turned away", True),
        ({"listen__allow_uid_0": True}, "listen.allow_uid_0", "uid 0 are taken", False),
        (
            {"listen__agents": [{"uid": 0, "agent": "bot"}]},
            "listen.agents",
            "refused by listen.allow_uid_0",
            False,
        ),
        (
            {"listen__agents": [{"uid": 65534, "agent": "bot"}]},
            "listen.agents",
            "another user namespace",
            False,
        ),
        (
            {"listen__agents": [], "identity__tokens": []},
            "listen.agents",
            "no call on TCP has an agent",
            False,
        ),
        ({"listen__admin_socket": "/absent/a/s"}, "listen.admin_socket", "/absent does not", True),
        ({"listen__unix__0__path": "/absent/a/s"}, "listen.unix.one.path", "/absent does", True),
        ({"spool__directory": "/dev/null/x/y"}, "spool.directory", "cannot be created", True),
        ({"policy__directory": "/dev/null/x"}, "policy.directory", "cannot be created", True),
        (
            {"policy__mounted_directory": "/absent"},
            "policy.mounted_directory",
            "/absent is no directory",
            True,
        ),
        (
            {"policy__mounted_directory": "/proc/self/fdinfo"},
            "policy.mounted_directory",
            "missing: /proc/self/fdinfo has no head.json",
            False,
        ),
        ({"credentials__0__file": "/absent"}, "credentials.key.file", "No such file", True),
        (
            {"identity__issuers__0__jwks_file": "/absent"},
            "identity.issuers.idp.jwks_file",
            "/absent: No such file",
            True,
        ),
        ({"central__ca_file": "/absent.pem"}, "central.ca_file", "/absent.pem", True),
        (
            {"upstream_access__ca_file": "/absent.pem"},
            "upstream_access.ca_file",
            "/absent.pem",
            True,
        ),
        (
            {"classification__pack_file": "/absent.toml"},
            "classification.pack_file",
            "/absent.toml",
            True,
        ),
        ({"central__url": "http://central.example"}, "central.url", "plain HTTP", False),
        ({"central__issuer_url": "http://10.0.0.1"}, "central.issuer_url", "plain HTTP", False),
    ],
)
def test_a_problem_is_told_with_its_setting(
    place: Place, changes: dict[str, object], path: str, words: str, fatal: bool
) -> None:
    found = told(place, **changes)
    assert words in found[path][0]
    assert found[path][1] == fatal


@pytest.mark.parametrize(
    "url", ["https://central.example", "unix:/run/c.sock", "http://localhost:1", "http://[::1]:1"]
)
def test_what_nobody_can_listen_to_is_no_problem(place: Place, url: str) -> None:
    assert "central.url" not in told(place, central__url=url)


def test_a_host_key_is_a_key_and_nobody_elses(place: Place) -> None:
    path = place.secret("host.key", base64.b64encode(b"h" * 32), 0o644)
    assert "could enrol as this machine" in told(place)["enrolment.host_key_file"][0]
    place.secret("host.key", b"nonsense")
    assert told(place)["enrolment.host_key_file"] == (f"{path} does not hold a key", True)
    path.unlink()
    path.mkdir()
    assert told(place)["enrolment.host_key_file"][1] is True


def test_a_host_key_to_come_needs_a_token_or_somebody_who_registers_it(place: Place) -> None:
    (place.directory / "state" / "host.key").unlink()
    message, fatal = told(place)["enrolment.host_key_file"]
    assert ("without a one-time token" in message, fatal) == (True, False)
    place.secret("token", b"gpo_x")
    enrolment = {
        "host_key_file": f"{place.directory}/state/host.key",
        "one_time_token_file": f"{place.directory}/state/token",
    }
    assert "enrolment.host_key_file" not in told(place, enrolment=enrolment)


@pytest.mark.parametrize("name", ["service_account_token_file", "spiffe_jwt_file"])
def test_a_platforms_token_is_a_token_for_us_alone(place: Place, name: str) -> None:
    path, where = place.directory / "state" / "token", f"enrolment.{name}"
    changes = {"enrolment": {name: str(path)}}
    assert told(place, **changes)[where] == (
        f"{path} is not there yet; the daemon goes on asking",
        False,
    )
    place.secret("token", b"no token")
    assert "holds no token" in told(place, **changes)[where][0]
    for audience, good in (
        ("gatepost-enrol", True),
        (["gatepost-enrol"], True),
        (["gatepost-enrol", "vault"], False),
        ("https://kubernetes.default.svc", False),
    ):
        place.secret("token", make.token({"aud": audience}).encode())
        assert (where not in told(place, **changes)) is good


def test_credentials_are_read_as_the_daemon_reads_them(place: Place) -> None:
    where = "credentials.key.file"
    place.secret("key", b"")
    assert ("is empty" in told(place)[where][0], told(place)[where][1]) == (True, True)
    place.secret("key", b"two words")
    assert told(place)[where][1] is True
    place.secret("key", b"sk-company", 0o644)
    message, fatal = told(place)[where]
    assert ("0600" in message, fatal) == (True, False)


def test_keys_of_issuers_are_read_as_the_daemon_reads_them(place: Place) -> None:
    (place.directory / "state" / "jwks.json").write_bytes(b"{}")
    assert told(place)["identity.issuers.idp.jwks_file"][1] is True


def test_a_pack_is_loaded_as_the_daemon_loads_it(place: Place) -> None:
    pack = place.directory / "pack.toml"
    pack.write_text("nonsense")
    assert told(place, classification__pack_file=str(pack))["classification.pack_file"][1] is True


def test_the_smallest_configuration_says_all_that_is_missing() -> None:
    found = {one.path for one in problems(parse(toml(SMALLEST))) if one.fatal}
    assert {"enrolment", "routes"} <= found
