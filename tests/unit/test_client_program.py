"""By client: the same address comes to the same slot, shares are even, and few clients move.

On made packets here; with real connections in integration/test_balance.py.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

from tests.harness.packets import packet, run
from wssupervisor.config.parsers import CLIENT_WORKERS_MAX
from wssupervisor.runtime.kernel.bpf import INSTRUCTIONS_MAX
from wssupervisor.runtime.listeners.steering_program import ProbeRule, steering_program

INODES = [91_000 + at for at in range(CLIENT_WORKERS_MAX)]
"""As a pool's are: one after the other."""

CLIENTS = {
    "one network": [f"10.0.{third}.{last}" for third in range(8) for last in range(250)],
    "loopback": [f"127.0.{third}.{last}" for third in range(8) for last in range(250)],
    "far apart": [f"{first}.{last}.7.9" for first in range(1, 200) for last in range(0, 100, 10)],
    "one ipv6 network": [f"2001:db8::{last:x}" for last in range(2000)],
    "ipv6 networks": [f"2001:db8:{one:x}:{one * 7:x}::1" for one in range(2000)],
}


def chosen(
    clients: Iterable[str], slots: Mapping[int, int], weights: Mapping[int, int] | None = None
) -> dict[str, int]:
    """The inode that each client comes to; `slots`: inode by group index."""
    program = steering_program(weights or dict.fromkeys(slots, 1), (), slots)
    return {client: slots[run(program, packet(client, 40_000))] for client in clients}


def pool(workers: int) -> dict[int, int]:
    return dict(enumerate(INODES[:workers]))


def assert_even(counts: Counter[int], shares: Mapping[int, int]) -> None:
    """Within five standard deviations of what independent draws would give."""
    total, weight = sum(counts.values()), sum(shares.values())
    for inode, share in shares.items():
        mean = total * share / weight
        assert abs(counts[inode] - mean) < 5 * math.sqrt(mean * (1 - share / weight)), counts


@pytest.mark.parametrize("clients", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("workers", [2, 3, 8, 31])
def test_clients_are_spread_evenly(workers: int, clients: list[str]) -> None:
    slots = pool(workers)
    counts = Counter(chosen(clients, slots).values())

    assert_even(counts, dict.fromkeys(slots.values(), 1))


def test_a_slot_that_two_workers_share_gets_two_shares() -> None:
    found = chosen(CLIENTS["one network"], pool(3), {0: 2, 1: 1, 2: 1})

    assert_even(Counter(found.values()), {INODES[0]: 2, INODES[1]: 1, INODES[2]: 1})


def test_neither_port_nor_random_number_matters() -> None:
    program = steering_program({0: 1, 1: 1, 2: 1}, (), pool(3))
    found = {
        run(program, packet("203.0.113.7", port), random)
        for port, random in itertools.product(range(1024, 60_000, 997), (0, 1, 2**32 - 1))
    }

    assert 1 == len(found)


@pytest.mark.parametrize("clients", CLIENTS.values(), ids=CLIENTS)
def test_a_worker_that_goes_moves_only_its_own_clients(clients: list[str]) -> None:
    slots = pool(5)
    before = chosen(clients, slots)
    left = {index: inode for index, inode in slots.items() if inode != INODES[2]}
    after = chosen(clients, left)
    moved = Counter(after[client] for client in clients if before[client] == INODES[2])

    assert all(after[client] == before[client] for client in clients if before[client] != INODES[2])
    assert_even(moved, dict.fromkeys(left.values(), 1))


def test_one_worker_more_takes_its_share_and_moves_nobody_else() -> None:
    clients = CLIENTS["one network"]
    before, after = chosen(clients, pool(4)), chosen(clients, pool(5))
    moved = {client for client in clients if before[client] != after[client]}

    assert {INODES[4]} == {after[client] for client in moved}
    assert len(clients) / 5 * 0.75 < len(moved) < len(clients) / 5 * 1.25


def test_indexes_that_moved_move_no_client() -> None:
    clients = CLIENTS["one network"]
    slots = pool(5)
    moved = dict(zip(slots, reversed(slots.values()), strict=True))

    assert chosen(clients, slots) == chosen(clients, moved)


def test_probes_reach_their_slot_whoever_their_address_belongs_to() -> None:
    rules = [ProbeRule("127.0.0.1", 5, 9), ProbeRule("::1", 6, 8)]
    program = steering_program({0: 1, 1: 1}, rules, pool(2))

    assert [9, 8] == [run(program, packet(rule.host, rule.port)) for rule in rules]
    assert run(program, packet("127.0.0.1", 6)) in {0, 1}


def test_the_largest_table_fits_with_as_many_probes() -> None:
    rules = [ProbeRule("2001:db8::1", port, 0) for port in range(CLIENT_WORKERS_MAX)]
    program = steering_program(dict.fromkeys(pool(CLIENT_WORKERS_MAX), 1), rules, pool(128))

    assert len(program) <= INSTRUCTIONS_MAX


def test_more_workers_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 128 workers, not 129"):
        steering_program({0: 128, 1: 1}, (), pool(2))
