"""A supervisor dies and its successor continues: no client notices."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import alive, send, workers_of
from tests.harness.daemon import Daemon, unchanged
from tests.harness.deaths import daemon_held_by, rewritten
from tests.harness.load import load
from tests.harness.settings import Settings
from wssupervisor.fleet.state import FIRST_SWEEPER
from wssupervisor.runtime.kernel.inet_diag import HELD, sockets

ANSWERS = 200
RESTART = "closed by the server: 03f4"
HOLDS = ["unit", "store", "nobody"]
"""What holds the sockets after a death: a socket unit, the store, or workers alone."""


@pytest.mark.parametrize("who", HOLDS)
def test_nobody_notices_that_it_died(settings: Settings, who: str) -> None:
    with daemon_held_by(settings, who) as daemon, load(daemon.start()) as clients:
        pids = daemon.active_pids()
        daemon.die()
        clients.more(ANSWERS if who != "nobody" else 0)
        daemon.start()
        clients.more(ANSWERS)
        now = [one.pid for one in daemon.workers() if one.index < FIRST_SWEEPER]
        assert unchanged(pids, now)
        settings.releases.install("two")
        cutover = daemon.reload()
        clients.more(ANSWERS)
        clients.assert_unnoticed([cutover])
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="end of the drain")


@pytest.mark.parametrize("who", ["store", "nobody"])
@pytest.mark.parametrize("unix", [True, False], ids=["unix", "tcp"])
def test_shared_listeners_outlive_it(settings: Settings, who: str, unix: bool) -> None:
    shared = replace(settings.shared, unix=unix, mode="auto" if unix else "shared")
    with daemon_held_by(shared, who) as daemon, load(daemon.start()) as clients:
        pids = daemon.active_pids()
        daemon.die()
        clients.more(ANSWERS)
        daemon.start()
        assert unchanged(pids, daemon.active_pids())
        settings.releases.install("two")
        daemon.reload()
        clients.more(ANSWERS)
        clients.assert_unnoticed()


def test_where_workers_cannot_share_their_sockets_it_says_how_to_end_them(
    settings: Settings,
) -> None:
    with (
        Daemon(settings) as dead,
        load(dead.start()) as clients,
        Daemon(settings, control=dead.control, forbidden="pidfd_getfd", borrows_name=True) as next_,
    ):
        pids = dead.active_pids()
        dead.die()
        status = next_.run_to_its_end()

        assert status == 1
        assert f"still serve (pids {pids[0]} {pids[1]})" in next_.log()
        assert f"kill {pids[0]} {pids[1]}" in next_.log()
        assert "Operation not permitted" in next_.log()
        assert set(workers_of(settings.name)) == set(pids)
        assert clients.finish()[1].broken == ()


def test_a_stopped_worker_is_not_ended_by_its_supervisors_death(settings: Settings) -> None:
    """The kernel hangs up on a process group that is orphaned while a member is stopped."""
    with daemon_held_by(settings, "store") as daemon:
        stopped, _ = daemon.start().active_pids()
        send(stopped, signal.SIGSTOP)
        daemon.die()
        daemon.start()
        send(stopped, signal.SIGCONT)

        assert stopped in workers_of(settings.name)
        assert "worker exited" not in daemon.log()


def test_what_a_worker_said_and_wrote_meanwhile_is_heard(
    settings: Settings, tmp_path: Path
) -> None:
    """It becomes ready, and reports that once, while no supervisor runs."""
    gate = tmp_path / "gate"
    gate.touch()
    gated = replace(settings, ready_by="notify", environment={"GATE": str(gate), "SAYS_READY": "1"})
    settings.releases.install("gated", "gated")
    with daemon_held_by(gated, "store") as daemon:
        first, _ = daemon.start().active_pids()
        gate.unlink()
        send(first, signal.SIGKILL)
        wait_until(lambda: daemon.log().count("waiting at the gate") == 3, what="a respawn")
        (starting,) = [one.pid for one in daemon.workers() if one.state == "starting"]
        daemon.die()
        gate.touch()
        assert alive(starting)
        daemon.start()
        daemon.wait_ready(2)

        assert starting in daemon.active_pids()
        assert daemon.log().count("worker spawned") == 3


def test_the_channel_to_a_worker_with_the_library_comes_back(settings: Settings) -> None:
    settings.releases.install("polite", "polite")
    polite = replace(
        settings, listeners=("ws",), ready_by="notify", drain='timeout = "0s"\nclose_over = "0s"'
    )
    with (
        daemon_held_by(polite, "store") as daemon,
        daemon.start().held(settings.releases.root, 20) as held,
    ):
        held.wait_open()
        daemon.die()
        daemon.start()
        assert [one["library"] for one in daemon.status()["generations"][0]["workers"]] == [
            True
        ] * 2
        daemon.reload()
        held.wait_broken(20)
        verdict = held.finish()

        assert {one.reason[: len(RESTART)] for one in verdict.broken} == {RESTART}


def test_the_end_of_a_worker_that_is_not_its_child_is_told_with_its_status(
    settings: Settings,
) -> None:
    with daemon_held_by(settings, "store") as daemon:
        first, _ = daemon.start().active_pids()
        daemon.die()
        daemon.start()
        daemon.end_worker(first)
        daemon.wait_ready(2)

        assert "was killed by SIGKILL" in daemon.log()


def test_a_worker_that_died_with_it_is_replaced_from_the_pinned_release(
    settings: Settings,
) -> None:
    with daemon_held_by(settings, "store") as daemon:
        first, second = daemon.start().active_pids()
        settings.releases.install("bad", "fails_at_once")
        settings.path.write_text("nonsense")
        daemon.die()
        send(first, signal.SIGKILL)
        daemon.start()
        daemon.wait_ready(2)

        assert second in daemon.active_pids()
        assert "a reload would fail: bad configuration" in daemon.log()


def test_who_asks_while_nobody_supervises_is_answered_by_the_next(settings: Settings) -> None:
    with daemon_held_by(settings, "store") as daemon:
        daemon.start()
        daemon.die()
        with daemon.launch_ctl("reload", "--json") as asking:
            daemon.start()
            out, err = asking.communicate(timeout=HANG_SECONDS)

        assert (asking.returncode, err) == (0, "")
        assert '"generation": 2' in out


def test_who_asks_where_nobody_held_the_control_socket_is_told_so(settings: Settings) -> None:
    with daemon_held_by(settings, "nobody") as daemon:
        daemon.start()
        daemon.die()
        answer = daemon.ctl("reload")

        assert answer.status == 69
        assert "left over from a daemon that died" in answer.err


def test_a_reload_under_way_has_failed_and_does_not_take_effect_later(
    settings: Settings, tmp_path: Path
) -> None:
    gated = replace(settings, environment={"GATE": str(tmp_path / "gate")})
    with daemon_held_by(gated, "store") as daemon, load(daemon.start()) as clients:
        settings.releases.install("gated", "gated")
        with daemon.launch_ctl("reload") as asking:
            daemon.wait_for(lambda status: len(status["generations"]) == 2, what="a candidate")
            daemon.die()
            daemon.start()
            (tmp_path / "gate").touch()
            out, err = asking.communicate(timeout=HANG_SECONDS)
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="its end")
        clients.more(ANSWERS)
        clients.assert_unnoticed()

        assert (asking.returncode, out) == (1, "")
        assert "the supervisor died while it was under way" in err
        assert daemon.active() == 1


def test_a_pid_that_is_another_process_by_now_is_left_alone(settings: Settings) -> None:
    with (
        daemon_held_by(settings, "store") as daemon,
        subprocess.Popen(["sleep", "60"]) as innocent,
    ):
        first, second = daemon.start().active_pids()
        daemon.die()
        send(first, signal.SIGKILL)

        def reuse(data: dict[str, Any]) -> None:
            (own,) = [
                one
                for one in data["document"]["supervisor"]["crew"]["workers"]
                if one["process"]["pid"] == first
            ]
            process = own["process"]
            process["seen"] = {str(innocent.pid): process["seen"][str(first)]}
            process["pid"] = innocent.pid
            workers = data["document"]["fleet"]["state"]["generations"]["1"]["workers"]
            workers[own["id"]]["pid"] = innocent.pid

        rewritten(daemon, reuse)
        daemon.start()
        daemon.wait_ready(2)
        now = daemon.active_pids()
        assert daemon.stop() == 0

        assert second in now
        assert innocent.pid not in now
        assert innocent.poll() is None
        innocent.kill()


def test_only_what_its_workers_left_is_ended(settings: Settings) -> None:
    """A process of a worker that had ended, and two that look like it but are of others."""
    with daemon_held_by(settings, "store") as daemon, ExitStack() as end:
        pids = daemon.start().active_pids()
        own = psutil.Process(pids[0]).environ() | {"WSSUPERVISOR_INCARNATION": "9"}
        others = [
            own | {"WSSUPERVISOR_INSTANCE": f"{settings.name}-other"},
            own | {"WSSUPERVISOR_SUPERVISOR": f"{os.getpid()}:1"},
        ]
        left, *alike = [
            end.enter_context(subprocess.Popen(["sleep", "60"], env=one)) for one in [own, *others]
        ]
        for one in (left, *alike):
            end.callback(one.kill)
        daemon.die()
        now = daemon.start().active_pids()

        assert left.wait(HANG_SECONDS) == -signal.SIGKILL
        assert [one.poll() for one in alike] == [None, None]
        assert unchanged(pids, now)


def test_a_recovered_instance_is_not_taken_for_a_dead_one(settings: Settings) -> None:
    """Its workers carry the name of a supervisor that died."""
    with (
        daemon_held_by(settings, "nobody") as daemon,
        Daemon(settings, borrows_name=True) as second,
    ):
        daemon.start()
        daemon.die()
        pids = daemon.start().active_pids()

        assert second.run_to_its_end() == 1
        assert unchanged(pids, daemon.active_pids())


KEEPS = """
import os, select, socket, sys, time
listening, kept = socket.socket(fileno=3), []
while os.path.exists(sys.argv[1]):
    time.sleep(0.01)
while True:
    select.select([listening], [], [])
    kept.append(listening.accept()[0])
"""


@pytest.mark.parametrize("change", ["death", "upgrade"])
@pytest.mark.parametrize("who", ["store", "nobody"])
def test_a_connection_of_ours_that_the_worker_never_closes_is_no_client_of_the_next_supervisor(
    settings: Settings, tmp_path: Path, change: str, who: str
) -> None:
    """After a death without a store, the next supervisor also measures its slots.

    A client that waits keeps it from taking its own connections out of the worker's queue again.
    """
    own = keeping(settings, tmp_path)
    with daemon_held_by(own, who) as daemon:
        daemon.start()
        if change == "death":
            [worker] = daemon.active_pids()
            send(worker, signal.SIGSTOP)
            daemon.die()
            with socket.create_connection(own.target("raw")) as client:
                daemon.start()
                send(worker, signal.SIGCONT)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            assert daemon.ctl("upgrade").status == 0

        assert connections_of_the_generation_replaced_now(daemon) == 0


@pytest.mark.parametrize("who", ["store", "nobody"])
def test_a_probe_that_waited_when_the_supervisor_died_is_no_client_of_the_next(
    settings: Settings, tmp_path: Path, who: str
) -> None:
    with daemon_held_by(keeping(settings, tmp_path), who) as daemon:
        daemon.start()
        [worker] = daemon.active_pids()
        (tmp_path / "waits").touch()
        daemon.end_worker(worker)

        def waits() -> bool:
            port = daemon.settings.raw_port
            return any(one.queued for one in sockets(socket.AF_INET, port, HELD))

        wait_until(waits, what="a probe in the queue")
        daemon.die()
        daemon.launch()
        wait_until(lambda: daemon.state() != "absent", what="an answer")
        (tmp_path / "waits").unlink()
        daemon.wait_ready(1)

        assert connections_of_the_generation_replaced_now(daemon) == 0


def keeping(settings: Settings, directory: Path) -> Settings:
    """A worker that never closes a connection. It accepts none while DIRECTORY/waits exists."""
    (directory / "keeps.py").write_text(KEEPS)
    command = (sys.executable, str(directory / "keeps.py"), str(directory / "waits"))
    return replace(settings, command=command, listeners=("raw",), workers=1)


def connections_of_the_generation_replaced_now(daemon: Daemon) -> int:
    daemon.reload()
    daemon.wait_for(lambda status: len(status["generations"]) == 1, what="the drain's end")
    events = map(json.loads, daemon.ctl("events", "--json").out.splitlines())
    [retired] = [one for one in events if one["kind"] == "generation-retired"]
    return int(retired["connections"])
