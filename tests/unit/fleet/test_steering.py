"""Where new connections go, which slots are free, and what can still arrive."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    PARKING,
    POLICY,
    SLOTS,
    A,
    B,
    Driven,
    looks,
    serving,
    steered,
    worker,
)
from wssupervisor.fleet import steering
from wssupervisor.fleet.actions import Spawn, Steer
from wssupervisor.fleet.events import (
    Observed,
    ReleaseResolved,
    ReloadRequested,
    RollBackRequested,
    SlotReleased,
    SlotsReordered,
    StartRequested,
    StopRequested,
    TimePassed,
)
from wssupervisor.fleet.health import why_not_ready
from wssupervisor.fleet.model import (
    Table,
)
from wssupervisor.fleet.orders import Signal
from wssupervisor.fleet.view import view


def test_a_first_generation_prefers_slots_where_clients_wait() -> None:
    fleet = Driven()
    fleet.look(0, slot_14=2)

    assert Spawn(worker(1, 0), A, {"ws": 14}) in fleet.handle(StartRequested(A, POLICY), 1)


def test_a_cutover_and_a_roll_back_change_what_picks_the_worker() -> None:
    fleet = serving()
    fleet.policy = replace(POLICY, by_client=("ws",))
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    by_client = Table({"ws": {12: 1, 13: 1}}, ("ws",))
    actions = fleet.handle(TimePassed(), 12)

    assert actions == [Steer(3, by_client)]

    fleet.steer(actions, 12)

    assert [one.by_client for one in view(fleet.state, 12).listeners] == [True]

    fleet.handle(RollBackRequested(7), 13)

    assert fleet.handle(TimePassed(), 14) == [Steer(4, steered(10, 11))]


def test_a_slot_is_not_free_while_a_handshake_of_before_may_end_on_it() -> None:
    fleet = Driven()
    fleet.steer(fleet.handle(Observed(dict(fleet.queues), 0), 0), 0)
    fleet.handle(StartRequested(A, POLICY), 1)
    fleet.handle(Observed(dict(fleet.queues), 0), 2)

    assert view(fleet.state, 2).listeners[0].free == 0

    fleet.handle(Observed(dict(fleet.queues), 1), 3)

    assert view(fleet.state, 3).listeners[0].free == 7


def test_a_slot_is_not_free_while_a_process_of_no_worker_holds_it() -> None:
    fleet = serving()
    free = steering.free_slots(fleet.state, fleet.state.listeners["ws"])
    epoch = fleet.state.steering.epoch
    fleet.handle(Observed(dict(fleet.queues), epoch, occupied=frozenset(free[:1])), 5)

    assert free[1:] == steering.free_slots(fleet.state, fleet.state.listeners["ws"])

    fleet.handle(Observed(dict(fleet.queues), epoch), 6)

    assert free == steering.free_slots(fleet.state, fleet.state.listeners["ws"])


def test_while_no_worker_accepts_steering_stays_where_it_is() -> None:
    fleet = serving(replace(POLICY, workers=2))

    assert looks(fleet, 10, 15, slot_10=3, slot_11=1) == []
    assert why_not_ready(fleet.state) is None


def test_where_clients_have_a_worker_each_they_wait_for_one_that_pauses() -> None:
    fleet = serving(replace(POLICY, by_client=("ws",)))

    assert looks(fleet, 10, 19.5, slot_10=3) == []

    (steer,) = [one for one in fleet.look(20) if isinstance(one, Steer)]

    assert steer.table.weights == {"ws": {11: 1}}


@pytest.mark.parametrize("obstacle", ["queue", "stray", "handshake"])
def test_zero_means_that_nothing_can_still_become_a_connection(obstacle: str) -> None:
    fleet = serving()
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    fleet.steer(fleet.handle(TimePassed(), 12), 12)
    if obstacle != "handshake":
        fleet.look(13, slot_10=1 if obstacle == "queue" else 0)
    for second in (18, 19, 20):
        found = fleet.census(second, {worker(1, 0): 0}, strays=int(obstacle == "stray"))

        assert found == []


def test_no_client_is_parked_on_a_slot_that_a_worker_holds() -> None:
    fleet = serving()
    fleet.handle(SlotsReordered("ws", (PARKING, *SLOTS[1:-1], 10)), 10)

    assert fleet.handle(StopRequested(None), 11) == [Steer(3, steered(18))]


def test_a_stalled_worker_is_not_ended_while_clients_may_still_be_steered_to_it() -> None:
    fleet = serving()
    away = fleet.handle(SlotReleased(worker(1, 0)), 5)
    fleet.look(6)
    idle = {worker(1, 0): 0, worker(1, 1): 0}
    fleet.census(7, idle)
    assert fleet.census(8, idle) == []

    fleet.steer(away, 9)
    fleet.look(10)
    fleet.census(11, idle)

    assert fleet.census(12, idle) == [Signal(worker(1, 0), "SIGTERM")]


def test_a_deaf_slot_is_given_to_no_candidate() -> None:
    fleet = serving()
    fleet.handle(Observed(dict(fleet.queues), 9, frozenset({12})), 9)
    fleet.handle(ReloadRequested(1), 10)
    spawns = fleet.handle(ReleaseResolved(1, B, POLICY), 10)

    assert spawns == [
        Spawn(worker(2, 0), B, {"ws": 13}),
        Spawn(worker(2, 1), B, {"ws": 14}),
    ]
