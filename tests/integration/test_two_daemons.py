"""Two daemons, and what one leaves behind when it ends: nothing, and no client is reset."""

import signal
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.conftest import unique_name
from tests.harness.census import send, workers_of
from tests.harness.daemon import Daemon, unchanged
from tests.harness.load import load
from tests.harness.releases import Releases
from tests.harness.settings import HOST, Settings
from tests.harness.sockets import HeldSockets

ANSWERS_AFTER = 300
QUEUED = 50


@pytest.fixture
def other(tmp_path: Path, settings: Settings) -> Settings:
    """Another instance, with a release of its own, on the same ports."""
    root = tmp_path / "other"
    root.mkdir()
    releases = Releases(root)
    releases.install("one")
    return replace(settings, name=unique_name(), releases=releases)


@pytest.mark.parametrize("same_name", [False, True], ids=["other-name", "same-name"])
def test_a_second_daemon_on_the_same_port_is_refused_and_nobody_notices(
    settings: Settings, other: Settings, *, same_name: bool
) -> None:
    if same_name:
        other = replace(other, name=settings.name)
    with (
        Daemon(settings) as first,
        load(first.start()) as clients,
        Daemon(other, borrows_name=same_name) as second,
    ):
        pids = first.active_pids()
        status = second.run_to_its_end()
        clients.more(ANSWERS_AFTER)
        notes = clients.assert_unnoticed()
        print(second.log())

        assert status == 1
        assert settings.name in second.log()
        assert str(settings.ws_port) in second.log()
        assert {note.pid for note in notes} <= set(pids)
        assert set(workers_of(settings.name)) == set(pids)
        assert same_name or second.leftovers() == []
        assert unchanged(pids, first.active_pids())
        assert first.stop() == 0


def test_a_second_daemon_for_the_same_control_socket_is_refused(
    settings: Settings, other: Settings, short_directory: Path
) -> None:
    control = short_directory / "control.sock"
    other = replace(other, name=settings.name)
    with (
        Daemon(settings, control=control) as first,
        load(first.start()) as clients,
        Daemon(other, control=control, borrows_name=True) as second,
    ):
        pids = first.active_pids()
        status = second.run_to_its_end()
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()

        assert status == 1
        assert str(first.process.pid) in second.log()
        assert first.state() == "serving"
        assert unchanged(pids, first.active_pids())


def test_a_stale_control_socket_is_not_in_the_way(
    settings: Settings, short_directory: Path
) -> None:
    control = short_directory / "control.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(control))
    assert control.exists()
    with Daemon(settings, control=control) as daemon:
        daemon.start()

        assert daemon.stop() == 0
        assert not control.exists()


@pytest.mark.parametrize("held", [False, True], ids=["bound by itself", "held by systemd"])
def test_a_daemon_starts_over_one_that_was_killed_and_whose_state_is_lost(
    settings: Settings, short_directory: Path, held: bool
) -> None:
    control = short_directory / "control.sock"
    addresses = {"ws": (HOST, settings.ws_port), "raw": (HOST, settings.raw_port)}
    with ExitStack() as stack:
        sockets = stack.enter_context(HeldSockets(addresses, slots=8)) if held else None
        killed = stack.enter_context(Daemon(settings, control=control, sockets=sockets))
        old = set(killed.start().active_pids())
        send(killed.process.pid, signal.SIGKILL)
        killed.wait_end()
        for file in short_directory.glob("*.state.*"):
            file.unlink()
        with Daemon(settings, control=control, sockets=sockets) as daemon:
            new = set(daemon.start().active_pids())

            assert not new & old
            assert set(workers_of(settings.name)) == new
            assert daemon.stop() == 0
            assert daemon.leftovers() == []


@pytest.mark.parametrize("variant", ["well", "stubborn"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_leaves_nothing_behind(
    settings: Settings, variant: str, number: signal.Signals
) -> None:
    settings.releases.install("last", variant)
    with Daemon(settings) as daemon, load(daemon.start(), held=20, rate=100):
        daemon.signal(number)

        assert daemon.wait_end() == 0
        assert daemon.leftovers() == []


def test_wssctl_stop_returns_when_it_has_stopped(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        answer = daemon.start().ctl("stop")

        assert answer.status == 0
        assert daemon.wait_end() == 0
        assert daemon.leftovers() == []


def test_clients_queued_on_held_sockets_are_served_by_the_next_start(settings: Settings) -> None:
    addresses = {"ws": (HOST, settings.ws_port), "raw": (HOST, settings.raw_port)}
    settings = replace(settings, with_addresses=False)
    with HeldSockets(addresses, slots=8) as sockets, ExitStack() as clients:
        with Daemon(settings, sockets=sockets) as daemon:
            assert daemon.start().stop() == 0
            assert daemon.leftovers() == []
        queued = [
            clients.enter_context(socket.create_connection(addresses["raw"], HANG_SECONDS))
            for _ in range(QUEUED)
        ]
        with Daemon(settings, sockets=sockets) as daemon:
            daemon.start()
            answers = [client.recv(100) for client in queued]

            assert [answer for answer in answers if not answer.startswith(b"generation")] == []
            assert daemon.stop() == 0


def test_a_storm_over_a_stop_and_a_start_on_held_sockets_loses_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    addresses = {"ws": (HOST, settings.ws_port), "raw": (HOST, settings.raw_port)}
    settings = replace(settings, with_addresses=False)
    with HeldSockets(addresses, slots=8) as sockets:
        with Daemon(settings, sockets=sockets) as daemon, daemon.storm(tmp_path, rate=300) as storm:
            daemon.start()
            storm.wait_answered(ANSWERS_AFTER)
            assert daemon.stop() == 0
            begun = storm.begun
            wait_until(lambda: storm.begun > begun + QUEUED, what="queued clients")
            with Daemon(settings, sockets=sockets) as next_one:
                next_one.start()
                storm.wait_answered(ANSWERS_AFTER)
                notes = storm.finish()

        assert [note for note in notes if note.error] == []
