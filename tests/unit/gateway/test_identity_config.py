from __future__ import annotations

import msgspec
import pytest

from tests.unit.gateway.identity_world import (
    AGENT,
    config,
)

# -- the configuration -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audience": []}, "audience"),
        ({"audience": [""]}, "audience"),
        ({"clock_skew_seconds": 61}, "clock_skew_seconds"),
        ({"unknown": 1}, "unknown"),
        ({"tokens": [{"agent": "nobody", "sha256": "0" * 64}]}, "nobody"),
        ({"tokens": [{"agent": AGENT, "sha256": "gpl_x"}]}, "sha256"),
        ({"agents": [{"id": "a"}, {"id": "a"}], "tokens": []}, "twice"),
        ({"agents": [{"id": "a"}, {"id": "b", "actor_subjects": ["a"]}], "tokens": []}, "both"),
        ({"revoked": [{"issuer": "idp"}]}, "token_id"),
        ({"revoked": [{"issuer": "nobody", "subject": "x"}]}, "nobody"),
    ],
)
def test_a_configuration_that_would_trust_too_much_does_not_load(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        config(**changes)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES512", "RS384"])
def test_an_algorithm_outside_the_list_cannot_be_configured(algorithm: str) -> None:
    issuers = msgspec.to_builtins(config().issuers)
    issuers[0]["algorithms"] = [algorithm]
    with pytest.raises(msgspec.ValidationError, match="algorithms"):
        config(issuers=issuers)
