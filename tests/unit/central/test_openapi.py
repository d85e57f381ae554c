"""What the served OpenAPI document says is what the services answer, whatever they are sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import hypothesis
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, SerializationContext
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.transport.serialization import Binary

from gateway import documents
from gateway.policy_report import PolicyReport, ReportBody
from tests.unit.central.deployment import REGION, SCOPE, TENANT, Daemon, Deployment, bundle
from tests.unit.central.test_revocations import revocation

AnyCase = Case[Any]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
REPORT = PolicyReport(
    channel="stable",
    state="fresh",
    head_version=1,
    version=1,
    digest=bundle(1).digest,
    received=None,
    verified=None,
    activated=None,
    refused=None,
    leaving=False,
)
PEOPLE = ("audrey", "olaf", "root", None)


@schemathesis.serializer("application/x-ndjson")
def lines(ctx: SerializationContext, value: object) -> bytes:
    """What is drawn for a batch, as a line of it."""
    return value.data if isinstance(value, Binary) else msgspec.json.encode(value)


class Filled(Deployment):
    """All services, with a chain and a bundle, and what a caller who knows of them would send."""

    def fill(self) -> None:
        self.seen: dict[str, Counter[int]] = {}
        self.daemon = Daemon(self).ready()
        start, decision = self.daemon.start(), self.daemon.decision()
        shipped = [start, decision, self.daemon.completion(decision), self.daemon.end()]
        self.daemon.ship(*shipped)
        published = bundle(1)
        self.known: dict[str, str | int] = {
            "tenant": TENANT,
            "region": REGION,
            "number": 1,
            "name": decision.id,
            "policy_scope": quote(SCOPE, safe=""),
            "version": 1,
            "digest": published.digest.removeprefix("sha256:"),
            "tile": "0/000.p/1",
        }
        scope = f"/v1/policy/{quote(SCOPE, safe='')}"
        answer = self.http.post(
            f"{scope}/bundles", content=published.envelope, headers=self.as_person("olaf")
        )
        assert answer.status_code == 201, answer.text
        place = {"tenant": TENANT, "region": REGION, "instances": [self.daemon.instance]}
        assert self.daemon.certificate is not None
        self.bodies: dict[str, bytes] = {
            "/v1/certificates": documents.encode(self.daemon.certificate),
            "/v1/records": b"\n".join(one.envelope_line() for one in shipped),
            "/v1/digests": msgspec.json.encode({**place, "text": "hello"}),
            "/v1/search": b'{"text": "hello", "filters": {"tenant": "acme"}}',
            "/v1/digest-keys/destroy": msgspec.json.encode(place),
            "/v1/revocations": documents.encode(revocation(Daemon(self, 9).signer.kid)),
            f"{scope}/bundles": published.envelope,
            f"{scope}/approvals": msgspec.json.encode(
                {"digest": published.digest, "base": None, "verdict": "approve"}
            ),
            f"{scope}/reports": msgspec.json.encode(ReportBody(REPORT, self.daemon.certificate)),
            f"{scope}/lock": b'{"reason": "drill", "ticket": null}',
        }

    def answers(self, case: AnyCase, *, steered: bool) -> None:
        """Send ``case`` as each of several people, signed where a daemon would sign it."""
        for person in PEOPLE:
            headers = {} if person is None else self.as_person(person)
            sent = case.as_transport_kwargs(base_url="http://testserver", headers=headers)
            sent.pop("cookies", None)
            body = sent.pop("data", None)
            path = urlsplit(sent["url"]).path
            if steered and path in self.bodies:
                body = self.bodies[path]
                sent.pop("json", None)
            if body is not None:
                sent["content"] = body
            if steered:
                # The client writes the bytes of a body; what is signed are those.
                request = self.http.build_request(**sent)
                request.headers.update(self.daemon.signed(case.method, path, request.read()))
                answer = self.http.send(request)
            else:
                answer = self.http.request(**sent)
            self.seen.setdefault(case.operation.label, Counter())[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    made = Filled(tmp_path_factory.mktemp("central"))
    with made.http:
        made.fill()
        yield made


@pytest.fixture(scope="module")
def described(filled: Filled) -> BaseSchema:
    return schemathesis.openapi.from_dict(filled.http.get("/schema/openapi.json").json())


def _fitting_or_not(operation: APIOperation[Any, Any, Any, Any]) -> st.SearchStrategy[AnyCase]:
    """Cases as they are described, and others where something could be wrong."""
    fitting = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if not (operation.body or operation.query):
        return fitting
    return fitting | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


NEVER_GOOD = {
    "POST /v1/enrol",
    "POST /v1/hosts",
    "POST /v1/chain-heads",
    "POST /v1/log/acknowledge",
    "POST /v1/policy/{policy_scope}/approvals",
    "PUT /v1/policy/{policy_scope}/canary",
    "DELETE /v1/policy/{policy_scope}/canary",
    "POST /v1/policy/{policy_scope}/canary/promotion",
}
"""An enrolment is proved by a nonce, a host by its token, a chain-head by a signature over it: no
text that is drawn or repeated is one. Nothing waits for approval here, no canary
runs, and nobody spoke against a log."""


@pytest.mark.timeout(180)
def test_every_answer_is_one_that_is_described(filled: Filled, described: BaseSchema) -> None:
    for found in described.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=_fitting_or_not(operation))
        def any_case(case: AnyCase) -> None:
            filled.answers(case, steered=False)
            for name in case.path_parameters:
                case.path_parameters[name] = filled.known[name]
            for name in set(case.query) & {"tenant", "region"}:
                case.query[name] = filled.known[name]
            filled.answers(case, steered=True)

        any_case()
    good = {label for label, seen in filled.seen.items() if min(seen) < 300}
    assert filled.seen.keys() - good == NEVER_GOOD
    assert len(good) > 20
