"""The measuring clients notice what they are there to notice: tests of the tests."""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

from examples.load.clients import HeldClient, StormClient
from examples.load.verdict import Cutover, judge
from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import send
from tests.harness.settings import HOST, free_port
from tests.harness.sockets import HeldSockets

SERVING = Path(__file__).parents[1] / "harness" / "workers" / "serving.py"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@contextmanager
def worker(sockets: HeldSockets, generation: int) -> Iterator[subprocess.Popen[bytes]]:
    """One worker of the test application, started by hand."""
    command, passed = sockets.wrap([sys.executable, str(SERVING), "well"])
    env = {**os.environ, "WSSUPERVISOR_GENERATION": str(generation)}
    with subprocess.Popen(command, pass_fds=passed, env=env) as process:
        for fd in passed:
            os.close(fd)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@contextmanager
def acceptor(treat: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does one thing to each client; the port."""
    listening = socket.create_server((HOST, 0), backlog=1024)

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                try:
                    if connection.getpeername()[0] == HOST:
                        return
                    treat(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=accept)
    thread.start()
    address: tuple[str, int] = listening.getsockname()
    try:
        yield address[1]
    finally:
        socket.create_connection(address, HANG_SECONDS).close()
        thread.join()
        listening.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def hang_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def greet_as_generation_one(connection: socket.socket) -> None:
    connection.sendall(b"generation 1 process 1\n")
    connection.recv(1)


def wait_all(storm: StormClient, count: int) -> None:
    wait_until(lambda: storm.answered + storm.lost >= count, what="the storm's end")


@pytest.mark.parametrize(
    ("treat", "reason"), [(reset, "ECONNRESET"), (hang_up, "EOF before an answer")]
)
def test_the_storm_counts_every_connection_that_is_cut(
    tmp_path: Path, treat: Callable[[socket.socket], None], reason: str
) -> None:
    with acceptor(treat) as port, StormClient(tmp_path, HOST, port, limit=100) as storm:
        wait_all(storm, 100)

        verdict = judge(storm.finish())

        assert verdict.lost == 100
        assert [step for step in verdict.reasons if reason not in step] == []


def test_the_storm_counts_refused_connections(tmp_path: Path) -> None:
    with StormClient(tmp_path, HOST, free_port(), limit=100) as storm:
        wait_all(storm, 100)

        assert judge(storm.finish()).reasons == {"connect: ECONNREFUSED": 100}


def test_the_storm_counts_connections_that_nobody_accepts(tmp_path: Path) -> None:
    with (
        socket.create_server((HOST, 0), backlog=1024) as listening,
        StormClient(tmp_path, HOST, listening.getsockname()[1], limit=50, timeout=0.3) as storm,
    ):
        wait_all(storm, 50)

        assert judge(storm.finish()).reasons == {"answer: timeout": 50}


def test_the_storm_sees_an_older_generation(tmp_path: Path) -> None:
    with (
        acceptor(greet_as_generation_one) as port,
        StormClient(tmp_path, HOST, port, limit=50) as storm,
    ):
        wait_all(storm, 50)
        verdict = judge(storm.finish(), [Cutover(0.0, 2, 0.0)])

        assert (verdict.lost, verdict.misrouted) == (0, 50)


def test_websocket_visitors_are_answered(tmp_path: Path) -> None:
    port = free_port()
    with (
        HeldSockets({"ws": (HOST, port)}, slots=1) as sockets,
        worker(sockets, 7) as process,
        StormClient(tmp_path, HOST, port, limit=50, rate=100, websocket=True) as storm,
    ):
        wait_all(storm, 50)
        notes = storm.finish()

        assert {(note.generation, note.pid, note.error) for note in notes} == {(7, process.pid, "")}


def test_held_clients_count_those_whose_worker_was_killed(tmp_path: Path) -> None:
    port = free_port()
    with (
        HeldSockets({"ws": (HOST, port)}, slots=1) as sockets,
        worker(sockets, 1) as process,
        HeldClient(tmp_path, HOST, port, 20, interval=0.2) as held,
    ):
        held.wait_open()
        send(process.pid, signal.SIGKILL)
        wait_until(lambda: held.bad == 20, what="twenty broken clients")
        verdict = held.finish()

        assert len(verdict.broken) == 20
        assert {broken.pid for broken in verdict.broken} == {process.pid}


def test_held_clients_count_a_worker_that_went_silent(tmp_path: Path) -> None:
    port = free_port()
    with (
        HeldSockets({"ws": (HOST, port)}, slots=1) as sockets,
        worker(sockets, 1) as process,
        HeldClient(tmp_path, HOST, port, 20, interval=0.2, patience=1.0) as held,
    ):
        held.wait_open()
        send(process.pid, signal.SIGSTOP)
        verdict = held.finish()

        assert len(verdict.broken) == 20
        assert all("no echo" in broken.reason for broken in verdict.broken)


def test_held_clients_hear_their_own_words_and_count_wrong_ones(tmp_path: Path) -> None:
    def garble(connection: ServerConnection) -> None:
        connection.send("generation 1 process 1")
        for message in connection:
            connection.send(f"{message!s}?")

    with serve(garble, HOST, 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        with HeldClient(tmp_path, HOST, port, 5, interval=0.1, patience=1.0) as held:
            held.wait_open()
            wait_until(lambda: held.bad >= 5, what="five wrong echoes")
            verdict = held.finish()
        server.shutdown()
        thread.join()

        assert verdict.wrong == 5


def test_held_clients_of_a_good_server_count_nothing(tmp_path: Path) -> None:
    port = free_port()
    with (
        HeldSockets({"ws": (HOST, port)}, slots=1) as sockets,
        worker(sockets, 3) as process,
        HeldClient(tmp_path, HOST, port, 30, interval=0.2) as held,
    ):
        held.wait_open()
        wait_until(lambda: held.echoes >= 100, what="echoes")
        verdict = held.finish()

        assert (verdict.broken, verdict.wrong) == ((), 0)
        assert verdict.by_worker == {(3, process.pid): 30}
