"""A worker that lets its listening socket go: it accepts nothing more, and does nothing for it."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.census import cpu_seconds
from tests.harness.daemon import environment

CLIENTS = 5
LOOKS, LOOK_SECONDS = 10, 0.1
CPU_SECONDS = 0.1
"""Of the worker in all of them: one that spins takes all that it gets."""

WORKER = """
import asyncio, socket, sys
from wssupervisor.worker import release_sockets

async def echo(reader, writer):
    while data := await reader.read(100):
        if data == b"let go":
            release_sockets([listening])
            data = b"gone"
        writer.write(data)
    writer.close()

async def main():
    server = await asyncio.start_server(echo, sock=listening)
    await server.serve_forever()

listening = socket.socket(fileno=int(sys.argv[2]))
if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return str(request.param)


@contextlib.contextmanager
def worker(loop: str, listening: socket.socket) -> Iterator[int]:
    descriptor = listening.fileno()
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, loop, str(descriptor)],
        env=environment(),
        pass_fds=[descriptor],
    ) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def exchange(client: socket.socket, said: bytes) -> bytes:
    client.sendall(said)
    return client.recv(100)


def test_clients_that_come_later_are_left_to_others_and_cost_nothing(loop: str) -> None:
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listening.setblocking(False)
        pid = stack.enter_context(worker(loop, listening))
        where = listening.getsockname()
        first = stack.enter_context(socket.create_connection(where, HANG_SECONDS))
        assert exchange(first, b"hello") == b"hello"
        assert exchange(first, b"let go") == b"gone"

        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(where, HANG_SECONDS))
        before = cpu_seconds(pid)
        # Between two of its turns there is time in which only one that spins would run.
        for _ in range(LOOKS):
            time.sleep(LOOK_SECONDS)
            assert exchange(first, b"x") == b"x"

        assert cpu_seconds(pid) - before < CPU_SECONDS
        for _ in range(CLIENTS):
            listening.accept()[0].close()
        with pytest.raises(BlockingIOError):
            listening.accept()
        assert exchange(first, b"still") == b"still"
