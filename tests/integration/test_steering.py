"""Steering of real connections: the order is found, cutover is one attach, and shutdowns heal."""

import itertools
import os
import selectors
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from wssupervisor.errors import SteeringRefused, Unreachable
from wssupervisor.fleet.model import SlotId
from wssupervisor.runtime.listeners.own_connections import FEW, OwnConnections
from wssupervisor.runtime.listeners.probe_socket import probe_socket
from wssupervisor.runtime.listeners.steering import Steering
from wssupervisor.runtime.listeners.tcp_pool import TcpPool, adopt, bind_pool

IP_FREEBIND = 15

V4, V6 = socket.AF_INET, socket.AF_INET6
ADDRESSES = [(V4, "127.0.0.1"), (V4, "0.0.0.0"), (V6, "::1"), (V6, "::")]
IDS = ["ipv4", "ipv4-any", "ipv6", "dual"]
CONNECT_SECONDS = 5.0
BACKLOG = 1024


def bound(
    family: int = V4, host: str = "127.0.0.1", *, count: int = 8, backlog: int = BACKLOG
) -> closing[TcpPool]:
    return closing(bind_pool("ws", family, host, 0, count=count, backlog=backlog))


def inodes(pool: TcpPool) -> list[SlotId]:
    return [slot.inode for slot in pool.slots]


def connect(pool: TcpPool, host: str | None = None) -> socket.socket:
    return socket.create_connection((host or pool.reachable_host, pool.port), CONNECT_SECONDS)


def arrivals(pool: TcpPool, connections: int, host: str | None = None) -> dict[SlotId, int]:
    """Where `count` connections arrive: by slot, those with none left out."""
    before = {slot.inode: slot.queued() for slot in pool.slots}
    with ExitStack() as stack:
        for _ in range(connections):
            stack.enter_context(connect(pool, host))
        # The last packet of a handshake may be under way still when its client is connected.
        while sum(slot.queued() for slot in pool.slots) < sum(before.values()) + connections:
            pass
        grown = {slot.inode: slot.queued() - before[slot.inode] for slot in pool.slots}
    return {inode: more for inode, more in grown.items() if more}


def assert_order_is_right(steering: Steering) -> None:
    """Each slot, steered to alone, gets everything."""
    for inode in steering.order:
        steering.attach({inode: 1})

        assert {inode: 2} == arrivals(steering.pool, 2)


@contextmanager
def traffic(pool: TcpPool, clients: int = 2) -> Iterator[None]:
    """Ordinary clients that connect and leave as fast as they can."""
    over = threading.Event()
    failed: list[OSError] = []

    def run() -> None:
        while not over.is_set():
            try:
                connect(pool).close()
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert [] == failed


@contextmanager
def acceptor(pool: TcpPool, slots: list[SlotId]) -> Iterator[Counter[SlotId]]:
    """Workers of these slots, played by one thread that accepts and closes; counts by slot."""
    count: Counter[SlotId] = Counter()
    over_reader, over_writer = os.pipe()

    def run() -> None:
        while True:
            for key, _ in selector.select():
                if key.fd == over_reader:
                    return
                try:
                    connection, _ = pool.by_inode(key.data).socket.accept()
                except BlockingIOError:
                    continue
                count[key.data] += 1
                connection.close()

    with selectors.DefaultSelector() as selector:
        selector.register(over_reader, selectors.EVENT_READ)
        for inode in slots:
            selector.register(pool.by_inode(inode).socket, selectors.EVENT_READ, inode)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield count
        finally:
            os.write(over_writer, b"x")
            thread.join()
            os.close(over_reader)
            os.close(over_writer)


SHUT_DOWN = """
import socket, sys
for number in map(int, sys.argv[1:]):
    socket.socket(fileno=number).shutdown(socket.SHUT_RDWR)
"""


def shut_down_by_a_child(pool: TcpPool, slots: list[SlotId]) -> None:
    numbers = [pool.by_inode(inode).socket.fileno() for inode in slots]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SHUT_DOWN, *map(str, numbers)],
        pass_fds=numbers,
        check=True,
    )


# -- order --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "host"), ADDRESSES, ids=IDS)
def test_the_order_is_found_and_no_probe_is_left_in_any_queue(family: int, host: str) -> None:
    with bound(family, host, count=22) as pool:
        steering = Steering(pool)

        assert inodes(pool) == steering.measure()
        assert {steering.order[-1]: 1} == steering.weights
        assert [0] * 22 == [slot.queued() for slot in pool.slots]


def test_the_order_is_found_although_the_descriptors_come_reversed() -> None:
    with bound() as pool:
        order = inodes(pool)
        reverse = [os.dup(slot.socket.fileno()) for slot in reversed(pool.slots)]
        with closing(adopt("ws", reverse)) as adopted:
            steering = Steering(adopted)

            assert order == steering.measure()
            assert_order_is_right(steering)


def test_the_order_is_found_among_ordinary_traffic() -> None:
    for _ in range(10):
        with bound(backlog=4096) as pool:
            order = inodes(pool)
            pool.slots.reverse()
            with traffic(pool):
                assert order == Steering(pool).measure()


def test_the_order_is_found_while_workers_of_before_still_accept() -> None:
    with bound() as pool:
        order = inodes(pool)
        pool.slots.reverse()
        with acceptor(pool, order[2:5]):
            assert order == Steering(pool).measure()


def test_the_backlog_of_before_the_start_is_kept_and_the_order_found() -> None:
    with bound() as pool, ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connect(pool))
        before = {slot.inode: slot.queued() for slot in pool.slots}
        steering = Steering(pool)
        steering.measure()
        after = {slot.inode: slot.queued() for slot in pool.slots}

        assert inodes(pool) == steering.order
        assert all(after[inode] >= before[inode] for inode in before)
        assert {inode for inode, waiting in after.items() if waiting} == {
            inode for inode, waiting in before.items() if waiting
        }


def test_a_slot_whose_queue_is_full_does_not_keep_us_from_starting() -> None:
    with bound(count=5, backlog=1) as pool, ExitStack() as stack:
        order = inodes(pool)
        steering = Steering(pool)
        for inode in order[1:3]:
            steering.attach({inode: 1})
            for _ in range(2):
                stack.enter_context(connect(pool))
            assert pool.by_inode(inode).full()
        pool.slots.reverse()

        assert order == Steering(pool).measure()


def test_slots_on_an_address_that_is_not_here_are_taken_in_the_order_in_which_they_came() -> None:
    with ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _ in range(3)]
        for sock in made:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            sock.bind(("192.0.2.1", made[0].getsockname()[1]))
            sock.listen(8)
        pool = adopt("ws", [os.dup(sock.fileno()) for sock in made])
        stack.callback(pool.close)
        with pytest.raises(Unreachable, match=r"cannot connect to 192\.0\.2\.1"):
            stack.enter_context(probe_socket(pool))

        assert [os.fstat(sock.fileno()).st_ino for sock in made] == Steering(pool).measure()


# -- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "host"), ADDRESSES, ids=IDS)
def test_after_one_attach_nothing_reaches_the_slots_of_before(family: int, host: str) -> None:
    with bound(family, host) as pool:
        steering = Steering(pool)
        a, b, c, d, *_ = steering.measure()
        for _ in range(20):
            steering.attach({a: 1, b: 1})

            assert arrivals(pool, 4).keys() <= {a, b}

            steering.attach({c: 1, d: 1})

            assert arrivals(pool, 4).keys() <= {c, d}


def test_a_dual_stack_pool_steers_clients_of_both_kinds() -> None:
    with bound(V6, "::") as pool:
        steering = Steering(pool)
        inode = steering.measure()[3]
        steering.attach({inode: 1})

        assert {inode: 20} == arrivals(pool, 20, "127.0.0.1")
        assert {inode: 20} == arrivals(pool, 20, "::1")


def test_connections_are_balanced_by_weight() -> None:
    with bound() as pool:
        steering = Steering(pool)
        a, b, c, *_ = steering.measure()
        steering.attach({a: 1, b: 1, c: 2})
        seen = arrivals(pool, 800)

        # More than six standard deviations off would have to happen.
        assert {a, b, c} == seen.keys()
        assert all(125 < seen[inode] < 275 for inode in (a, b))
        assert 310 < seen[c] < 490


def test_clients_notice_nothing_of_many_cutovers() -> None:
    with bound(backlog=4096) as pool:
        steering = Steering(pool)
        order = steering.measure()
        with acceptor(pool, order[:4]) as count, traffic(pool):
            sides = itertools.cycle([order[:2], order[2:4]])
            for _, side in zip(range(200), sides, strict=False):
                before = sum(count.values())
                steering.attach(dict.fromkeys(side, 1))
                while sum(count.values()) == before:
                    pass

        assert set(order[:4]) == count.keys()


# -- probes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "host"), ADDRESSES, ids=IDS)
def test_a_probe_reaches_its_slot_and_ordinary_clients_do_not(family: int, host: str) -> None:
    with bound(family, host) as pool:
        steering = Steering(pool)
        active, candidate, *_ = steering.measure()
        steering.attach({active: 1})
        with probe_socket(pool) as (client, source):
            with steering.probing(source, candidate):
                assert {active: 20} == arrivals(pool, 20)

                client.connect((pool.reachable_host, pool.port))
                connection, peer = pool.by_inode(candidate).socket.accept()
                connection.close()

                assert source == peer[:2]
                assert {active: 20} == arrivals(pool, 20)
            assert 0 == pool.by_inode(candidate).queued()


def test_probes_of_two_slots_do_not_disturb_each_other_nor_the_table() -> None:
    with bound() as pool:
        steering = Steering(pool)
        active, one, two, later, *_ = steering.measure()
        steering.attach({active: 1})
        with (
            probe_socket(pool) as (first, source_of_first),
            probe_socket(pool) as (second, source_of_second),
            steering.probing(source_of_first, one),
        ):
            with steering.probing(source_of_second, two):
                steering.attach({later: 1})
                second.connect((pool.reachable_host, pool.port))
            first.connect((pool.reachable_host, pool.port))

            assert {later: 5} == arrivals(pool, 5)
        assert [1, 1] == [pool.by_inode(inode).queued() for inode in (one, two)]
        assert {later: 1} == steering.weights


@pytest.mark.parametrize("strangers", [0, 1])
def test_probes_that_nobody_accepted_are_taken_back_only_where_nobody_else_waits(
    strangers: int,
) -> None:
    with bound() as pool, ExitStack() as stack:
        steering = Steering(pool)
        active, candidate, *_ = steering.measure()
        for _ in range(2):
            with probe_socket(pool) as (client, source), steering.probing(source, candidate):
                client.connect((pool.reachable_host, pool.port))
        with probe_socket(pool) as (_, source), steering.probing(source, candidate):
            pass  # never connected
        steering.attach({candidate: 1})
        for _ in range(strangers):
            stack.enter_context(connect(pool))
        steering.attach({active: 1})
        steering.take_back({candidate})

        assert (3 if strangers else 0) == pool.by_inode(candidate).queued()


def test_a_client_that_took_a_lost_probes_place_is_not_taken_for_it() -> None:
    with bound() as pool:
        steering = Steering(pool)
        active, candidate, *_ = steering.measure()
        with probe_socket(pool) as (_, source), steering.probing(source, candidate):
            pass  # never connected
        steering.attach({candidate: 1})
        with connect(pool):
            steering.attach({active: 1})
            steering.take_back({candidate})

            assert 1 == pool.by_inode(candidate).queued()


def test_a_connection_of_ours_is_no_client_until_it_ends_and_the_next_at_its_address_is_one() -> (
    None
):
    with bound() as pool, ExitStack() as stack:
        steering = Steering(pool)
        slot, *_ = steering.measure()
        with probe_socket(pool) as (client, source), steering.probing(source, slot):
            client.connect((pool.reachable_host, pool.port))
        kept, _ = pool.by_inode(slot).socket.accept()
        stack.callback(kept.close)
        while_kept = pool.connections().held
        restored = OwnConnections(lambda: pool.reach, pool.own.save())
        restored.forget_ended()
        remembered = source in restored.save().values()
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        kept.close()
        again = stack.enter_context(socket.socket(pool.family))
        again.bind(source)
        steering.attach({slot: 1})
        again.connect((pool.reachable_host, pool.port))
        accepted, _ = pool.by_inode(slot).socket.accept()
        stack.callback(accepted.close)

        assert while_kept == frozenset()
        assert remembered
        assert pool.connections().held == {os.fstat(accepted.fileno()).st_ino}
        restored.forget_ended()
        assert source not in restored.save().values()


def test_own_connections_that_have_ended_are_forgotten() -> None:
    with bound() as pool:
        steering = Steering(pool)
        slot, *_ = steering.measure()
        most = 0
        for _ in range(4 * FEW):
            with probe_socket(pool) as (client, source), steering.probing(source, slot):
                client.connect((pool.reachable_host, pool.port))
                accepted, _ = pool.by_inode(slot).socket.accept()
                accepted.close()
            most = max(most, len(pool.own.save()))

        assert 0 < most <= 2 * FEW


# -- a slot that was shut down --------------------------------------------------------------------


@pytest.mark.parametrize("at", range(5))
def test_a_slot_shut_down_by_a_worker_listens_again_and_steering_is_right(at: int) -> None:
    with bound(count=5) as pool:
        steering = Steering(pool)
        order = steering.measure()
        shut_down_by_a_child(pool, [order[at]])

        assert steering.recover(BACKLOG)
        assert not steering.recover(BACKLOG)
        assert sorted(order) == sorted(steering.order)
        assert all(slot.listening() for slot in pool.slots)
        assert_order_is_right(steering)


@pytest.mark.parametrize(
    "gone", [*itertools.permutations(range(5), 2), (0, 1, 2), (2, 1, 0), (0, 4, 1), (3, 2, 1, 0)]
)
def test_several_slots_shut_down_in_any_order_are_told_apart_again(gone: tuple[int, ...]) -> None:
    with bound(count=7) as pool:
        steering = Steering(pool)
        order = steering.measure()
        active = order[5]
        steering.attach({active: 1})
        for at in gone:
            pool.by_inode(order[at]).socket.shutdown(socket.SHUT_RDWR)

        assert steering.recover(BACKLOG)
        assert {active: 5} == arrivals(pool, 5)
        assert_order_is_right(steering)


def test_no_probe_is_left_in_a_queue_that_nobody_serves() -> None:
    with bound(count=7) as pool:
        steering = Steering(pool)
        order = steering.measure()
        steering.attach({order[0]: 1})
        for at in (1, 2, 3):
            pool.by_inode(order[at]).socket.shutdown(socket.SHUT_RDWR)
        steering.recover(BACKLOG)

        assert [0] * 6 == [slot.queued() for slot in pool.slots if slot.inode != order[0]]


def test_slots_that_moved_are_told_apart_under_traffic_while_workers_accept() -> None:
    with bound(count=8) as pool:
        steering = Steering(pool)
        order = steering.measure()
        busy = order[4:7]
        steering.attach(dict.fromkeys(busy, 1))
        with acceptor(pool, busy), traffic(pool):
            for at in (2, 0, 1):
                pool.by_inode(order[at]).socket.shutdown(socket.SHUT_RDWR)
            steering.recover(BACKLOG)
            stray = [slot.queued() for slot in pool.slots if slot.inode not in busy]
            arrived_since = arrivals_elsewhere(pool, busy)

        assert arrived_since == stray
        assert_order_is_right(steering)


def arrivals_elsewhere(pool: TcpPool, busy: list[SlotId]) -> list[int]:
    """Queues of the other slots after some more ordinary connections."""
    for _ in range(100):
        connect(pool).close()
    return [slot.queued() for slot in pool.slots if slot.inode not in busy]


def test_attaching_while_the_first_slot_is_down_takes_effect() -> None:
    with bound() as pool:
        steering = Steering(pool)
        order = steering.measure()
        pool.slots[0].socket.shutdown(socket.SHUT_RDWR)
        steering.attach({order[3]: 1})

        assert {order[3]: 10} == arrivals(pool, 10)


def test_attaching_when_every_slot_is_down_says_so() -> None:
    with bound(count=3) as pool:
        steering = Steering(pool)
        steering.measure()
        for slot in pool.slots:
            slot.socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(SteeringRefused, match="all slots"):
            steering.attach({pool.slots[0].inode: 1})

        assert steering.recover(BACKLOG)
        assert_order_is_right(steering)


# -- refused --------------------------------------------------------------------------------------

WITHOUT_ATTACH = """
import ctypes, struct, sys
from wssupervisor.errors import SteeringRefused
from wssupervisor.runtime.listeners.tcp_pool import bind_pool
from wssupervisor.runtime.listeners.steering import SO_ATTACH_REUSEPORT_CBPF, Steering
import socket

def forbid(option):
    '''A seccomp filter: setsockopt with this option is EPERM.'''
    rows = [(0x20, 0, 0, 0), (0x15, 0, 3, int(sys.argv[1])), (0x20, 0, 0, 16 + 2 * 8),
            (0x15, 0, 1, option), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
    code = b"".join(struct.pack("HBBI", *row) for row in rows)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HP", len(rows), ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, program, 0, 0) == 0

pool = bind_pool("ws", socket.AF_INET, "127.0.0.1", 0, count=4, backlog=16)
steering = Steering(pool)
order = steering.measure()
steering.attach({order[1]: 1})
forbid(SO_ATTACH_REUSEPORT_CBPF)
try:
    steering.attach({order[2]: 1})
except SteeringRefused as error:
    print(error)
assert steering.weights == {order[1]: 1}
with socket.create_connection((pool.host, pool.port)):
    print([pool.by_inode(inode).queued() for inode in order])
pool.close()
"""
SETSOCKOPT = {"x86_64": "54", "aarch64": "208"}
"""The system call's number."""


@pytest.mark.skipif(os.uname().machine not in SETSOCKOPT, reason="number of setsockopt not known")
def test_where_a_sandbox_refuses_the_reason_is_given_and_the_old_table_stays() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ATTACH, SETSOCKOPT[os.uname().machine]],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    said, queues = done.stdout.splitlines()

    assert "the kernel or a sandbox (seccomp, LSM) forbids it" in said
    assert "[0, 1, 0, 0]" == queues
