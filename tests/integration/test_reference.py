"""docs/reference: what the pages say of JSON is what a daemon in a busy hour answers."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.conftest import unique_name
from tests.harness.daemon import Daemon
from tests.harness.reference import differences, events, keys, names
from tests.harness.releases import Releases
from tests.harness.settings import Settings
from wssupervisor.fleet.counters import CAUSES
from wssupervisor.fleet.notes import NoteKind

EACH_EVENT = {"at", "kind"}
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hour:
    """What was seen at the end of it."""

    status: list[Document]
    why: Document
    history: list[Document]
    events: list[Document]


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    """A failed reload, a good one with clients, a drain with a limit, a crash, a leave."""
    releases = Releases(tmp_path_factory.mktemp("reference"))
    releases.install("good")
    releases.install("bad", "fails_at_once")
    releases.switch("good")
    settings = replace(Settings(unique_name(), releases), keep="60s")
    with Daemon(settings) as daemon, ExitStack() as stack:
        daemon.start()
        status = [daemon.status()]
        for _ in range(4):
            client = stack.enter_context(
                socket.create_connection(settings.target("raw"), HANG_SECONDS)
            )
            client.recv(100)
        releases.switch("bad")
        assert daemon.ctl("reload").status == 1
        releases.switch("good")
        daemon.reload()
        daemon.ctl("drain", "1", "--within", "10min")
        daemon.end_worker(daemon.active_pids()[0])
        daemon.ctl("scale", "1")
        daemon.ctl("leave", "--lead", "0s", "--no-wait")
        wait_until(lambda: has_counted(daemon), what="a count of the drain's connections")
        status.append(daemon.status())
        yield Hour(
            status,
            daemon.ctl("why", "1", "--json").document,
            lines(daemon, "history"),
            lines(daemon, "events"),
        )


def has_counted(daemon: Daemon) -> bool:
    found = daemon.ctl("why", "1", "--json").document
    return found["connections"] == 4 and len(found["longest_idle"]) == 4


def lines(daemon: Daemon, verb: str) -> list[Document]:
    return [json.loads(line) for line in daemon.ctl(verb, "--json").out.splitlines()]


def test_the_status_has_the_keys_of_its_page(hour: Hour) -> None:
    known = list(keys("status.md"))

    assert [list(differences(document, known)) for document in hour.status] == [[], []]
    assert hour.status[1]["generations"][1]["drain"]["deadline"] is not None


def test_why_has_the_keys_of_its_page(hour: Hour) -> None:
    assert list(differences(hour.why, list(keys("why.md")))) == []
    assert hour.why["peers"] != []
    assert hour.why["longest_idle"] != []


def test_the_history_has_the_keys_of_its_page(hour: Hour) -> None:
    known = list(keys("events.md", within="A reload in the history"))

    assert [list(differences(document, known)) for document in hour.history] == [[], []]
    assert {document["ok"] for document in hour.history} == {True, False}


def test_every_kind_of_event_is_on_its_page() -> None:
    assert {kind.value for kind in NoteKind} == set(events("events.md"))


def test_events_have_the_fields_of_their_kind(hour: Hour) -> None:
    known = events("events.md")
    strange = [
        (event["kind"], field)
        for event in hour.events
        for field in event.keys() - EACH_EVENT - known[event["kind"]]
    ]

    assert strange == []
    assert len({event["kind"] for event in hour.events}) > 8


def test_every_cause_of_an_exit_is_on_the_page_of_metrics() -> None:
    assert set(CAUSES) == names("metrics.md", within="Causes of an exit")
