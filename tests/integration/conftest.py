"""One running system for the whole session, and makers of further ones where a test breaks it.

The session's system is only used, never harmed: what needs another policy, a lost store or a
killed daemon makes its own with ``make_central`` and ``make_site``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.integration import system
from tests.integration.rules import rules
from tests.integration.system import Central, Daemon, Edit, FarEnds, Site, appended, same

_ROUTES = """
[[upstreams]]
name = "closed-port"
url = "http://127.0.0.1:1"
region = "us"
credential = "openai"

[[upstreams]]
name = "metadata"
url = "http://169.254.169.254"
region = "us"
credential = "openai"

[[routes]]
name = "small"
prefix = "/small"
protocol = "openai"
upstreams = ["openai"]
body_bytes_max = 512

[[routes]]
name = "hasty"
prefix = "/hasty"
protocol = "openai"
upstreams = ["openai"]
first_byte_seconds_max = 0.3
stream_idle_seconds_max = 0.3

[[routes]]
name = "closed"
prefix = "/closed"
protocol = "openai"
upstreams = ["closed-port"]

[[routes]]
name = "metadata"
prefix = "/metadata"
protocol = "openai"
upstreams = ["metadata"]

[[listen.unix]]
path = "{directory}/run/other/other.sock"
name = "other"
agent = "demo-agent"
uids = [54321]

[pseudonyms]
key_file = "{directory}/pseudonym.key"

[[identity.issuers]]
id = "keyless"
issuer = "https://keyless.example"
kind = "delegation"
jwks_file = "{directory}/absent.json"
algorithms = ["Ed25519"]

[[identity.revoked]]
issuer = "idp"
token_id = "stolen-1"
"""


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path: a Unix socket's has at most 107 bytes."""
    return tmp_path_factory.mktemp("gp")


@pytest.fixture(scope="session")
def ends(base: Path) -> Iterator[FarEnds]:
    with system.far_ends(base) as running:
        yield running


@pytest.fixture(scope="session")
def central(base: Path, ends: FarEnds) -> Iterator[Central]:
    with system.central(base / "c", ends, text=rules()) as running:
        yield running


@pytest.fixture(scope="session")
def daemon(base: Path, central: Central) -> Iterator[Daemon]:
    """The session's daemon, with one route for each way in which an upstream is unusual."""
    (base / "d").mkdir(mode=0o700)
    key = base / "d" / "pseudonym.key"
    key.touch(mode=0o600)
    key.write_bytes(base64.b64encode(bytes(range(32))))
    edit = appended(_ROUTES.format(directory=base / "d"))
    with system.site(base / "d", central, edit) as place:
        yield place.start()


@pytest.fixture(scope="session")
def names() -> Iterator[int]:
    """Numbers for directories."""
    return count()


MakeCentral = Callable[..., Central]
MakeSite = Callable[..., Site]


@pytest.fixture
def make_central(base: Path, ends: FarEnds, names: Iterator[int]) -> Iterator[MakeCentral]:
    """Central services of a test's own: ``make_central(text=…, edit=…)``."""
    with ExitStack() as running:

        def make(text: bytes | None = rules(), edit: Edit = same) -> Central:
            directory = base / f"c{next(names)}"
            return running.enter_context(system.central(directory, ends, text=text, edit=edit))

        yield make


@pytest.fixture
def make_site(
    base: Path, central: Central, make_central: MakeCentral, names: Iterator[int]
) -> Iterator[MakeSite]:
    """Places for daemons of a test's own: ``make_site(edit=…, services=…)``.

    Asks for ``make_central`` so that daemons end before the services they ship to.
    """
    with ExitStack() as running:

        def make(edit: Edit = same, services: Central | None = None) -> Site:
            directory = base / f"s{next(names)}"
            return running.enter_context(system.site(directory, services or central, edit))

        yield make
