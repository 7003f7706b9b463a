"""Slots bound by ourselves and slots handed over, and what is refused."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from wssupervisor.config.model import Mode
from wssupervisor.errors import AddressTaken, ListenFailed, SteeringRefused
from wssupervisor.runtime.kernel.procfs import start_time
from wssupervisor.runtime.listeners.holders import holders, leftovers
from wssupervisor.runtime.listeners.tcp_pool import TcpPool, adopt, bind_pool

V4, V6 = socket.AF_INET, socket.AF_INET6
ADDRESSES = [(V4, "127.0.0.1"), (V4, "0.0.0.0"), (V6, "::1"), (V6, "::")]


def bound(
    family: int = V4, host: str = "127.0.0.1", port: int = 0, *, count: int = 4
) -> closing[TcpPool]:
    return closing(bind_pool("ws", family, host, port, count=count, backlog=64))


@pytest.fixture
def held() -> Iterator[Callable[..., list[socket.socket]]]:
    """Makes listening sockets as systemd would; closes them after the test."""
    with ExitStack() as stack:

        def make(count: int, port: int = 0, **options: bool) -> list[socket.socket]:
            made: list[socket.socket] = []
            for _ in range(count):
                sock = stack.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if options.get("reuse_port", True):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind(("127.0.0.1", port if not made else made[0].getsockname()[1]))
                if options.get("defer", False):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
                if options.get("listen", True):
                    sock.listen(64)
                made.append(sock)
            return made

        yield make


def dups(sockets: list[socket.socket]) -> list[int]:
    return [os.dup(sock.fileno()) for sock in sockets]


@pytest.mark.parametrize(("family", "host"), ADDRESSES)
def test_a_pool_bound_by_ourselves_listens_on_every_slot(family: int, host: str) -> None:
    with bound(family, host, count=5) as pool:
        pool.check_alone()

        assert 5 == len({slot.inode for slot in pool.slots})
        assert all(slot.listening() for slot in pool.slots)
        assert [0] * 5 == [slot.queued() for slot in pool.slots]
        assert not any(slot.socket.get_inheritable() for slot in pool.slots)
        assert not any(os.get_blocking(slot.socket.fileno()) for slot in pool.slots)


def test_a_dual_stack_pool_takes_clients_of_both_kinds() -> None:
    with bound(V6, "::") as pool:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, pool.port)).close()

        assert 2 == sum(slot.queued() for slot in pool.slots)


def test_a_slot_shut_down_is_not_brought_back_by_setting_its_limit() -> None:
    with bound() as pool:
        pool.slots[1].socket.shutdown(socket.SHUT_RDWR)
        pool.slots[1].listen(16)

        assert not pool.slots[1].listening()
        assert 0 == pool.slots[1].queued()


@pytest.mark.parametrize(("family", "host"), ADDRESSES)
def test_an_address_that_another_group_has_is_refused_and_its_clients_notice_nothing(
    family: int, host: str
) -> None:
    with bound(family, host) as first:
        with pytest.raises(AddressTaken) as caught:
            bound(family, host, first.port)
        for _ in range(40):
            socket.create_connection((first.reachable_host, first.port)).close()

        assert f"pid {os.getpid()}" in str(caught.value)
        assert {slot.inode for slot in first.slots} == caught.value.inodes
        assert 40 == sum(slot.queued() for slot in first.slots)


@pytest.mark.parametrize(
    ("own", "foreign"),
    [
        ((V4, "0.0.0.0"), (V6, "::")),
        ((V6, "::"), (V4, "0.0.0.0")),
        ((V6, "::"), (V4, "127.0.0.1")),
        ((V4, "127.0.0.1"), (V4, "0.0.0.0")),
    ],
)
def test_an_owner_of_an_overlapping_address_is_named(
    own: tuple[int, str], foreign: tuple[int, str]
) -> None:
    with bound(*foreign) as other, pytest.raises(AddressTaken) as caught:
        bound(*own, other.port)

    assert {slot.inode for slot in other.slots} == caught.value.inodes


@pytest.mark.parametrize(("family", "host"), ADDRESSES)
def test_somebody_who_joined_the_group_is_found_before_anything_is_steered(
    family: int, host: str
) -> None:
    with (
        bound(family, host) as pool,
        socket.create_server(
            (host, pool.port), family=family, reuse_port=True, dualstack_ipv6=host == "::"
        ) as stranger,
        pytest.raises(AddressTaken) as caught,
    ):
        pool.check_alone()

    with pytest.raises(OSError, match="Bad file"):
        os.fstat(stranger.fileno())
    assert 1 == len(caught.value.inodes)


def test_somebody_who_takes_only_the_ipv4_clients_of_a_dual_stack_pool_is_found() -> None:
    with (
        bound(V6, "::") as pool,
        socket.create_server(("0.0.0.0", pool.port), reuse_port=True),
        pytest.raises(AddressTaken),
    ):
        pool.check_alone()


def test_a_listener_for_ipv6_only_is_no_stranger_to_an_ipv4_pool() -> None:
    with (
        bound(V4, "0.0.0.0") as pool,
        socket.create_server(("::", pool.port), family=V6, reuse_port=True),
    ):
        pool.check_alone()


def test_a_port_that_an_outgoing_connection_has_is_said_to_be_just_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        with pytest.raises(AddressTaken, match="no process listens there"):
            bound(port=client.getsockname()[1])


def test_an_address_of_another_machine_is_refused_with_the_reason() -> None:
    with pytest.raises(ListenFailed, match="No interface of this machine"):
        bound(V4, "192.0.2.1")


def test_backlog_before_start_is_kept(held: Callable[..., list[socket.socket]]) -> None:
    made = held(3)
    clients = [socket.create_connection(made[0].getsockname()) for _ in range(20)]
    try:
        with closing(adopt("ws", dups(made))) as pool:
            pool.check_alone()

            assert "systemd" == pool.source
            assert made[0].getsockname() == (pool.host, pool.port)
            assert [os.fstat(sock.fileno()).st_ino for sock in made] == [
                slot.inode for slot in pool.slots
            ]
            assert 20 == sum(slot.queued() for slot in pool.slots)
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"listen": False}, ListenFailed, "does not listen"),
    ],
)
def test_a_socket_that_cannot_be_a_slot_is_refused_with_the_option_to_change(
    held: Callable[..., list[socket.socket]],
    options: dict[str, bool],
    error: type[Exception],
    says: str,
) -> None:
    made = held(1, **options)

    with pytest.raises(error, match=says):
        adopt("ws", dups(made))


def test_a_socket_without_so_reuseport_is_shared_or_refused_where_it_shall_be_steered(
    held: Callable[..., list[socket.socket]],
) -> None:
    made = held(1, reuse_port=False)
    pool = adopt("ws", dups(made))
    try:
        assert pool.why_shared is not None
        assert "ReusePort=yes" in pool.why_shared
    finally:
        pool.close()
    with pytest.raises(SteeringRefused, match="ReusePort=yes"):
        adopt("ws", dups(made), Mode.STEERED)


def test_too_few_slots_are_refused(held: Callable[..., list[socket.socket]]) -> None:
    with pytest.raises(ListenFailed, match="Repeat its ListenStream= line"):
        adopt("ws", dups(held(2)))


def test_one_name_for_several_addresses_is_refused(
    held: Callable[..., list[socket.socket]],
) -> None:
    with pytest.raises(ListenFailed, match="one name to several addresses"):
        adopt("ws", dups(held(2) + held(2)))


def test_what_is_no_tcp_socket_is_refused_and_every_descriptor_is_closed(
    held: Callable[..., list[socket.socket]],
) -> None:
    reader, writer = os.pipe()
    given = [*dups(held(2)), reader, writer]

    with pytest.raises(ListenFailed, match="not a socket"):
        adopt("ws", given)

    for descriptor in given:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(descriptor)


def test_a_datagram_socket_is_refused() -> None:
    says = pytest.raises(ListenFailed, match="neither a TCP nor")
    with socket.socket(type=socket.SOCK_DGRAM) as sock, says:
        adopt("ws", dups([sock]))


HOLD = "import sys; print('holding', flush=True); sys.stdin.read()"


@pytest.fixture
def worker() -> Iterator[Callable[[TcpPool, str], subprocess.Popen[str]]]:
    """Starts a process of an instance "chat" that holds the pool's first slot."""
    with ExitStack() as stack:

        def start(pool: TcpPool, supervisor: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLD],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    pass_fds=[pool.slots[0].socket.fileno()],
                    env={
                        "WSSUPERVISOR_INSTANCE": "chat",
                        "WSSUPERVISOR_SUPERVISOR": supervisor,
                    },
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert "holding\n" == process.stdout.readline()
            return process

        yield start


def test_a_worker_of_a_dead_supervisor_is_a_leftover_of_its_own_instance_only(
    worker: Callable[[TcpPool, str], subprocess.Popen[str]],
) -> None:
    with subprocess.Popen(["true"]) as dead:
        started = start_time(dead.pid)
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        with bound() as pool:
            inodes = [pool.slots[0].inode]
            process = worker(pool, f"{dead.pid}:{started}")
            pool.close()

            assert [process.pid] == [one.pid for one in holders(inodes)]
            assert [process.pid] == leftovers(inodes, "chat")
            assert [] == leftovers(inodes, "shop")


def test_a_worker_of_a_live_supervisor_is_no_leftover(
    worker: Callable[[TcpPool, str], subprocess.Popen[str]],
) -> None:
    with bound() as pool:
        inodes = [pool.slots[0].inode]
        worker(pool, f"{os.getpid()}:{start_time(os.getpid())}")
        pool.close()

        assert [] == leftovers(inodes, "chat")
        with pytest.raises(AddressTaken, match="instance 'chat' of wssupervisor"):
            bound(port=pool.port)
