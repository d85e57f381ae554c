"""What the socket tests share: a certificate authority of their own, made once per run."""

from __future__ import annotations

import pytest

from tests.unit.gateway_io.authority import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
