"""A whole central deployment on a directory, and a daemon to talk to it: real HTTP, real keys."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from litestar import Litestar
from litestar.testing import TestClient

from central import app as central_app
from central.config import (
    CentralConfig,
    Host,
    IssuerSettings,
    KeyFiles,
    OneTimeToken,
    PersonRole,
    PersonToken,
    PolicySettings,
    ServiceName,
    Tenant,
    WitnessSettings,
)
from gateway import attestation, documents, issuing, record, seal, signed_request
from gateway.attestation import EnrolAnswer, NonceAnswer
from gateway.documents import Enrol, EnrolAttestation, Envelope, RequestOf
from gateway.issuing import Issued
from gateway.policy import Grant, Policy
from gateway.shipping import ShipAnswer
from gateway.timestamp import time_micros, time_text
from tests import specimens

NOW_US: Final = time_micros("2026-11-23T18:00:00.000000Z")
HOUR_US: Final = 3_600_000_000
TENANT: Final = "acme"
REGION: Final = "eu-west-1"
SCOPE: Final = "acme/prod"

ROOT_KEY: Final = seal.Signer(b"r" * 32)
BUNDLE_KEY: Final = seal.Signer(b"b" * 32)
REVOCATION_KEY: Final = seal.Signer(b"v" * 32)
HOST_KEY: Final = seal.Signer(b"h" * 32)
SEEDS: Final = {"issuer": b"i" * 32, "log": b"l" * 32, "policy_head": b"p" * 32}
ISSUER_KEY: Final = seal.Signer(SEEDS["issuer"])


class HandClock:
    """A wall clock that moves when a test says so."""

    def __init__(self, now_us: int = NOW_US) -> None:
        self.now_us = now_us

    def wall_us(self) -> int:
        return self.now_us

    def source(self) -> str:
        return "simulated"

    def error_ms(self) -> int | None:
        return None

    def mono_us(self) -> int:
        return self.now_us

    def boot_id(self) -> str | None:
        return None


class CountedEntropy:
    """Bytes that never repeat, the same in every run."""

    def __init__(self, seed: str = "central") -> None:
        self._seed = seed
        self._drawn = 0

    def bytes(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(f"{self._seed}/{self._drawn}".encode()).digest(count)

    def fraction(self) -> float:
        return 0.5


def root_document(custody: Literal["development", "offline"] = "development") -> Issued:
    """Root 1: a key per role, everything with threshold 1."""
    signers = {
        "root": ROOT_KEY,
        "bundle": BUNDLE_KEY,
        "revocation": REVOCATION_KEY,
        **{name: seal.Signer(seed) for name, seed in SEEDS.items()},
    }
    return issuing.build_root(
        version=1,
        epoch=1,
        custody=custody,
        issued_us=NOW_US - HOUR_US,
        expires_us=NOW_US + 1_000 * HOUR_US,
        scopes=[SCOPE],
        keys={s.kid: base64.b64encode(s.public).decode() for s in signers.values()},
        roles={name: issuing.role([signer]) for name, signer in signers.items()},
        signers=[ROOT_KEY],
    )


def bundle(
    version: int,
    *signers: seal.Signer,
    scope: str = SCOPE,
    epoch: int = 1,
    not_before_us: int = NOW_US - HOUR_US,
    expires_us: int = NOW_US + 100 * HOUR_US,
) -> Issued:
    """A bundle that allows chat."""
    return issuing.build_bundle(
        Policy(grants=[Grant(id="chat", actions=["chat"])]),
        scope=scope,
        epoch=epoch,
        version=version,
        issued_us=NOW_US,
        not_before_us=not_before_us,
        expires_us=expires_us,
        source=None,
        signers=signers or [BUNDLE_KEY],
    )


def token_of(name: str) -> str:
    return f"gpp_{name}"


def person(name: str, role: PersonRole, tenant: str = TENANT) -> PersonToken:
    digest = hashlib.sha256(token_of(name).encode()).hexdigest()
    return PersonToken(name=name, tenant=tenant, role=role, sha256=digest)


def write_key(path: Path, secret: bytes, mode: int = 0o600) -> str:
    path.write_text(base64.b64encode(secret).decode() + "\n")
    os.chmod(path, mode)
    return str(path)


def configuration(
    directory: Path, services: list[ServiceName] | None = None, *, public_log: bool = False
) -> CentralConfig:
    """Files and configuration of a deployment in ``directory``."""
    roots = directory / "roots"
    roots.mkdir(parents=True, exist_ok=True)
    (roots / "1.json").write_bytes(root_document().envelope)
    files = {name: write_key(directory / f"{name}.key", seed) for name, seed in SEEDS.items()}
    files["digest_wrap"] = write_key(directory / "wrap.key", b"w" * 32)
    # Neither the issuer nor the record store would start with a key of the other.
    if services is not None and "issuer" not in services:
        del files["issuer"], files["digest_wrap"]
    elif services is not None and "records" not in services:
        del files["log"]
    return CentralConfig(
        data_directory=str(directory / "data"),
        roots_directory=str(roots),
        root_fingerprint=root_document().digest,
        tenants=[
            Tenant(name=TENANT, regions=[REGION], scope=SCOPE, public_log=public_log),
            Tenant(name="globex", regions=["eu-west-1", "us-east-1"], scope="globex"),
        ],
        policy=PolicySettings(widening_needs_approval=False),
        services=services or ["issuer", "policy", "records"],
        keys=KeyFiles(**files),
        hosts=[
            Host(
                name="node-1",
                tenant=TENANT,
                region=REGION,
                pub=base64.b64encode(HOST_KEY.public).decode(),
            )
        ],
        one_time_tokens=[
            OneTimeToken(
                name="laptop",
                tenant=TENANT,
                region=REGION,
                sha256=hashlib.sha256(b"gpo_laptop").hexdigest(),
            )
        ],
        people=[
            person("audrey", "auditor"),
            person("olaf", "operator"),
            person("olga", "operator"),
            person("greta", "auditor", "globex"),
            person("root", "admin", "_operator"),
        ],
    )


class Deployment:
    """All services in one application, with a clock to turn."""

    def __init__(
        self,
        directory: Path,
        services: list[ServiceName] | None = None,
        *,
        public_log: bool = False,
        issuer: IssuerSettings | None = None,
        draw: str = "central",
        issuer_url: str | None = None,
        witnesses: WitnessSettings | None = None,
        policy: PolicySettings | None = None,
    ) -> None:
        """``draw``: a seed of chance; two processes never draw the same."""
        self.directory = directory
        self.clock = HandClock()
        made = configuration(directory, services, public_log=public_log)
        self.config = msgspec.structs.replace(
            made,
            issuer=issuer or made.issuer,
            issuer_url=issuer_url,
            witnesses=witnesses or made.witnesses,
            policy=policy or made.policy,
        )
        self.app: Litestar = central_app.build(
            self.config, clock=self.clock, entropy=CountedEntropy(draw)
        )
        self.http: TestClient[Litestar] = TestClient(self.app)

    def as_person(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token_of(name)}"}

    def get(self, path: str, name: str = "audrey", /, **params: str | int) -> Any:  # any JSON
        answer = self.http.get(path, params=params, headers=self.as_person(name))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def instances(self) -> list[dict[str, Any]]:
        """What an auditor sees of daemons: the list without the store's own chains."""
        return [one for one in self.get("/v1/instances") if one["service"] is None]


class Daemon:
    """One instance as a daemon would be: key, chain, enrolment, shipping."""

    def __init__(
        self,
        deployment: Deployment,
        number: int = 1,
        *,
        tenant: str = TENANT,
        region: str = REGION,
    ) -> None:
        self.deployment = deployment
        self.signer = seal.Signer(bytes([number]) * 32)
        self.instance = base64.b32encode(bytes([number]) * 16).decode().rstrip("=").lower()
        self.tenant = tenant
        self.region = region
        self.worker = 0
        self.sealer = seal.Sealer(self.signer, self.instance)
        self.certificate: Envelope | None = None
        self._drawn = number * 1_000

    # -- records ----------------------------------------------------------------------------

    def write(self, draft: record.Record, **changes: object) -> seal.Sealed:
        """``draft`` of this instance, sealed into its chain."""
        self._drawn += 1
        ours = {
            "tenant": self.tenant,
            "region": self.region,
            "id": f"019a0c6e-9d00-7abc-8def-{self._drawn:012x}",
            "chain": record.UNCHAINED,
        }
        return self.sealer.seal(msgspec.structs.replace(draft, **{**ours, **changes}))

    def start(self) -> seal.Sealed:
        pub = base64.b64encode(self.signer.public).decode()
        return self.write(specimens.START, pub=pub, certificate=None)

    def decision(self, **changes: object) -> seal.Sealed:
        return self.write(specimens.DECISION, **changes)

    def completion(self, of: seal.Sealed) -> seal.Sealed:
        return self.write(specimens.COMPLETION, of=of.id)

    def end(self) -> seal.Sealed:
        return self.write(specimens.SEAL)

    # -- calls ------------------------------------------------------------------------------

    def enrolment(self, nonce: str, **changes: object) -> Enrol:
        request = Enrol(
            audience=attestation.ENROL_AUDIENCE,
            nonce=nonce,
            pub=base64.b64encode(self.signer.public).decode(),
            instance=self.instance,
            tenant=self.tenant,
            region=self.region,
            topology="sidecar",
            not_before=time_text(self.deployment.clock.now_us),
            digest_key=base64.b64encode(b"d" * 32).decode(),
            attestation=EnrolAttestation(type="host_key", token="", worker=self.worker),
        )
        request = msgspec.structs.replace(request, **changes)
        if request.attestation.token:
            return request
        token = attestation.host_token(request, HOST_KEY)
        return msgspec.structs.replace(
            request, attestation=msgspec.structs.replace(request.attestation, token=token)
        )

    def nonce(self) -> str:
        answer = self.deployment.http.post("/v1/enrol/nonce")
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=NonceAnswer).nonce

    def enrol(self) -> EnrolAnswer:
        envelope = self.signer.sign_document(documents.ENROL, self.enrolment(self.nonce()))
        answer = self.deployment.http.post("/v1/enrol", content=documents.encode(envelope))
        assert answer.status_code == 201, answer.text
        enrolled = msgspec.json.decode(answer.content, type=EnrolAnswer)
        self.certificate = enrolled.certificate
        return enrolled

    def post_certificate(self) -> int:
        assert self.certificate is not None
        body = documents.encode(self.certificate)
        return self.deployment.http.post("/v1/certificates", content=body).status_code

    def ready(self) -> Daemon:
        """Enrolled, and known to the store."""
        self.enrol()
        assert self.post_certificate() == 201
        return self

    def signed(
        self,
        method: str,
        path: str,
        body: bytes,
        of: RequestOf | None = None,
        *,
        audience: str = signed_request.AUDIENCE,
        skew_us: int = 0,
    ) -> dict[str, str]:
        value = signed_request.sign_request(
            self.signer,
            self.instance,
            audience=audience,
            method=method,
            path=path,
            body=body,
            now_us=self.deployment.clock.now_us + skew_us,
            of=of,
        )
        return {"Gatepost-Signed": value}

    def ship_lines(self, lines: list[bytes], of: RequestOf | None = None):  # type: ignore[no-untyped-def]  # httpx.Response
        body = gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)
        headers = {**self.signed("POST", "/v1/records", body, of), "Content-Encoding": "gzip"}
        return self.deployment.http.post("/v1/records", content=body, headers=headers)

    def ship(self, *sealed: seal.Sealed, of: RequestOf | None = None) -> ShipAnswer:
        answer = self.ship_lines([one.envelope_line() for one in sealed], of)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=ShipAnswer)
