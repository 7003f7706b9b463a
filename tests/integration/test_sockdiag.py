"""What inet_diag says of real sockets."""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.harness.settings import free_port
from wssupervisor.runtime.kernel.inet_diag import (
    HELD,
    TcpState,
    pending_handshakes,
    server_side,
    sockets,
)

SO_ATTACH_FILTER = 26
IP_BIND_ADDRESS_NO_PORT = 24
LISTEN = frozenset({TcpState.LISTEN})
DROP_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)

Case = tuple[int, str, str, str]
"""Family, bound host, host connected to, and that host as the kernel shows it."""
CASES: list[Case] = [
    (socket.AF_INET, "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    (socket.AF_INET6, "::1", "::1", "::1"),
    (socket.AF_INET6, "::", "127.0.0.1", "::ffff:127.0.0.1"),
]


@pytest.fixture(params=CASES, ids=["ipv4", "ipv6", "dual"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def server(case: Case) -> Iterator[socket.socket]:
    family, bound, _, _ = case
    dual = bound == "::"
    # Not an ephemeral port: another program's client may have that on another address.
    address = (bound, free_port())
    with socket.create_server(address, family=family, dualstack_ipv6=dual) as sock:
        yield sock


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def test_a_queued_connection_has_no_inode_and_an_accepted_one_has(
    case: Case, server: socket.socket
) -> None:
    family, _, host, shown = case
    local = (shown, port_of(server))
    with socket.create_connection((host, local[1])) as client:
        remote = (shown, port_of(client))
        queued = server_side(family, local, remote)
        connection, _ = server.accept()
        with connection:
            accepted = server_side(family, local, remote)

            assert queued is not None
            assert 0 == queued.inode
            assert accepted is not None
            assert os.fstat(connection.fileno()).st_ino == accepted.inode
            assert [accepted.inode] == [one.inode for one in sockets(family, local[1], HELD)]


def connected(target: tuple[str, int], port: int) -> socket.socket:
    """A client with this port of its own, which another one may have had a moment ago."""
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    client = socket.socket(family)
    try:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((target[0], port))
        client.connect(target)
    except OSError:
        client.close()
        raise
    return client


def test_a_cookie_stays_with_one_connection_and_the_next_at_its_addresses_has_another(
    case: Case, server: socket.socket
) -> None:
    family, _, host, shown = case
    local, found = (shown, port_of(server)), []
    with connected((host, local[1]), 0) as client:
        remote = (shown, port_of(client))
        found.append(server_side(family, local, remote))
        connection, _ = server.accept()
        found.append(server_side(family, local, remote))
        client.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
        found.append(server_side(family, local, remote))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    with connected((host, local[1]), remote[1]):
        later = server_side(family, local, remote)

    cookies = {one.cookie for one in found if one is not None}
    assert len(cookies) == 1
    assert later is not None
    assert later.cookie not in cookies


def test_a_half_closed_connection_is_still_there(case: Case, server: socket.socket) -> None:
    family, _, host, shown = case
    with socket.create_connection((host, port_of(server))) as client:
        connection, _ = server.accept()
        with connection:
            client.shutdown(socket.SHUT_WR)
            assert b"" == connection.recv(1)
            found = server_side(family, (shown, port_of(server)), (shown, port_of(client)))

            assert found is not None
            assert TcpState.CLOSE_WAIT == found.state


def test_only_the_asked_port_and_state_are_listed(case: Case, server: socket.socket) -> None:
    family, _, host, _ = case
    with socket.create_connection((host, port_of(server))):
        (listener,) = sockets(family, port_of(server), LISTEN)

        assert os.fstat(server.fileno()).st_ino == listener.inode
        assert 1 == listener.rqueue


def test_a_connection_that_nobody_made_is_not_found(case: Case, server: socket.socket) -> None:
    family, _, _, shown = case

    assert server_side(family, (shown, port_of(server)), (shown, 1)) is None


def test_a_handshake_under_way_is_seen_until_it_is_over(case: Case, server: socket.socket) -> None:
    family, _, host, shown = case
    client_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    filtered = ctypes.create_string_buffer(DROP_ALL, len(DROP_ALL))
    with socket.socket(client_family, socket.SOCK_STREAM) as client:
        # It hears no answer, so it never sends the third packet.
        drop_all = struct.pack("HP", 1, ctypes.addressof(filtered))
        client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, drop_all)
        client.setblocking(False)
        client.connect_ex((host, port_of(server)))
        pending = ((shown, port_of(server)), (shown, port_of(client)))

        assert {pending} == pending_handshakes(family, port_of(server))
        assert [] == sockets(family, port_of(server), HELD)


def test_ten_thousand_bytes_of_answer_are_read_whole(case: Case, server: socket.socket) -> None:
    family, _, host, _ = case
    clients = [socket.create_connection((host, port_of(server))) for _ in range(100)]
    try:
        found = sockets(family, port_of(server), HELD)
    finally:
        for client in clients:
            client.close()

    assert 100 == len({one.remote for one in found})


def test_a_mark_on_the_listening_socket_shows_on_what_came_through_it(
    case: Case, server: socket.socket
) -> None:
    family, _, host, shown = case
    seen = []
    for mark in (0, 1, 0):
        server.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, mark)
        with socket.create_connection((host, port_of(server))) as client:
            found = server_side(family, (shown, port_of(server)), (shown, port_of(client)))
        seen.append(found is not None and found.marked)

    assert [False, True, False] == seen


@pytest.mark.parametrize("v6only", [False, True])
def test_a_listener_says_whether_it_is_for_ipv6_only(v6only: bool) -> None:
    with socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=not v6only
    ) as server:
        (listener,) = sockets(socket.AF_INET6, port_of(server), LISTEN)

        assert v6only == listener.v6only
