"""`balance = "client"`: each client's connections reach one worker, and cutovers stay enforced."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.packets import packet, run
from tests.harness.settings import HOST, Settings
from tests.harness.sockets import HeldSockets
from wssupervisor.config.parsers import CLIENT_WORKERS_MAX
from wssupervisor.fleet.model import SlotId
from wssupervisor.runtime.listeners.probe_socket import probe_socket
from wssupervisor.runtime.listeners.steering import Steering
from wssupervisor.runtime.listeners.steering_program import steering_program
from wssupervisor.runtime.listeners.tcp_pool import TcpPool, bind_pool

V4, V6 = socket.AF_INET, socket.AF_INET6
CLIENTS = [f"127.{at % 7}.{at % 11 + 1}.{at % 199 + 1}" for at in range(120)]
BACKLOG = 1024


@contextmanager
def pool_on(family: int, host: str, count: int = 8) -> Iterator[tuple[TcpPool, Steering]]:
    pool = bind_pool("ws", family, host, 0, count=count, backlog=BACKLOG)
    try:
        steering = Steering(pool)
        steering.measure()
        yield pool, steering
    finally:
        pool.close()


def arrival(pool: TcpPool, source: str) -> SlotId:
    """The slot that a connection from this address arrives in."""
    target = "::1" if ":" in source else HOST
    with socket.create_connection((target, pool.port), HANG_SECONDS, (source, 0)):
        found: list[SlotId] = []

        def arrived() -> bool:
            found[:] = [slot.inode for slot in pool.slots if slot.queued()]
            return bool(found)

        wait_until(arrived, what="the connection in a queue", every=0)
        (inode,) = found
        accepted, _ = pool.by_inode(inode).socket.accept()
        accepted.close()
        return inode


@pytest.mark.parametrize(
    ("family", "host", "clients"),
    [
        (V4, HOST, CLIENTS),
        (V4, "0.0.0.0", CLIENTS),
        (V6, "::1", ["::1"]),
        (V6, "::", ["::1", *CLIENTS]),
    ],
    ids=["ipv4", "ipv4-any", "ipv6", "dual"],
)
def test_the_kernel_sends_each_client_where_the_program_says(
    family: int, host: str, clients: list[str]
) -> None:
    """On a dual-stack socket IPv4 clients come as such, whatever the socket's family."""
    with pool_on(family, host) as (pool, steering):
        table = dict.fromkeys(steering.order[1:6], 1)
        steering.attach(table, by_client=True)
        index = {inode: at for at, inode in enumerate(steering.order)}
        weights = {index[inode]: 1 for inode in table}
        program = steering_program(weights, (), dict(enumerate(steering.order)))
        expected = {client: steering.order[run(program, packet(client, 1))] for client in clients}

        assert expected == {client: arrival(pool, client) for client in clients}
        assert len(clients) == 1 or set(table) == set(expected.values())


def test_a_probe_reaches_its_slot_and_the_client_of_its_address_does_not() -> None:
    with pool_on(V4, HOST) as (pool, steering):
        one, two, candidate, *_ = steering.order
        steering.attach({one: 1, two: 1}, by_client=True)
        own = arrival(pool, HOST)
        with probe_socket(pool) as (client, source), steering.probing(source, candidate):
            client.connect((pool.reachable_host, pool.port))

            assert 1 == pool.by_inode(candidate).queued()

            pool.by_inode(candidate).socket.accept()[0].close()

            assert own == arrival(pool, HOST)
        assert own == arrival(pool, HOST)


def test_indexes_that_a_shutdown_moved_move_no_client() -> None:
    with pool_on(V4, HOST) as (pool, steering):
        steering.attach(dict.fromkeys(steering.order[4:], 1), by_client=True)
        before = {client: arrival(pool, client) for client in CLIENTS[:40]}
        order = list(steering.order)
        pool.by_inode(order[1]).socket.shutdown(socket.SHUT_RDWR)

        assert steering.recover(BACKLOG)
        assert order != steering.order
        assert before == {client: arrival(pool, client) for client in CLIENTS[:40]}


def test_the_kernel_takes_the_largest_table() -> None:
    with pool_on(V4, HOST, CLIENT_WORKERS_MAX + 1) as (pool, steering):
        table = dict.fromkeys(steering.order[:CLIENT_WORKERS_MAX], 1)
        steering.attach(table, by_client=True)

        assert arrival(pool, "127.1.2.3") == arrival(pool, "127.1.2.3")
        assert 30 < len({arrival(pool, client) for client in CLIENTS})


# -- an instance ----------------------------------------------------------------------------------


@pytest.fixture
def by_client(settings: Settings) -> Settings:
    return replace(settings, balance="client", keep="60s")


def served_by(daemon: Daemon, clients: Iterable[str] = CLIENTS[:60]) -> dict[str, int]:
    """The process that greets a connection from each of these addresses."""
    found: dict[str, int] = {}
    for source in clients:
        target = daemon.settings.target("raw")
        with socket.create_connection(target, HANG_SECONDS, (source, 0)) as connection:
            greeting = connection.makefile().readline().split()
        found[source] = int(greeting[-1])
    return found


def balances(daemon: Daemon) -> set[str]:
    return {one["balance"] for one in daemon.status()["listeners"]}


def test_a_client_keeps_its_worker_and_a_reload_moves_all_at_once(by_client: Settings) -> None:
    with Daemon(by_client) as daemon, load(daemon.start(), rate=600.0) as clients:
        before = served_by(daemon)
        cutovers = [daemon.reload()]
        after = served_by(daemon)
        again = served_by(daemon)
        cutovers.append(daemon.roll_back())
        clients.more(200)

        assert served_by(daemon) == before
        assert after == again
        assert set(before.values()).isdisjoint(after.values())
        assert [2, 2] == [len(set(found.values())) for found in (before, after)]
        assert {"client"} == balances(daemon)
        assert "steered by client address" in daemon.ctl("status").out
        clients.assert_unnoticed(cutovers)


def test_a_crash_moves_only_that_workers_clients_and_back_when_it_is_replaced(
    by_client: Settings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    by_client.releases.install("gated", "gated")
    own = replace(by_client, workers=3, environment={"GATE": str(gate)})
    with Daemon(own) as daemon:
        daemon.start()
        before = served_by(daemon)
        gate.unlink()
        victim = before[CLIENTS[0]]
        (index,) = [one.index for one in daemon.workers() if one.pid == victim]
        daemon.end_worker(victim)
        meanwhile = served_by(daemon)

        assert victim not in meanwhile.values()
        assert {client: pid for client, pid in before.items() if pid != victim} == {
            client: pid for client, pid in meanwhile.items() if before[client] != victim
        }
        assert 1 < len({pid for client, pid in meanwhile.items() if before[client] == victim})

        gate.touch()
        daemon.wait_ready(3)
        (replacement,) = [one.pid for one in daemon.workers() if one.index == index]

        assert served_by(daemon) == {
            client: replacement if pid == victim else pid for client, pid in before.items()
        }


def test_more_workers_take_a_share_and_leave_all_other_clients_where_they_are(
    by_client: Settings,
) -> None:
    with Daemon(by_client) as daemon:
        daemon.start()
        before = served_by(daemon)
        assert daemon.ctl("scale", "3").status == 0
        daemon.wait_ready(3)
        after = served_by(daemon)
        moved = {after[client] for client in before if before[client] != after[client]}

        assert 1 == len(moved)
        assert moved.isdisjoint(before.values())

        refused = daemon.ctl("scale", "200")

        assert refused.status != 0
        assert "at most 128 with [[listen]] balance" in refused.err


def test_an_upgrade_and_a_dead_supervisor_move_nobody(by_client: Settings) -> None:
    with Daemon(by_client) as daemon:
        daemon.start()
        before = served_by(daemon)
        assert daemon.ctl("upgrade").status == 0

        assert served_by(daemon) == before

        held = daemon.active_pids()
        daemon.die()
        daemon.start()

        assert daemon.active_pids() == held
        assert served_by(daemon) == before
        assert {"client"} == balances(daemon)


def test_a_reload_changes_it_without_a_restart_and_a_bad_one_does_not(settings: Settings) -> None:
    """The kernel's choice of before is in force until the cutover, and again after a roll back."""
    with Daemon(replace(settings, keep="60s")) as daemon, load(daemon.start()) as clients:
        by_client = replace(settings, keep="60s", balance="client")
        by_client.write()
        settings.releases.install("bad", "fails_at_once")

        assert daemon.ctl("reload").status == 1
        assert {"random"} == balances(daemon)

        settings.releases.install("two")
        cutovers = [daemon.reload()]

        assert {"client"} == balances(daemon)
        assert served_by(daemon) == served_by(daemon)

        cutovers.append(daemon.roll_back())

        assert {"random"} == balances(daemon)
        assert 1 < len({pid for _ in range(20) for pid in served_by(daemon, [HOST]).values()})
        clients.assert_unnoticed(cutovers)


def test_where_nothing_can_be_steered_it_does_not_start_and_says_why(settings: Settings) -> None:
    own = replace(settings.shared, with_addresses=False, balance="client")
    addresses = {name: own.target(name) for name in ("ws", "raw")}
    with (
        HeldSockets(addresses, 1, reuse_port=False) as sockets,
        Daemon(own, sockets=sockets) as daemon,
    ):
        assert daemon.run_to_its_end() == 1
        assert "balance = \"client\" needs steering, but listener 'ws' is" in daemon.log()
