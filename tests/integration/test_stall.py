"""A worker that pauses is not replaced; one that does not come back is, and its clients with it."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import Daemon
from tests.harness.settings import HOST, Settings

STALL, REPLACE = 0.3, 1.5
EVERY = 0.05


@dataclass(slots=True)
class Clients:
    """A new one each 50 ms; it waits for its answer, which names who gave it, and stays."""

    port: int
    answers: list[tuple[float, float, int]] = field(default_factory=list)
    """When it came, how long it waited, and for which process."""
    failed: list[str] = field(default_factory=list)
    asked: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        threads = []
        while not self.over.wait(EVERY):
            self.asked += 1
            threads.append(threading.Thread(target=self._ask))
            threads[-1].start()
        for one in threads:
            one.join(HANG_SECONDS)

    def _ask(self) -> None:
        begun = time.monotonic()
        try:
            with socket.create_connection((HOST, self.port), HANG_SECONDS) as client:
                client.sendall(b"x\n")
                answer = client.recv(100)
                took = time.monotonic() - begun
                self.answers.append((begun, took, int(answer.split()[0])))
                self.over.wait(HANG_SECONDS)
        except (OSError, IndexError, ValueError) as error:
            self.failed.append(repr(error))

    def waited(self, since: float = 0.0) -> list[float]:
        return [took for begun, took, _ in self.answers if begun >= since]


@contextmanager
def clients(daemon: Daemon) -> Iterator[Clients]:
    found = Clients(daemon.settings.ws_port)
    thread = threading.Thread(target=found.run)
    thread.start()
    try:
        yield found
    finally:
        found.over.set()
        thread.join(HANG_SECONDS)

    assert found.failed == []
    assert len(found.answers) == found.asked


@dataclass(frozen=True, slots=True)
class Pausing:
    settings: Settings
    gate: Path

    def stall(self, pid: int | None = None) -> None:
        """It, or all of them, stand still from now on."""
        self._file(pid).touch()

    def wake(self, pid: int | None = None) -> None:
        self._file(pid).unlink()

    def _file(self, pid: int | None) -> Path:
        return self.gate if pid is None else Path(f"{self.gate}.{pid}")


@pytest.fixture
def pausing(settings: Settings, tmp_path: Path) -> Pausing:
    gate = tmp_path / "stalls"
    settings.releases.install("pausing", "pausing")
    own = replace(
        settings,
        workers=1,
        listeners=("ws",),
        accept_stall=f"{int(STALL * 1000)}ms",
        replace_after=f"{int(REPLACE * 1000)}ms",
        environment={"STALLS": str(gate)},
    )
    return Pausing(own, gate)


def kinds(daemon: Daemon) -> list[str]:
    return [line.split()[1] for line in events(daemon)]


def events(daemon: Daemon) -> list[str]:
    return daemon.ctl("events").out.splitlines()


def count(daemon: Daemon, what: str) -> int:
    return sum(what in line for line in events(daemon))


def wait_event(daemon: Daemon, what: str, times: int = 1) -> None:
    daemon.wait_for(lambda _: count(daemon, what) >= times, what=what)


def test_a_worker_that_pauses_again_and_again_stays_the_only_one(pausing: Pausing) -> None:
    own = replace(pausing.settings, environment={"PAUSE": "0.7", "EVERY": "1.2"})
    with Daemon(own) as daemon:
        (pid,) = daemon.start().active_pids()
        with clients(daemon) as load:
            wait_event(daemon, "worker stalled", 3)

        assert daemon.active_pids() == [pid]
        assert count(daemon, "worker spawned") == 1
        assert count(daemon, "worker accepts") >= 2
        assert max(load.waited()) < REPLACE


def test_with_several_workers_new_clients_go_to_those_that_accept(pausing: Pausing) -> None:
    with Daemon(replace(pausing.settings, workers=2, replace_after="60s")) as daemon:
        stalled, _ = daemon.start().active_pids()
        with clients(daemon) as load:
            pausing.stall(stalled)
            wait_event(daemon, "worker stalled")
            away = time.monotonic()
            daemon.wait_for(lambda _: len(load.waited(away)) > 20, what="answers of the other")
            state = daemon.state()
            woken = time.monotonic()
            pausing.wake(stalled)
            wait_event(daemon, "worker accepts")
            back = time.monotonic()
            daemon.wait_for(
                lambda _: stalled in {pid for at, _, pid in load.answers if at > back},
                what="new connections of the one that accepts again",
            )

        assert state == "degraded"
        assert stalled not in {pid for at, _, pid in load.answers if at > away and at < woken}
        assert count(daemon, "worker spawned") == 2


def test_one_that_does_not_come_back_is_replaced_and_its_queue_is_served(
    pausing: Pausing,
) -> None:
    with Daemon(pausing.settings) as daemon:
        (stalled,) = daemon.start().active_pids()
        with clients(daemon) as load:
            daemon.wait_for(lambda _: len(load.answers) > 2, what="answers")
            pausing.stall(stalled)
            wait_event(daemon, "sweeper started")
            daemon.wait_for(lambda _: len(load.answers) >= load.asked - 2, what="all answers")
            # It still has its own connections, and is not ended while it has them.
            assert stalled in {one.pid for one in daemon.workers()}
            pausing.wake(stalled)

        assert count(daemon, "stall replaced") == 1
        assert count(daemon, "worker retry") == 0


def test_one_that_accepts_before_its_replacement_is_ready_goes_on(
    pausing: Pausing, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    environment = {**pausing.settings.environment, "GATE": str(gate)}
    with Daemon(replace(pausing.settings, environment=environment)) as daemon:
        (stalled,) = daemon.start().active_pids()
        with clients(daemon) as load:
            daemon.wait_for(lambda _: len(load.answers) > 2, what="answers")
            gate.touch()
            pausing.stall(stalled)
            wait_event(daemon, "stall replaced")
            pausing.wake(stalled)
            wait_event(daemon, "worker accepts")
            daemon.wait_for(
                lambda _: [one.pid for one in daemon.workers()] == [stalled],
                what="the end of the replacement",
            )
            daemon.wait_for(lambda _: len(load.answers) >= load.asked - 2, what="all answers")

        assert {pid for _, _, pid in load.answers} == {stalled}
        assert count(daemon, "worker retry") == 0


def test_replacements_that_stall_as_well_do_not_pile_up_and_that_is_reported(
    pausing: Pausing,
) -> None:
    """Clients keep all of them busy, or their database does: more processes would not help."""
    with Daemon(pausing.settings) as daemon:
        (first,) = daemon.start().active_pids()
        with clients(daemon) as load:
            daemon.wait_for(lambda _: len(load.answers) > 2, what="answers")
            pausing.stall(first)
            wait_event(daemon, "sweeper started")
            pausing.stall()
            wait_event(daemon, "stall not replaced")
            time.sleep(4 * REPLACE)
            living = len(daemon.workers())
            shown = daemon.ctl("status").out
            pausing.wake()
            pausing.wake(first)
            daemon.wait_for(lambda _: len(load.answers) >= load.asked - 2, what="all answers")

        assert living <= 4  # the stalled one, its replacement, and a sweeper for each queue
        assert "the limit of replacements is reached" in shown
        assert count(daemon, "stall replaced") == 1


HELD_UP = """
import os, socket, sys
slot = socket.socket(fileno=3)
slot.setblocking(True)
while True:
    client, _ = slot.accept()
    said = b"x"
    while said and not said.endswith(b"\\n"):
        said = client.recv(100)
    client.sendall(b"%d\\n" % os.getpid())
    client.close()
"""


def test_a_worker_that_a_slow_client_holds_up_is_not_replaced(settings: Settings) -> None:
    """More processes would be held up as well, and any client could have them made."""
    program = settings.releases.root / "held_up.py"
    program.write_text(HELD_UP)
    own = replace(
        settings,
        workers=1,
        listeners=("ws",),
        command=(sys.executable, str(program)),
        accept_stall="500ms",
        replace_after="3s",
    )
    with Daemon(own) as daemon:
        (pid,) = daemon.start().active_pids()
        address = (HOST, daemon.settings.ws_port)
        with (
            socket.create_connection(address, HANG_SECONDS) as slow,
            socket.create_connection(address, HANG_SECONDS) as waiting,
        ):
            slow.sendall(b"half a request")
            waiting.sendall(b"a whole one\n")
            wait_event(daemon, "stall not replaced")
            shown = daemon.ctl("status").out
            slow.sendall(b", and its end\n")

            assert waiting.recv(100) == b"%d\n" % pid
        assert "it waits for slow clients, and is not replaced for that" in shown
        wait_event(daemon, "worker accepts")

        assert count(daemon, "stall replaced") == 0
        assert count(daemon, "worker spawned") == 1


def test_a_worker_that_was_stopped_is_not_held_up_by_its_clients(settings: Settings) -> None:
    """Its thread is in a system call on a client's connection, and does not wait for the client."""
    program = settings.releases.root / "held_up.py"
    program.write_text(HELD_UP)
    own = replace(
        settings,
        workers=1,
        listeners=("ws",),
        command=(sys.executable, str(program)),
        accept_stall="500ms",
        replace_after="2s",
    )
    with Daemon(own) as daemon:
        (pid,) = daemon.start().active_pids()
        address = (HOST, daemon.settings.ws_port)
        with (
            socket.create_connection(address, HANG_SECONDS) as slow,
            socket.create_connection(address, HANG_SECONDS) as waiting,
        ):
            slow.sendall(b"half a request")
            daemon.wait_for(
                lambda status: status["generations"][0]["connections"] == 1,
                what="the slow one",
            )
            os.kill(pid, signal.SIGSTOP)
            waiting.sendall(b"a whole one\n")
            wait_event(daemon, "stall replaced")
            os.kill(pid, signal.SIGKILL)
