"""A daemon in front of another: the second one's record names the first one's decision."""

from __future__ import annotations

import pytest

from tests.integration import raw
from tests.integration.conftest import MakeSite
from tests.integration.rules import MODEL
from tests.integration.system import Daemon

pytestmark = pytest.mark.integration


@pytest.fixture
def front(make_site: MakeSite, daemon: Daemon) -> Daemon:
    """A daemon whose OpenAI upstream is the session's daemon."""

    def behind(text: str) -> str:
        far = f'url = "{daemon.site.central.ends.upstreams().openai_url}"\n'
        assert far in text
        near = f'url = "http://127.0.0.1:{daemon.port}/openai"\ngateway = true\n'
        return text.replace(far, near, 1).replace("[enrolment]\n", "[enrolment]\nworker = 1\n")

    return make_site(edit=behind).start()


def test_the_record_of_the_second_gateway_names_the_decision_of_the_first(
    front: Daemon, daemon: Daemon
) -> None:
    with raw.RawConnection(front.port) as connection:
        connection.send(raw.chat_request(MODEL, text="one two three"))
        reply = connection.reply()
    assert reply.status == 200
    assert b"you sent 3 words" in reply.body
    first = front.records.decision(front.newest().id)
    parent = front.records.decision(daemon.newest().id)["parent"]
    assert (parent["id"], parent["seq"]) == (first["id"], first["chain"]["seq"])
    assert (parent["instance"], parent["hops"]) == (front.instance, 1)
    # The hash finds the record as its id does.
    assert front.records.members(parent["record_hash"]) == first
    assert first["parent"] is None
