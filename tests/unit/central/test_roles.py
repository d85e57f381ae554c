"""Which role each path needs: every path of the services stands in this table, or a test fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import pytest
from litestar.routes import HTTPRoute

from central.errors import Refused
from central.people import People
from tests.unit.central.deployment import Deployment, person, token_of

SCOPE: Final = "/v1/policy/acme%2Fprod"
LOG: Final = "/log/acme/eu-west-1/1"

PLACE: Final = {"tenant": "acme", "region": "eu-west-1"}

NOBODY: Final = {
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/schema"),
    ("GET", "/schema/{path:str}"),
    ("GET", "/schema/openapi.json"),
    ("POST", "/v1/enrol"),
    ("POST", "/v1/enrol/nonce"),
    ("POST", "/v1/hosts"),
    ("POST", "/v1/certificates"),
    ("POST", "/v1/records"),
    ("POST", "/v1/chain-heads"),
    ("POST", "/v1/revocations"),
    ("POST", "/v1/policy/{policy_scope:str}/reports"),
    ("GET", "/v1/policy/{policy_scope:str}/head"),
    ("GET", "/v1/policy/root/{version:int}"),
    ("GET", "/v1/policy/blobs/sha256/{digest:str}"),
}
"""No person's token: each is signed, or is for daemons, or says nothing."""

TABLE: Final = {
    ("GET", "/v1/records"): ("/v1/records", "auditor"),
    ("POST", "/v1/search"): ("/v1/search", "auditor"),
    ("GET", "/v1/records/{name:str}"): ("/v1/records/x", "auditor"),
    ("GET", "/v1/records/{name:str}/proof"): ("/v1/records/x/proof", "auditor"),
    ("GET", "/v1/instances"): ("/v1/instances", "auditor"),
    ("GET", "/v1/log"): ("/v1/log", "auditor"),
    ("POST", "/v1/log/acknowledge"): ("/v1/log/acknowledge", "operator"),
    ("GET", "/v1/reconcile"): ("/v1/reconcile", "auditor"),
    ("GET", "/v1/exports"): ("/v1/exports", "auditor"),
    ("GET", "/log/{tenant:str}/{region:str}/{number:int}/checkpoint"): (
        f"{LOG}/checkpoint",
        "auditor",
    ),
    ("GET", "/log/{tenant:str}/{region:str}/{number:int}/tile/{tile:path}"): (
        f"{LOG}/tile/0/000",
        "auditor",
    ),
    ("GET", "/log/{tenant:str}/{region:str}/{number:int}/consistency"): (
        f"{LOG}/consistency?from=0&to=0",
        "auditor",
    ),
    ("GET", "/log/{tenant:str}/{region:str}/{number:int}/witnesses"): (
        f"{LOG}/witnesses",
        "auditor",
    ),
    ("POST", "/v1/digests"): ("/v1/digests", "auditor"),
    ("POST", "/v1/digest-keys/destroy"): ("/v1/digest-keys/destroy", "admin"),
    ("GET", "/v1/instance-conflicts"): ("/v1/instance-conflicts?tenant=acme", "operator"),
    ("POST", "/v1/policy/{policy_scope:str}/bundles"): (f"{SCOPE}/bundles", "operator"),
    ("PUT", "/v1/policy/{policy_scope:str}/lock"): (f"{SCOPE}/lock", "operator"),
    ("DELETE", "/v1/policy/{policy_scope:str}/lock"): (f"{SCOPE}/lock", "operator"),
    ("GET", "/v1/policy/{policy_scope:str}/log"): (f"{SCOPE}/log", "operator"),
    ("GET", "/v1/policy/{policy_scope:str}/pending"): (f"{SCOPE}/pending", "operator"),
    ("POST", "/v1/policy/{policy_scope:str}/approvals"): (f"{SCOPE}/approvals", "operator"),
    ("PUT", "/v1/policy/{policy_scope:str}/canary"): (f"{SCOPE}/canary", "operator"),
    ("DELETE", "/v1/policy/{policy_scope:str}/canary"): (f"{SCOPE}/canary", "operator"),
    ("POST", "/v1/policy/{policy_scope:str}/canary/promotion"): (
        f"{SCOPE}/canary/promotion",
        "operator",
    ),
    ("GET", "/v1/policy/{policy_scope:str}/fleet"): (f"{SCOPE}/fleet", "operator"),
    ("GET", "/v1/policy/{policy_scope:str}/convergence"): (f"{SCOPE}/convergence", "operator"),
}
"""(method, path) → what to ask for, and the role that it takes."""

BODIES: Final[dict[str, object]] = {
    "/v1/search": {"text": "x", "filters": PLACE},
    "/v1/log/acknowledge": {**PLACE, "instances": ["a" * 26]},
    "/v1/digests": {**PLACE, "instances": ["a" * 26], "text": "x"},
    "/v1/digest-keys/destroy": {**PLACE, "instances": ["a" * 26]},
}
HOLDER: Final = {"auditor": "audrey", "operator": "olaf", "admin": "root"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("central"))
    with made.http:
        yield made


def test_every_path_stands_in_the_table(whole: Deployment) -> None:
    there = {
        (str(method), route.path)
        for route in whole.app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        if method not in ("OPTIONS", "HEAD")
    }
    assert there == NOBODY | TABLE.keys()


@pytest.mark.parametrize(("place", "asked"), list(TABLE.items()))
def test_a_path_takes_its_role_and_admin_and_no_other(
    whole: Deployment, place: tuple[str, str], asked: tuple[str, str]
) -> None:
    method, (path, role) = place[0], asked

    def status(headers: dict[str, str]) -> tuple[int, str]:
        answer = whole.http.request(method, path, headers=headers, json=BODIES.get(path))
        return answer.status_code, answer.json()["error"]["code"] if answer.is_error else ""

    assert status({}) == (401, "token_missing")
    assert status({"Authorization": "Bearer gpp_nobody"}) == (401, "token_unknown")
    for other in {"audrey", "olaf"} - {HOLDER[role]}:
        assert status(whole.as_person(other)) == (403, "role_insufficient")
    for name in (HOLDER[role], "root"):
        assert status(whole.as_person(name))[0] not in (401, 403)


def test_a_token_that_left_the_configuration_is_known_no_more(whole: Deployment) -> None:
    header = f"Bearer {token_of('audrey')}"
    assert People(whole.config).authenticate(header, "auditor").name == "audrey"
    left = msgspec.structs.replace(whole.config, people=[person("olaf", "operator")])
    with pytest.raises(Refused, match="token_unknown"):
        People(left).authenticate(header, "auditor")
