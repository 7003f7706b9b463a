"""Live connections, counted from the kernel, each for the worker whose tree holds it."""

import ctypes
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from tests.harness.written import Written
from wssupervisor.fleet.census_pace import IDLE_CENSUS_SECONDS
from wssupervisor.fleet.model import WorkerId
from wssupervisor.runtime.kernel.inet_diag import pending_handshakes
from wssupervisor.runtime.listeners import handshakes as handshakes_module
from wssupervisor.runtime.listeners.steering import Steering
from wssupervisor.runtime.listeners.tcp_pool import TcpPool, bind_pool
from wssupervisor.runtime.observe import census
from wssupervisor.runtime.workers.process import Process

BEFORE_THE_NEXT_CENSUS = IDLE_CENSUS_SECONDS / 2
FLOOD = handshakes_module.HANDSHAKES_MAX + 200
SO_ATTACH_FILTER = 26
WORKER = WorkerId(1, 0, 1)

SERVER = """
import os, signal, socket, sys
listening = socket.socket(fileno=3)
listening.setblocking(True)
database = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
held = []
if sys.argv[2] == "fork" and os.fork():
    signal.pause()
while True:
    held.append(listening.accept()[0])
    print("accepted", flush=True)
"""


@pytest.fixture
def pool() -> Iterator[TcpPool]:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    found = bind_pool("ws", socket.AF_INET, "127.0.0.1", port, count=3, backlog=100)
    yield found
    found.close()


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_the_workers_clients_are_counted_and_nothing_else(
    pool: TcpPool, tmp_path: Path, how: str
) -> None:
    steering = Steering(pool)
    steering.measure()
    slot = pool.slots[0]
    steering.attach({slot.inode: 1})
    (tmp_path / "server.py").write_text(SERVER)
    with ExitStack() as stack:
        output = Written()
        stack.callback(output.close)
        database = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        process = Process.spawn(
            [sys.executable, "server.py", str(database.getsockname()[1]), how],
            str(tmp_path),
            {"PATH": os.environ["PATH"]},
            [slot.socket.fileno()],
            output.descriptor,
        )
        try:
            clients = [socket.create_connection((pool.host, pool.port)) for _ in range(7)]
            for client in clients:
                stack.enter_context(client)
            lines: list[str] = []

            def all_accepted() -> bool:
                lines.extend(output.poll())
                return len(lines) == len(clients)

            wait_until(all_accepted, what="seven accepted connections")
            clients[0].shutdown(socket.SHUT_WR)  # the server's end is in CLOSE_WAIT now
            found = census.take([pool], {WORKER: process})

            assert found.by_worker == {WORKER: 7}
            assert found.listening[WORKER] == {slot.inode}
            assert found.unattributed == 0
            assert census.take([pool], {}).unattributed == 7

            more = [socket.create_connection((pool.host, pool.port)) for _ in range(3)]
            for client in more:
                stack.enter_context(client)
            clients += more
            wait_until(all_accepted, what="three more")

            assert census.may_have_changed(found, {WORKER: process})
        finally:
            process.kill()
            wait_until(lambda: process.reap() is not None, what="the end")
            wait_until(lambda: not process.members(), what="the tree's end")
            process.close()


def test_clients_in_a_queue_are_nobodys_connections(pool: TcpPool) -> None:
    Steering(pool).measure()
    wait_until(lambda: census.take([pool], {}).unattributed == 0, what="the end of the probe")
    with socket.create_connection((pool.host, pool.port)):
        found = census.take([pool], {})

    assert found.unattributed == 0


def test_handshakes_are_over_when_those_recorded_have_gone(pool: TcpPool) -> None:
    handshakes = handshakes_module.Handshakes([pool])

    assert handshakes.over() == 0

    handshakes.record(1)

    assert handshakes.over() == 1


def test_a_flood_of_handshakes_costs_no_more_than_some(pool: TcpPool) -> None:
    """None of these clients hears an answer, so that all of their handshakes stay pending."""
    drop_all = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    for slot in pool.slots:
        slot.listen(FLOOD)
    with ExitStack() as stack:
        for _ in range(FLOOD):
            client = stack.enter_context(socket.socket())
            filtered = struct.pack("HP", 1, ctypes.addressof(drop_all))
            client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filtered)
            client.setblocking(False)
            client.connect_ex((pool.host, pool.port))
        pending = len(pending_handshakes(pool.family, pool.port))
        handshakes = handshakes_module.Handshakes([pool])
        handshakes.record(1)
        saved = handshakes.save()
    print(f"{pending} pending")

    assert pending > handshakes_module.HANDSHAKES_MAX
    assert handshakes.over() == 0
    assert saved.pending == {}
    assert 60 < saved.until[1] - time.monotonic() < 260
    assert len(pending_handshakes(pool.family, pool.port, 10)) in range(12)


def test_a_drain_ends_soon_though_nobody_asks_for_the_status(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        daemon.reload()

        wait_until(
            lambda: "generation-retired" in daemon.ctl("events", "--json").out,
            within=BEFORE_THE_NEXT_CENSUS,
            what="the end of a drain without connections",
            every=0.5,
        )
