from __future__ import annotations

import base64

import pytest

from gateway import issuing, policy, seal
from gateway.errors import DocumentInvalid
from gateway.issuing import Issued
from gateway.policy import Policy
from gateway.seal import Signer
from tests.unit.gateway import policy_factory as make

SIGNER = Signer(b"s" * 32)
GRANT = {"id": "g", "actions": ["chat"]}


def bundle(content: Policy) -> Issued:
    return issuing.build_bundle(
        content,
        scope="acme",
        epoch=1,
        version=1,
        issued_us=make.NOW_US,
        not_before_us=make.NOW_US,
        expires_us=make.NOW_US + make.SECOND,
        source=None,
        signers=[SIGNER],
    )


def test_what_is_signed_is_read_back_as_it_was_and_named_by_its_payloads_hash() -> None:
    made = bundle(make.policy_of(grants=[GRANT | {"when": {"le": ["args.x", 1.5]}}]))
    assert made.digest == seal.sha256_text(made.payload)
    assert policy.encode(policy.decode_bundle(made.payload)) == made.payload
    opened = seal.open_envelope(
        made.envelope,
        "application/vnd.gatepost.bundle.v1+json",
        {SIGNER.kid: SIGNER.public},
    )
    assert opened == made.payload


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"grants": [GRANT | {"actions": ["chatt"]}]}, "policy"),
        ({"mode": "shadow"}, "unsupported"),
        (
            {
                "tests": [
                    {
                        "name": "t",
                        "input": {"model": {"operation": "chat"}},
                        "expect": {"outcome": "allow"},
                    }
                ]
            },
            "selftest",
        ),
        ({"grants": [GRANT | {"description": "x" * 8 * 1024 * 1024}]}, "length"),
    ],
)
def test_nothing_is_signed_that_no_daemon_would_accept(
    members: dict[str, object], reason: str
) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        bundle(make.policy_of(**members))
    assert caught.value.reason == reason


def test_a_root_without_a_role_or_with_an_impossible_threshold_is_not_made() -> None:
    with pytest.raises(ValueError, match="threshold of 2 with 1 keys"):
        issuing.role([SIGNER], 2)
    with pytest.raises(ValueError, match="threshold of 0"):
        issuing.role([SIGNER], 0)
    roles = {name: issuing.role([SIGNER]) for name in issuing.ROLE_NAMES}
    keys = {SIGNER.kid: base64.b64encode(SIGNER.public).decode()}

    def build(held: dict[str, str], missing: str | None) -> Issued:
        return issuing.build_root(
            version=1,
            epoch=1,
            custody="development",
            issued_us=make.NOW_US,
            expires_us=make.NOW_US + make.SECOND,
            scopes=["acme"],
            keys=held,
            roles={name: each for name, each in roles.items() if name != missing},
            signers=[SIGNER],
        )

    assert build(keys, None).pin.startswith("sha256:")
    with pytest.raises(ValueError, match="roles are"):
        build(keys, "log")
    with pytest.raises(ValueError, match="no key for"):
        build({}, None)
