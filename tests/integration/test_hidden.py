"""Workers that may not be inspected: of another user or not dumpable, where rights are few."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import HANGS_UP, Daemon
from tests.harness.privilege import needs_root
from tests.harness.settings import Settings

ENOUGH_COUNTS = 3
WITHOUT = (*HANGS_UP, "setpriv", "--bounding-set=-sys_ptrace")
"""As root in a unit whose CapabilityBoundingSet= lacks it."""
SERVES = """
import asyncio, ctypes, os, socket, sys
async def served(reader, writer):
    writer.write(b"generation " + os.environ["WSSUPERVISOR_GENERATION"].encode())
    await reader.read()
    writer.close()
async def main():
    {hide}
    server = await asyncio.start_server(served, sock=socket.socket(fileno=3), backlog=100)
    asyncio.get_running_loop().add_signal_handler(15, os._exit, 0)
    await server.serve_forever()
asyncio.run(main())
"""
HIDES = {
    "another user": "os.setgid(65534); os.setuid(65534)",
    "not dumpable": "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)",
}


@pytest.fixture(params=HIDES)
def own(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    path = settings.releases.root / "server.py"
    path.write_text(SERVES.format(hide=HIDES[request.param]))
    settings.releases.root.chmod(0o755)
    command = (sys.executable, str(path))
    return replace(settings, workers=1, listeners=("ws",), ready_timeout="5s", command=command)


@pytest.fixture
def daemon(own: Settings) -> Iterator[Daemon]:
    with Daemon(own, wrapper=WITHOUT, options=["--log-level", "debug"]) as found:
        yield found.start()


def connected(stack: ExitStack, daemon: Daemon, generation: int) -> socket.socket:
    client = stack.enter_context(
        socket.create_connection(daemon.settings.target("ws"), HANG_SECONDS)
    )
    assert client.recv(100) == f"generation {generation}".encode()
    return client


def counts(daemon: Daemon, *expected: tuple[int, int]) -> None:
    daemon.wait_for(
        lambda status: (
            [(one["number"], one["connections"]) for one in status["generations"]] == list(expected)
        ),
        what=f"connections {expected}",
    )


@needs_root
def test_a_worker_that_cannot_be_looked_into_is_ready_and_said_to_be_hidden(daemon: Daemon) -> None:
    before = daemon.active_pids()
    daemon.ctl("status")  # takes a census
    daemon.wait_for(lambda _: "cannot inspect a worker" in daemon.log(), what="the warning")
    for _ in range(4):
        daemon.ctl("status")

    assert daemon.active_pids() == before
    assert "it closed its listening socket" not in daemon.log()
    assert 1 == daemon.log().count("cannot inspect a worker")
    assert "CapabilityBoundingSet=" in daemon.log()


@needs_root
def test_a_drain_of_a_hidden_worker_ends_with_its_connections(daemon: Daemon) -> None:
    with ExitStack() as stack:
        olds = [connected(stack, daemon, 1) for _ in range(3)]
        counts(daemon, (1, 3))
        daemon.reload()
        # What is there at the first count after the cutover may be the old worker's.
        daemon.wait_for(
            lambda _: daemon.log().rpartition("drain begun")[2].count("] census") >= ENOUGH_COUNTS,
            what="counts",
        )
        counts(daemon, (2, 0), (1, 3))
        connected(stack, daemon, 2)
        counts(daemon, (2, 1), (1, 3))
        assert "may not inspect pid" in daemon.ctl("why", "1").out
        for old in olds:
            old.close()
        daemon.wait_for(
            lambda status: [one["number"] for one in status["generations"]] == [2],
            what="the end of the drain beside a connection of the new generation",
        )
        counts(daemon, (2, 1))
    assert daemon.stop() == 0
    assert daemon.leftovers() == []
