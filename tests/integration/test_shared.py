"""Shared mode: one socket for all generations, with workers that let it go or do not."""

import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.storm import Note
from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import Daemon, unchanged
from tests.harness.load import load
from tests.harness.settings import Settings
from tests.harness.sockets import HeldSockets

CUTOVERS = 20
CONNECTIONS = 6_000
HELD = 500
RATE = 800.0
ANSWERS_AFTER = 200
RELEASING_SOCKETS = 1.0
"""A worker may serve what it accepted before it was asked to stop accepting."""


@pytest.fixture(params=["unix", "tcp"])
def shared(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    own = settings.shared
    return replace(own, unix=True) if request.param == "unix" else replace(own, mode="shared")


def answered_by_old(notes: list[Note], cutovers: list[tuple[float, int]]) -> list[Note]:
    """Connections that began well after a cutover and were answered by a generation before it."""
    return [
        note
        for note in notes
        for at, generation in cutovers
        if note.start > at + RELEASING_SOCKETS and note.generation < generation
    ]


@pytest.mark.storm
def test_twenty_reloads_lose_no_connection_where_workers_let_go(shared: Settings) -> None:
    with Daemon(shared) as daemon:
        daemon.start()
        with load(daemon, held=HELD, rate=RATE) as clients:
            cutovers = []
            for _ in range(CUTOVERS):
                cutovers.append(daemon.reload())
                clients.more(CONNECTIONS // CUTOVERS)
            daemon.wait_for(
                lambda status: (
                    [shown["number"] for shown in status["generations"]] == [CUTOVERS + 1, 1]
                ),
                what="retirement of all but the active and the held generation",
            )
            notes = clients.assert_unnoticed()
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")

        assert len(notes) >= CONNECTIONS
        assert answered_by_old(notes, [(one.at, one.generation) for one in cutovers]) == []
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_a_reload_whose_old_workers_do_not_let_go_fails_and_changes_nothing(
    shared: Settings,
) -> None:
    shared.releases.install("storm", "stubborn")
    with Daemon(replace(shared, workers=1)) as daemon:
        daemon.start()
        shared.releases.install("next")
        pids = daemon.active_pids()
        with daemon.held(shared.releases.root, HELD) as held:
            held.wait_open()
            refused = daemon.ctl("reload")
            status = daemon.status()
            daemon.wait_for(lambda status: len(status["generations"]) == 1, what="its end")
            broken = held.finish().broken

        assert refused.status == 1
        assert "worker 0 of generation 1 still listened on 'ws'" in refused.err
        assert "SIGUSR1 ([drain] signal)" in refused.err
        assert status["last_reload"]["ok"] is False
        assert broken == ()
        assert unchanged(pids, daemon.active_pids())


def test_without_a_signal_or_the_library_a_reload_is_refused_before_anything_starts(
    shared: Settings,
) -> None:
    with Daemon(replace(shared, drain_signal="none")) as daemon:
        daemon.start()
        refused = daemon.ctl("reload")

        assert refused.status == 1
        assert "[drain] signal" in refused.err
        assert daemon.ctl("events").out.count("worker spawned") == shared.workers


def test_workers_that_let_go_for_a_reload_that_is_cancelled_are_replaced(
    shared: Settings,
) -> None:
    """One of the old workers obeys, the other does not: the first cannot take its socket back."""
    own = replace(shared, workers=1)
    with Daemon(own) as daemon, load(daemon.start(), held=0) as clients:
        shared.releases.install("storm", "stubborn")
        daemon.reload()
        shared.releases.install("last")
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")
        assert daemon.ctl("reload").status == 1
        clients.more(ANSWERS_AFTER)
        lost = [note for note in clients.storm.finish() if note.error]

        # What the release that was given up had accepted and not answered yet may be lost.
        assert len(lost) <= 2
        assert daemon.active() == 2


def test_status_says_which_mode_and_why(shared: Settings) -> None:
    with Daemon(shared) as daemon:
        daemon.start()
        (ws, raw) = daemon.status()["listeners"]
        why = "AF_UNIX sockets cannot be steered" if shared.unix else 'mode = "shared"'

        assert {ws["mode"], raw["mode"]} == {"shared"}
        assert why in ws["mode_reason"]
        assert "shared (" in daemon.ctl("status").out


def test_a_failed_reload_changes_nothing_in_shared_mode(shared: Settings) -> None:
    with Daemon(shared) as daemon, load(daemon.start()) as clients:
        pids = daemon.active_pids()
        for variant in ("fails_at_once", "never_ready"):
            replace(shared, ready_timeout="2s").write()
            shared.releases.install(variant, variant)
            assert daemon.ctl("reload").status == 1
            clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()

        assert unchanged(pids, daemon.active_pids())


def test_rolling_back_in_shared_mode_respawns_and_loses_nothing(shared: Settings) -> None:
    with Daemon(replace(shared, keep="60s")) as daemon, load(daemon.start()) as clients:
        daemon.reload()
        clients.more(ANSWERS_AFTER)
        back = daemon.roll_back()
        clients.more(ANSWERS_AFTER)
        notes = clients.assert_unnoticed()
        old = [
            one for one in notes if one.start > back.at + RELEASING_SOCKETS and one.generation != 1
        ]

        assert back.generation == 1
        assert old == []


def test_a_crash_in_shared_mode_is_made_good_and_later_clients_notice_nothing(
    shared: Settings,
) -> None:
    with Daemon(shared) as daemon, load(daemon.start(), held=0) as clients:
        daemon.end_worker(daemon.active_pids()[0])
        daemon.wait_for(lambda status: status["state"] == "serving", what="a replacement")
        clients.more(ANSWERS_AFTER)

        # Only what the killed process had accepted and not answered yet may be lost.
        assert [note for note in clients.storm.finish() if note.error][2:] == []
        assert len(daemon.active_pids()) == 2


def test_scaling_in_shared_mode_loses_nothing(shared: Settings) -> None:
    with Daemon(shared) as daemon, load(daemon.start()) as clients:
        for count in (4, 1):
            assert daemon.ctl("scale", str(count)).status == 0
            daemon.wait_ready(count)
            clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()


# -- AF_UNIX --------------------------------------------------------------------------------------


@pytest.fixture
def unix(settings: Settings) -> Settings:
    return replace(settings.shared, unix=True)


def path_of(settings: Settings) -> Path:
    return Path(settings.target("ws")[0])


def test_connections_over_af_unix_are_counted(unix: Settings) -> None:
    with Daemon(unix) as daemon, load(daemon.start(), held=HELD) as clients:
        daemon.reload()
        clients.more(ANSWERS_AFTER)
        daemon.wait_for(
            lambda status: [one["connections"] for one in status["generations"][1:]] == [HELD],
            what="a census of the drain",
        )
        clients.assert_unnoticed()


def test_an_af_unix_socket_is_made_anew_and_removed_at_the_end(unix: Settings) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path_of(unix)))
    with Daemon(unix) as daemon:
        daemon.start()
        found = path_of(unix).stat()

        assert stat.S_IMODE(found.st_mode) == 0o666
        assert daemon.stop() == 0
        assert not path_of(unix).exists()
        assert list(unix.releases.root.glob("*.lock")) == []


@pytest.mark.parametrize("what", ["a listener", "a file", "no directory"])
def test_a_path_that_cannot_be_had_is_told(unix: Settings, what: str) -> None:
    path = path_of(unix)
    own = unix
    match what:
        case "a listener":
            says = f"another process listens on unix:{path}: pid {os.getpid()}"
        case "a file":
            path.write_text("dear")
            says = "is not a socket. Remove it, or give the listener another path"
        case _:
            own = replace(unix, missing=True)
            says = "Create the directory"
    with socket.socket(socket.AF_UNIX) as other:
        if what == "a listener":
            other.bind(str(path))
            other.listen()
        with Daemon(own) as daemon:
            assert daemon.run_to_its_end() == 1
            assert says in daemon.log()


def test_two_daemons_do_not_take_a_path_from_each_other(unix: Settings) -> None:
    with Daemon(unix) as daemon, load(daemon.start()) as clients:
        second = replace(unix, name=f"{unix.name}-2")
        with Daemon(second) as other:
            assert other.run_to_its_end() == 1
            assert "another process listens on unix:" in other.log()
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()


def test_workers_that_a_dead_daemon_left_are_ended_and_the_path_is_served_again(
    unix: Settings,
) -> None:
    with Daemon(unix, keeps_workers=True) as first:
        first.start()
        left = first.active_pids()
        first.process.kill()
        first.process.wait(HANG_SECONDS)
        with Daemon(unix) as daemon, load(daemon.start()) as clients:
            clients.more(ANSWERS_AFTER)
            clients.assert_unnoticed()

            assert set(left).isdisjoint(daemon.active_pids())


# -- where it is not asked for --------------------------------------------------------------------


def test_sockets_without_so_reuseport_are_shared_and_survive_the_daemon(
    settings: Settings,
) -> None:
    own = replace(settings.shared, with_addresses=False)
    addresses = {name: own.target(name) for name in ("ws", "raw")}
    with (
        HeldSockets(addresses, 1, reuse_port=False) as sockets,
        Daemon(own, sockets=sockets) as daemon,
        load(daemon.start()) as clients,
    ):
        daemon.reload()
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()
        (ws, _) = daemon.status()["listeners"]

        assert (ws["mode"], ws["source"]) == ("shared", "systemd")
        assert "ReusePort=yes" in ws["mode_reason"]


def test_a_pool_that_shall_be_shared_is_steered_to_one_slot(settings: Settings) -> None:
    own = replace(settings.shared, with_addresses=False, mode="shared")
    addresses = {name: own.target(name) for name in ("ws", "raw")}
    with (
        HeldSockets(addresses, 6) as sockets,
        Daemon(own, sockets=sockets) as daemon,
        load(daemon.start()) as clients,
    ):
        daemon.reload()
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()
        status = daemon.status()
        slots = {one["slots"]["ws"] for one in status["generations"][0]["workers"]}

        assert status["listeners"][0]["mode"] == "shared"
        assert len(slots) == 1


def test_where_the_kernel_refuses_the_program_shared_mode_is_used(settings: Settings) -> None:
    with Daemon(settings.shared, forbidden="steering") as daemon, load(daemon.start()) as clients:
        daemon.reload()
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()
        (ws, _) = daemon.status()["listeners"]

        assert ws["mode"] == "shared"
        assert "sandbox (seccomp, LSM) forbids it" in ws["mode_reason"]


def test_where_steering_is_asked_for_and_refused_nothing_starts(settings: Settings) -> None:
    with Daemon(replace(settings, mode="steered"), forbidden="steering") as daemon:
        assert daemon.run_to_its_end() == 1
        assert "could not be attached" in daemon.log()


def test_connect_readiness_is_refused_where_sharing_is_found_out_at_start(
    settings: Settings,
) -> None:
    with Daemon(settings, forbidden="steering") as daemon:
        assert daemon.run_to_its_end() == 1
        assert 'Set [ready] by to "notify" or "delay"' in daemon.log()
