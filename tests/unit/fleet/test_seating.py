"""Seats, respawns, scaling, and sweepers for queues that no worker empties."""

from dataclasses import replace

from tests.unit.fleet.driven import (
    PARKING,
    POLICY,
    SLOTS,
    STALLS,
    A,
    B,
    Driven,
    draining,
    looks,
    serving,
    spawns,
    steered,
    worker,
)
from wssupervisor.fleet.actions import Answer, Scaled, Spawn, Steer
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    Observed,
    ScaleRequested,
    SlotReleased,
    StartRequested,
    TimePassed,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
    Listener,
    WorkerState,
)
from wssupervisor.fleet.orders import Signal
from wssupervisor.fleet.seating import SWEEPERS
from wssupervisor.fleet.state import FIRST_SWEEPER


def test_what_waits_in_another_slot_gets_a_sweeper_once_a_generation_serves() -> None:
    fleet = serving()

    assert fleet.look(4, slot_17=1) == [Spawn(worker(1, FIRST_SWEEPER), A, {"ws": 17})]
    assert fleet.look(4.2) == []


def test_a_crashed_worker_is_steered_away_from_and_respawned_at_once_on_its_slot() -> None:
    fleet = serving()

    assert fleet.handle(WorkerExited(worker(1, 0), Exit(signal="SIGKILL")), 10) == [
        Steer(3, steered(11)),
        Spawn(worker(1, 0, 2), A, {"ws": 10}),
    ]


def test_the_only_workers_queue_waits_for_its_replacement() -> None:
    fleet = serving(replace(POLICY, workers=1))

    assert fleet.handle(WorkerExited(worker(1), Exit(status=1)), 10) == [
        Spawn(worker(1, 0, 2), A, {"ws": 10})
    ]


MANY = [slot for slot in SLOTS if slot not in (10, 11, PARKING)]
"""Slots that no worker has."""


def test_clients_of_before_a_start_are_served_at_once_in_all_slots() -> None:
    fleet = serving()
    actions = fleet.look(4, **{f"slot_{slot}": 1 for slot in MANY})

    assert len(MANY) > SWEEPERS
    assert len(spawns(actions)) == len(MANY)


def test_clients_that_hold_up_one_sweeper_after_another_make_few_of_them() -> None:
    fleet = serving(STALLS)
    first, last = MANY[:SWEEPERS], MANY[SWEEPERS:]
    held = {f"slot_{slot}": 1 for slot in first}
    assert len(spawns(fleet.look(4, **held))) == SWEEPERS
    looks(fleet, 4, 10, **held)

    assert spawns(fleet.look(10.5, **held, **{f"slot_{slot}": 1 for slot in last})) == []

    held[f"slot_{first[0]}"] = 0  # one of them has accepted

    assert len(spawns(fleet.look(11, **held, **{f"slot_{slot}": 1 for slot in last}))) == len(last)


def test_a_worker_that_closed_its_socket_is_replaced_and_keeps_its_connections() -> None:
    fleet = serving()
    actions = fleet.handle(SlotReleased(worker(1)), 10)

    assert actions == [Steer(3, steered(11)), Spawn(worker(1, 0, 2), A, {"ws": 12})]


def test_a_draining_worker_that_dies_is_not_respawned_but_its_queue_is_served() -> None:
    fleet = draining()
    fleet.look(13, slot_10=2)

    assert fleet.handle(WorkerExited(worker(1, 0), Exit(status=1)), 14) == []
    assert fleet.look(14.2) == [Spawn(worker(2, FIRST_SWEEPER), B, {"ws": 10})]


def test_more_workers_get_free_slots_and_are_steered_to_when_ready() -> None:
    fleet = serving()
    actions = fleet.handle(ScaleRequested(7, 3), 20)
    fleet.spawn_all(actions, 20)

    assert actions == [Answer(7, Scaled(3, 2)), Spawn(worker(1, 2), A, {"ws": 12})]
    assert fleet.handle(WorkerReady(worker(1, 2)), 21) == [Steer(3, steered(10, 11, 12))]


def test_a_worker_that_is_scaled_away_drains() -> None:
    fleet = serving()
    actions = fleet.handle(ScaleRequested(7, 1), 20)

    assert actions == [Answer(7, Scaled(1, 2)), Steer(3, steered(10))]

    fleet.steer(actions, 20)
    fleet.look(21)
    fleet.census(21, {worker(1, 0): 0, worker(1, 1): 1})
    fleet.census(22, {worker(1, 0): 0, worker(1, 1): 0})

    assert fleet.census(23, {worker(1, 0): 0, worker(1, 1): 0}) == [Signal(worker(1, 1), "SIGTERM")]


def test_an_index_that_comes_back_is_another_incarnation() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(ScaleRequested(7, 1), 20), 20)

    assert Spawn(worker(1, 1, 2), A, {"ws": 12}) in fleet.handle(ScaleRequested(8, 2), 21)


def test_a_worker_that_shared_a_slot_with_one_scaled_away_is_replaced_elsewhere() -> None:
    """Else the draining one would keep taking what is steered to the other."""
    fleet = serving(slots=SLOTS[:3])
    fleet.spawn_all(fleet.handle(ScaleRequested(7, 3), 20), 20)
    fleet.steer(fleet.handle(WorkerReady(worker(1, 2)), 21), 21)
    actions = fleet.handle(ScaleRequested(8, 2), 30)

    assert fleet.state.generations[1].workers[worker(1, 0)].state is WorkerState.DRAINING
    assert actions == [
        Answer(8, Scaled(2, 3)),
        Steer(4, steered(11)),
        Spawn(worker(1, 0, 2), A, {"ws": 11}),
    ]


def test_a_worker_that_could_not_be_replaced_elsewhere_is_when_a_slot_is_free() -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    fleet.steer(fleet.handle(TimePassed(), 12), 12)
    fleet.look(12)
    fleet.spawn_all(fleet.handle(ScaleRequested(7, 3), 13), 13)
    fleet.steer(fleet.handle(WorkerReady(worker(2, 2)), 13), 13)
    fleet.handle(ScaleRequested(8, 1), 14)
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=0)), 20)
    actions = fleet.look(20.2)

    assert fleet.state.generations[2].seats[0].slots["ws"] == 10
    assert Spawn(worker(2, 0, 2), B, {"ws": 10}) in actions


def test_a_sweeper_gets_nothing_of_other_listeners() -> None:
    """All ordinary slots are steered to: it is given the parking slot, where nothing comes."""
    fleet = Driven()
    slots = {"ws": (10, 11, 12), "raw": (20, 21, 22)}
    fleet.core = Fleet([Listener(name, own) for name, own in slots.items()])
    fleet.queues = dict.fromkeys((*slots["ws"], *slots["raw"]), 0)
    fleet.steer(fleet.look(0), 0)
    fleet.look(0)
    fleet.spawn_all(fleet.handle(StartRequested(A, POLICY), 1), 1)
    fleet.make_ready(1, 1)
    fleet.steer(fleet.handle(TimePassed(), 2), 2)

    assert fleet.look(3, slot_22=1) == [Spawn(worker(1, FIRST_SWEEPER), A, {"raw": 22, "ws": 12})]


def test_a_respawn_leaves_a_deaf_slot() -> None:
    fleet = serving()
    fleet.handle(Observed(dict(fleet.queues), 9, frozenset({10})), 9)
    actions = fleet.handle(WorkerExited(worker(1, 0), Exit(status=1)), 50)

    assert Spawn(worker(1, 0, 2), A, {"ws": 12}) in actions
