"""Starts that a platform attests: real signed tokens, one thing wrong with each at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.unit.central.deployment import NOW_US, Daemon, Deployment
from tests.unit.central.workload_world import (
    CLUSTER,
    DOMAIN,
    NOW,
    POD_UID,
    SPIFFE_ID,
    ask,
    certificate,
    deployment,
    kubernetes,
    message,
    pod_claims,
    pod_token,
    svid,
    svid_claims,
)
from tests.unit.gateway import token_factory as make

_numbers = itertools.count(10)
_OTHER_UID = "0f3e1c1e-6c2b-4a53-9a3a-8d0f6a1b2c3e"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = deployment(tmp_path_factory.mktemp("central"))
    with made.http:
        yield made


@pytest.fixture
def fresh(issuer: Deployment) -> Daemon:
    """A daemon that nobody has seen before."""
    issuer.clock.now_us = NOW_US
    return Daemon(issuer, next(_numbers))


def beside(daemon: Daemon) -> Daemon:
    return Daemon(daemon.deployment, next(_numbers))


# -- what is good ----------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "algorithm"), [("rsa-cluster", "RS256"), ("ec-cluster", "ES256")])
def test_a_pods_token_attests_its_start(fresh: Daemon, key: str, algorithm: str) -> None:
    status, answer = ask(fresh, "k8s_sa", pod_token(None, key, algorithm))
    assert status == 201
    attested = certificate(answer).attestation
    assert (attested.type, attested.issuer, attested.pod_uid) == ("k8s_sa", CLUSTER, POD_UID)
    assert attested.subject == "system:serviceaccount:agents:claims-bot"


def test_a_svid_attests_its_start(fresh: Daemon) -> None:
    status, answer = ask(fresh, "spiffe_jwt", svid())
    assert status == 201
    attested = certificate(answer).attestation
    assert (attested.type, attested.subject, attested.pod_uid) == ("spiffe_jwt", SPIFFE_ID, None)
    assert attested.issuer == f"spiffe://{DOMAIN}"


def test_a_token_may_be_used_again_for_its_pod_until_it_ends(fresh: Daemon) -> None:
    token = pod_token()
    assert ask(fresh, "k8s_sa", token)[0] == 201
    assert ask(fresh, "k8s_sa", token)[0] == 201, "the kubelet replaces it late"
    fresh.deployment.clock.now_us += 3_629_000_000
    assert ask(fresh, "k8s_sa", token)[0] == 201, "within the leeway"
    fresh.deployment.clock.now_us += 1_000_000
    assert ask(fresh, "k8s_sa", token) == (403, "attestation_invalid")


@pytest.mark.parametrize("topology", ["sidecar", "regional"])
def test_a_workload_has_the_topologies_it_was_given(fresh: Daemon, topology: str) -> None:
    assert ask(fresh, "k8s_sa", pod_token(), topology=topology)[0] == 201


# -- what is not -----------------------------------------------------------------------------

POD_FAULTS: dict[str, dict[str, object]] = {
    "iss missing": {"iss": None},
    "iss of another cluster": {"iss": "https://elsewhere.example"},
    "iss with a slash more": {"iss": CLUSTER + "/"},
    "iss no string": {"iss": [CLUSTER]},
    "aud missing": {"aud": None},
    "aud of the API server": {"aud": ["https://kubernetes.default.svc"]},
    "aud of others too": {"aud": ["gatepost-enrol", "vault"]},
    "aud in other letters": {"aud": "Gatepost-Enrol"},
    "aud no string": {"aud": 7},
    "exp missing": {"exp": None},
    "exp passed": {"exp": NOW - 30},
    "exp no number": {"exp": "tomorrow"},
    "exp out of range": {"exp": 1e300},
    "exp a truth": {"exp": True},
    "nbf to come": {"nbf": NOW + 31},
    "nbf no number": {"nbf": "now"},
    "iat to come": {"iat": NOW + 31},
    "sub missing": {"sub": None},
    "sub of another account": {"sub": "system:serviceaccount:agents:other"},
    "sub of a user": {"sub": "system:admin"},
    "no private claims": {"kubernetes.io": None},
    "private claims no object": {"kubernetes.io": "agents"},
    "no namespace": {"kubernetes.io": kubernetes(namespace=None)},
    "another namespace": {"kubernetes.io": kubernetes(namespace="other")},
    "a namespace no label": {"kubernetes.io": kubernetes(namespace="agents\n")},
    "no pod": {"kubernetes.io": kubernetes(pod=None)},
    "no pod uid": {"kubernetes.io": kubernetes(pod={"name": "claims-bot-5d7f9"})},
    "no pod name": {"kubernetes.io": kubernetes(pod={"uid": POD_UID})},
    "a pod uid no uid": {"kubernetes.io": kubernetes(pod={"name": "p", "uid": "1"})},
    "no service account": {"kubernetes.io": kubernetes(serviceaccount=None)},
    "another service account": {"kubernetes.io": kubernetes(serviceaccount={"name": "other"})},
    "nobody's service account": {
        "kubernetes.io": kubernetes(serviceaccount={"name": "nobody"}),
        "sub": "system:serviceaccount:agents:nobody",
    },
    "a namespace with no entry": {
        "kubernetes.io": kubernetes(namespace="other"),
        "sub": "system:serviceaccount:other:claims-bot",
    },
}


@pytest.mark.parametrize("changes", POD_FAULTS.values(), ids=POD_FAULTS.keys())
def test_a_pods_token_with_one_claim_wrong_attests_nothing(
    fresh: Daemon, changes: dict[str, object]
) -> None:
    assert ask(fresh, "k8s_sa", pod_token(changes)) == (403, "attestation_invalid")


SVID_FAULTS: dict[str, dict[str, object]] = {
    "sub missing": {"sub": None},
    "sub no SPIFFE id": {"sub": "claims-bot"},
    "sub without a path": {"sub": f"spiffe://{DOMAIN}"},
    "sub with a slash at its end": {"sub": f"{SPIFFE_ID}/"},
    "sub with dots": {"sub": f"spiffe://{DOMAIN}/ns/agents/../agents"},
    "sub with an escape": {"sub": f"spiffe://{DOMAIN}/ns/agents%2Fx"},
    "sub with a query": {"sub": f"{SPIFFE_ID}?x"},
    "sub in capitals": {"sub": f"SPIFFE://{DOMAIN}/ns/agents"},
    "sub of another domain": {"sub": "spiffe://dev.example.org/ns/agents/sa/claims-bot"},
    "sub outside the workloads": {"sub": f"spiffe://{DOMAIN}/ns/others"},
    "sub beside the workloads": {"sub": f"spiffe://{DOMAIN}/ns/agents-two"},
    "sub too long": {"sub": f"spiffe://{DOMAIN}/ns/agents/{'a' * 300}"},
    "aud missing": {"aud": None},
    "aud of another": {"aud": ["gatepost-central"]},
    "aud of others too": {"aud": ["gatepost-enrol", "vault"]},
    "exp missing": {"exp": None},
    "exp passed": {"exp": NOW - 30},
    "nbf to come": {"nbf": NOW + 31},
    "iat to come": {"iat": NOW + 31},
}


@pytest.mark.parametrize("changes", SVID_FAULTS.values(), ids=SVID_FAULTS.keys())
def test_a_svid_with_one_claim_wrong_attests_nothing(
    fresh: Daemon, changes: dict[str, object]
) -> None:
    assert ask(fresh, "spiffe_jwt", svid(changes)) == (403, "attestation_invalid")


def _unsigned(algorithm: str) -> str:
    header = make.as_json({"alg": algorithm, "kid": "rsa-cluster"})
    return f"{make.encode(header)}.{make.encode(make.as_json(pod_claims()))}."


def _other_payload() -> str:
    """A good signature over other claims."""
    header, _, signature = pod_token().split(".")
    changed = pod_claims(**{"kubernetes.io": kubernetes(pod={"name": "p", "uid": _OTHER_UID})})
    return f"{header}.{make.encode(make.as_json(changed))}.{signature}"


def _headed(name: str = "rsa-cluster", algorithm: str = "RS256", **header: object) -> str:
    return make.token(pod_claims(), name, algorithm, {"typ": None, **header})


POD_FORGERIES: dict[str, Callable[[], str]] = {
    "alg none": lambda: _unsigned("none"),
    "alg NONE": lambda: _unsigned("NONE"),
    "no signature": lambda: _unsigned("RS256"),
    "an algorithm that is not taken": lambda: _headed(algorithm="PS256"),
    "an HMAC under the public key": lambda: make.hmac_token(
        pod_claims(), make.public_forms("rsa-cluster")["pem"], "rsa-cluster", "HS256"
    ),
    "an HMAC that says RS256": lambda: make.hmac_token(
        pod_claims(), make.public_forms("rsa-cluster")["pem"], "rsa-cluster", "RS256"
    ),
    "another cluster's key": lambda: _headed("rsa-stranger"),
    "a stranger's signature under a known kid": lambda: _headed("rsa-stranger", kid="rsa-cluster"),
    "one key's signature under the other's kid": lambda: _headed("rsa-cluster", kid="ec-cluster"),
    "the algorithm of the other key": lambda: _headed("ec-cluster", "ES256", kid="rsa-cluster"),
    "the trust domain's key": lambda: _headed("ec-domain", "ES256"),
    "no kid": lambda: _headed(kid=None),
    "a kid that is a path": lambda: _headed(kid="../../rsa-cluster"),
    "a key of its own": lambda: _headed("rsa-stranger", jwk=make.jwk("rsa-stranger")),
    "keys from its own address": lambda: _headed(jku="https://evil.example/jwks"),
    "an access token": lambda: _headed(typ="at+jwt"),
    "other claims under the signature": _other_payload,
    "a svid": svid,
    "no token": lambda: "token",
    "nothing": lambda: "",
}


@pytest.mark.parametrize("forge", POD_FORGERIES.values(), ids=POD_FORGERIES.keys())
def test_a_forged_pods_token_attests_nothing(fresh: Daemon, forge: Callable[[], str]) -> None:
    assert ask(fresh, "k8s_sa", forge()) == (403, "attestation_invalid")


SVID_FORGERIES: dict[str, Callable[[], str]] = {
    "a key that is for X.509": lambda: make.token(
        svid_claims(), "ec-domain-tls", "ES256", {"typ": "JWT"}
    ),
    "the cluster's key": lambda: make.token(svid_claims(), "ec-cluster", "ES256", {"typ": "JWT"}),
    "an access token": lambda: make.token(svid_claims(), "ec-domain", "ES256"),
    "a pod's token": pod_token,
}


@pytest.mark.parametrize("forge", SVID_FORGERIES.values(), ids=SVID_FORGERIES.keys())
def test_a_forged_svid_attests_nothing(fresh: Daemon, forge: Callable[[], str]) -> None:
    assert ask(fresh, "spiffe_jwt", forge()) == (403, "attestation_invalid")


def test_what_is_said_names_the_claim_and_never_its_value(fresh: Daemon) -> None:
    said = message(fresh, "k8s_sa", pod_token({"aud": ["secret-audience"]}))
    assert "aud is not gatepost-enrol alone" in said
    assert "secret-audience" not in said


def test_a_used_nonce_stays_used_whatever_attests(fresh: Daemon) -> None:
    nonce = fresh.nonce()
    fresh.nonce = lambda: nonce  # type: ignore[method-assign]  # the very same one again
    assert ask(fresh, "k8s_sa", pod_token())[0] == 201
    assert ask(fresh, "k8s_sa", pod_token()) == (422, "nonce_unknown")


# -- places ----------------------------------------------------------------------------------

_FOREIGN = {
    "kubernetes.io": kubernetes(serviceaccount={"name": "foreign"}),
    "sub": "system:serviceaccount:agents:foreign",
}


@pytest.mark.parametrize(
    ("kind", "token"),
    [
        ("k8s_sa", pod_token(_FOREIGN)),
        ("spiffe_jwt", svid({"sub": f"spiffe://{DOMAIN}/ns/agents/foreign/bot"})),
    ],
)
def test_a_workload_of_another_tenant_is_refused_its_place(
    fresh: Daemon, kind: str, token: str
) -> None:
    assert ask(fresh, kind, token) == (403, "wrong_tenant")
    there = Daemon(fresh.deployment, next(_numbers), tenant="globex", region="us-east-1")
    assert ask(there, kind, token)[0] == 201
    elsewhere = Daemon(fresh.deployment, next(_numbers), tenant="globex", region="eu-west-1")
    assert ask(elsewhere, kind, token) == (403, "wrong_tenant"), "a region that it was not given"


@pytest.mark.parametrize(("kind", "token"), [("k8s_sa", pod_token()), ("spiffe_jwt", svid())])
def test_a_topology_that_was_not_given_is_refused(fresh: Daemon, kind: str, token: str) -> None:
    assert ask(fresh, kind, token, topology="central") == (403, "topology_not_allowed")


# -- who takes whose place -------------------------------------------------------------------


def test_the_newest_instance_of_a_pod_and_worker_takes_the_place_of_the_last(
    fresh: Daemon,
) -> None:
    mine = {"kubernetes.io": kubernetes(pod={"name": "p", "uid": _OTHER_UID})}
    assert ask(fresh, "k8s_sa", pod_token(mine))[1].supersedes is None
    following = beside(fresh)
    assert ask(beside(fresh), "k8s_sa", pod_token(mine), worker=1)[1].supersedes is None
    assert ask(following, "k8s_sa", pod_token(mine))[1].supersedes == fresh.instance
    assert ask(following, "k8s_sa", pod_token(mine))[1].supersedes is None, "a renewal"
    assert ask(fresh, "k8s_sa", pod_token(mine)) == (409, "instance_conflict")


def test_replicas_that_share_a_spiffe_id_live_beside_each_other(fresh: Daemon) -> None:
    assert ask(fresh, "spiffe_jwt", svid())[0] == 201
    assert ask(beside(fresh), "spiffe_jwt", svid())[1].supersedes is None
    assert ask(fresh, "spiffe_jwt", svid())[0] == 201


def test_an_exclusive_spiffe_id_is_one_daemon_at_a_time(fresh: Daemon) -> None:
    token = svid({"sub": f"spiffe://{DOMAIN}/ns/agents/single/bot"})
    assert ask(fresh, "spiffe_jwt", token)[0] == 201
    assert ask(beside(fresh), "spiffe_jwt", token)[1].supersedes == fresh.instance
    assert ask(fresh, "spiffe_jwt", token) == (409, "instance_conflict")


def test_an_instance_stays_with_the_pod_that_drew_it(fresh: Daemon) -> None:
    assert ask(fresh, "k8s_sa", pod_token())[0] == 201
    other = {"kubernetes.io": kubernetes(pod={"name": "p", "uid": _OTHER_UID})}
    assert ask(fresh, "k8s_sa", pod_token(other)) == (403, "instance_taken")
    assert ask(fresh, "spiffe_jwt", svid()) == (403, "instance_taken")
