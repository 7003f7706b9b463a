"""Readiness by a question: a wrong answer keeps all clients away, and its reason is shown."""

import re
from dataclasses import replace

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.census import children_of
from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.settings import Settings

NO_ANSWER = "it (did not answer within 5s|has accepted a connection but not answered yet)"
"""The second, if its start took more time than the question has."""
HTTP = 'path = "/healthz"'
WEBSOCKET = 'path = "/"\nsend = "ping"\nexpect = "ping"'


def probed(settings: Settings, by: str) -> Settings:
    lines = HTTP if by == "http" else WEBSOCKET
    return replace(settings, ready_by=by, ready=lines, ready_timeout="7s")


@pytest.mark.parametrize("by", ["http", "websocket"])
def test_a_release_that_answers_is_ready(settings: Settings, by: str) -> None:
    with Daemon(probed(settings, by)) as daemon:
        daemon.start()
        with load(daemon) as clients:
            cutovers = [daemon.reload(), daemon.reload()]
            clients.more(50)
            clients.assert_unnoticed(cutovers)


@pytest.mark.parametrize(
    ("by", "variant", "reason"),
    [
        ("http", "answers_500", "it answered 500 to GET /healthz, not 200 to 299"),
        ("http", "never_answers", NO_ANSWER),
        ("websocket", "answers_500", "it refused the WebSocket handshake: server rejected"),
        ("websocket", "never_answers", NO_ANSWER),
        ("websocket", "nonsense", "it did not answer 'ping', the last message was 'gnip'"),
    ],
)
def test_a_release_that_answers_wrongly_is_refused_and_reached_by_nobody(
    settings: Settings, by: str, variant: str, reason: str
) -> None:
    with Daemon(probed(settings, by)) as daemon:
        daemon.start()
        before = daemon.active_pids()
        with load(daemon) as clients:
            settings.releases.install("bad", variant)
            done = daemon.ctl("reload")
            clients.more(50)
            notes = clients.assert_unnoticed()

        assert done.status == 1
        assert re.search(f"was not ready within 7s: {reason}", done.err)
        assert {note.generation for note in notes} == {1}
        assert daemon.active_pids() == before


def test_a_release_that_answers_after_a_while_is_waited_for(settings: Settings) -> None:
    gate = settings.releases.root / "gate"
    slow = replace(probed(settings, "http"), environment={"GATE": str(gate)}, ready_timeout="20s")
    with Daemon(slow) as daemon:
        daemon.start()
        settings.releases.install("slow", "gated")
        reloading = daemon.launch_ctl("reload")
        daemon.wait_for(lambda status: status["state"] == "reloading", what="the reload")
        gate.touch()

        assert reloading.wait(HANG_SECONDS) == 0
        assert reloading.communicate()[0].startswith("generation 2 is active")


def test_no_child_of_a_probe_is_left(settings: Settings) -> None:
    own = probed(settings, "websocket")
    with Daemon(own) as daemon:
        daemon.start()
        replace(own, ready_timeout="2s").write()
        settings.releases.install("bad", "never_answers")
        assert daemon.ctl("reload").status == 1

        daemon.wait_for(
            lambda status: (
                {one["pid"] for shown in status["generations"] for one in shown["workers"]}
                == set(children_of(daemon.pid()))
            ),
            what="the end of all but the workers",
        )
