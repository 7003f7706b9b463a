"""What unix_diag says of real AF_UNIX sockets: which connections came through which listener."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from wssupervisor.runtime.kernel import unix_diag
from wssupervisor.runtime.listeners.unix_pool import UnixPool


def inode_of(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, short_directory: Path) -> str:
    if request.param == "path":
        return str(short_directory / "ws.sock")
    return f"\0wssupervisor-test-{os.getpid()}-{short_directory.name}"


@pytest.fixture
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(address)
        sock.listen()
        yield sock


def test_connections_are_those_that_came_through_the_listener_and_no_others(
    address: str, listening: socket.socket
) -> None:
    pool = UnixPool("ws", listening, address, lock=None)
    with ExitStack() as stack:
        for one in socket.socketpair():
            stack.enter_context(one)  # unbound, and established
        unbound = stack.enter_context(socket.socket(socket.AF_UNIX))
        unbound.connect(address)
        accepted, _ = listening.accept()
        stack.enter_context(accepted)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(address)  # that waits
        found = pool.connections()

        assert found.held == {inode_of(accepted)}
        assert found.peer_left == frozenset()
        assert unix_diag.connections(unix_diag.UNBOUND) == []

        unbound.close()

        assert pool.connections().held == {inode_of(accepted)}
        assert pool.connections().peer_left == {inode_of(accepted)}


def test_a_client_that_only_sends_no_more_has_not_left(
    address: str, listening: socket.socket
) -> None:
    pool = UnixPool("ws", listening, address, lock=None)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
        with listening.accept()[0]:
            client.shutdown(socket.SHUT_WR)

            assert len(pool.connections().held) == 1
            assert pool.connections().peer_left == frozenset()
