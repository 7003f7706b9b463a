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
    draining,
    looks,
    serving,
    shared,
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
    ScaleRequested,
    SlotReleased,
    SlotsReordered,
    StartRequested,
    StopRequested,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.health import why_not_ready
from wssupervisor.fleet.model import (
    Exit,
    GenerationState,
    Table,
    WorkerState,
)
from wssupervisor.fleet.orders import Signal
from wssupervisor.fleet.state import Generation, Leftover, State, Worker
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


# -- the table ------------------------------------------------------------------------------------


def stalling(**fields: object) -> tuple[State, Generation]:
    """An active generation with two workers on slots 10 and 11, the first with these fields."""
    fleet = serving()
    one = fleet.living(worker(1, 0))
    for name, value in fields.items():
        setattr(one, name, value)
    return fleet.state, fleet.state.generations[1]


def slots_of(state: State) -> set[int]:
    return set(steering.wanted_table(state).weights["ws"])


@pytest.mark.parametrize("why", ["stalled_since", "unresponsive_since"])
def test_a_worker_that_does_not_accept_or_respond_is_left_out(why: str) -> None:
    state, _ = stalling(**{why: 5.0})

    assert slots_of(state) == {11}


def test_a_worker_that_pauses_is_better_than_one_that_has_not_accepted_for_long() -> None:
    state, generation = stalling(stalled_since=5.0)
    generation.workers[worker(1, 1)].stalled_since = 5.0
    generation.seats[0].not_replaced = worker(1, 0)

    assert slots_of(state) == {11}

    generation.seats[1].not_replaced = worker(1, 1)

    assert slots_of(state) == {10, 11}, "all are as bad"


def test_an_unresponsive_worker_does_not_pause() -> None:
    state, generation = stalling(stalled_since=5.0, unresponsive_since=6.0)
    generation.workers[worker(1, 1)].stalled_since = 5.0

    assert slots_of(state) == {11}
    assert steering.pauses(generation)
    generation.workers[worker(1, 1)].state = WorkerState.STALLED
    assert not steering.pauses(generation)
    assert slots_of(state) == {10}, "better than a seat without a worker that is ready"


def test_what_is_steered_to_a_seat_whose_replacement_starts_goes_to_the_stalled_worker() -> None:
    state, generation = stalling(stalled_since=5.0)
    generation.workers[worker(1, 1)].state = WorkerState.STALLED
    seat = generation.seats[0]
    seat.stands_in_for, seat.worker = seat.worker, None
    seat.slots = {"ws": 15}

    assert not steering._pauses(generation, seat)
    assert slots_of(state) == {10}


def test_seats_without_a_ready_worker_are_steered_to_if_there_is_no_other() -> None:
    state, generation = stalling(state=WorkerState.STARTING)
    generation.seats[1].worker = None

    assert slots_of(state) == {10, 11}


def test_a_slot_that_two_seats_share_has_twice_the_weight() -> None:
    fleet = serving(replace(POLICY, workers=3), slots=SLOTS[:3])

    assert steering.wanted_table(fleet.state).weights == {"ws": {10: 2, 11: 1}}
    assert steering.shares_slots(fleet.state, fleet.state.generations[1])
    assert not steering.shares_slots(serving().state, serving().state.generations[1])


def test_all_workers_on_a_shared_listener_share_no_slot_in_this_sense() -> None:
    fleet = shared()

    assert not steering.shares_slots(fleet.state, fleet.state.generations[1])


def test_a_shared_listener_is_parked_on_its_only_slot() -> None:
    assert steering.parked(shared().state) == steered(10)
    assert steering.parked(serving().state) == steered(PARKING)


def test_only_a_seat_with_a_worker_serves() -> None:
    _, generation = stalling()
    generation.seats[1].worker = None

    assert [steering.serves(generation, seat) for seat in generation.seats] == [True, False]


def test_a_worker_that_can_take_its_drain_back_could_serve() -> None:
    fleet = draining()
    one = fleet.living(worker(1))

    assert steering.could_serve(one)
    one.stalled_since = 15
    assert not steering.could_serve(one)


# -- when to steer --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_flight", "retry_at", "expected"),
    [(False, None, True), (True, None, False), (False, 10.0, True), (False, 10.1, False)],
)
def test_one_table_at_a_time_and_not_before_its_retry(
    in_flight: bool, retry_at: float | None, expected: bool
) -> None:
    state = serving().state
    state.steering.in_flight = steered(10) if in_flight else None
    state.steering.retry_at = retry_at

    assert steering.may_steer(state, 10.0) is expected


# -- slots ----------------------------------------------------------------------------------------


def free(fleet: Driven) -> list[int]:
    return steering.free_slots(fleet.state, fleet.state.listeners["ws"])


def test_free_slots_are_seen_empty_settled_and_heard_of_by_no_process() -> None:
    fleet = serving()
    slots = fleet.state.slots

    assert free(fleet) == [12, 13, 14, 15, 16, 17, 18], "the parking slot is no candidate's"
    slots[12].seen_at = None
    slots[13].queued = 1
    slots[14].left_epoch = fleet.state.steering.handshakes_over + 1
    slots[15].deaf = True
    slots[16].occupied = True
    fleet.state.steering.in_flight = steered(17)
    assert free(fleet) == [18]


def test_a_slot_whose_last_handshakes_are_over_is_settled() -> None:
    state = serving().state
    state.slots[12].left_epoch = state.steering.handshakes_over

    assert steering.settled(state, 12)
    state.slots[12].left_epoch += 1
    assert not steering.settled(state, 12)


def test_seats_of_a_drain_keep_no_slot_without_a_worker() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 0), Exit(0)), 13)

    assert 10 not in steering.held_slots(fleet.state)
    assert {11, 12, 13} <= steering.held_slots(fleet.state)


def test_a_seat_of_a_candidate_keeps_its_slot() -> None:
    fleet = serving()
    fleet.begin_reload(10)
    fleet.state.generations[2].workers.clear()

    assert {12, 13} <= steering.held_slots(fleet.state)


def test_the_parking_slot_is_the_last_that_no_worker_holds() -> None:
    fleet = serving()

    assert steering.with_parking(fleet.state, (12, 11, 10)) == (11, 10, 12)
    assert steering.with_parking(fleet.state, (12, 13, 10)) == (12, 10, 13)
    assert steering.with_parking(fleet.state, (11, 10)) == (11, 10), "both are held: the last"


def test_a_worker_that_must_get_nothing_from_a_listener_gets_a_free_slot_or_an_idle_one() -> None:
    fleet = draining()
    listener = fleet.state.listeners["ws"]

    assert steering.idle_slots(fleet.state, listener)[0] == 14
    for slot in SLOTS[4:9]:
        fleet.state.slots[slot].queued = 1
    assert steering.idle_slots(fleet.state, listener) == [10, 11, 14, 15, 16, 17, 18, 19]
    fleet.state.steering.in_flight = steered(10)
    assert steering.idle_slots(fleet.state, listener)[0] == 11


def test_the_start_prefers_queued_slots_and_none_that_is_held_or_deaf() -> None:
    fleet = Driven()
    fleet.look(0, slot_14=2, slot_16=1, slot_19=5)
    fleet.state.slots[10].deaf = True
    fleet.state.generations = serving().state.generations

    assert steering.starting_slots(fleet.state, fleet.state.listeners["ws"]) == [
        14, 16, 12, 13, 15, 17, 18,
    ]  # fmt: skip


def test_outsiders_are_draining_workers_without_a_seat_on_slots_of_their_own() -> None:
    fleet = serving()
    fleet.handle(ScaleRequested(5, 1), 10)
    seat = fleet.state.generations[1].seats[0]

    assert steering.outsiders(fleet.state) == {11}
    assert steering.alone_in(fleet.state, seat)
    seat.slots = {"ws": 11}
    assert not steering.alone_in(fleet.state, seat)
    fleet.living(worker(1, 1)).state = WorkerState.STALLED
    assert steering.outsiders(fleet.state) == set()


# -- queues that no worker empties ----------------------------------------------------------------


def orphaned(*slots: int) -> Driven:
    fleet = serving()
    for slot in slots:
        fleet.state.slots[slot].queued = 1
    return fleet


def test_a_queue_that_no_worker_empties_is_an_orphan_once_it_was_seen() -> None:
    fleet = orphaned(10, 15, PARKING)

    assert steering.orphans(fleet.state) == [("ws", 15), ("ws", PARKING)]
    fleet.state.slots[15].seen_at = None
    assert steering.orphans(fleet.state) == [("ws", PARKING)]


@pytest.mark.parametrize(
    ("state", "leftover", "expected"),
    [
        (WorkerState.STARTING, False, []),
        (WorkerState.READY, False, []),
        (WorkerState.DRAINING, False, []),
        (WorkerState.STOPPING, False, []),
        (WorkerState.STOPPING, True, [("ws", 10)]),
        (WorkerState.STALLED, False, [("ws", 10)]),
    ],
)
def test_a_queue_is_its_workers_while_that_may_still_empty_it(
    state: WorkerState, leftover: bool, expected: list[tuple[str, int]]
) -> None:
    fleet = orphaned(10)
    one = fleet.living(worker(1))
    one.state = state
    if leftover:
        one.leftover = Leftover(Exit(0), True, 0)

    assert steering.orphans(fleet.state) == expected


def test_a_queue_with_a_sweeper_gets_no_second_one_unless_helpers_alone_are_left_of_it() -> None:
    fleet = orphaned(15)
    one = Worker(worker(1, 1000), {}, WorkerState.STALLED, 0.0, sweeper=True, sweeps=15)
    fleet.state.generations[1].workers[one.id] = one

    assert steering.orphans(fleet.state) == []
    one.leftover = Leftover(Exit(0), True, 0)
    assert steering.orphans(fleet.state) == [("ws", 15)]


def test_a_queue_waits_for_the_next_worker_of_an_active_seat_alone() -> None:
    fleet = orphaned(10)
    generation = fleet.state.generations[1]
    del generation.workers[worker(1)]
    generation.seats[0].worker = None

    assert steering.orphans(fleet.state) == []
    generation.state = GenerationState.DRAINING
    assert steering.orphans(fleet.state) == [("ws", 10)]


# -- what can still arrive ------------------------------------------------------------------------


def test_nothing_comes_through_a_slot_that_is_empty_settled_and_named_by_no_table() -> None:
    fleet = draining()
    state, one = fleet.state, fleet.living(worker(1, 0))

    assert steering.nothing_comes(state, one, 10, frozenset())
    state.slots[10].queued = 1
    assert not steering.nothing_comes(state, one, 10, frozenset())
    state.slots[10].queued = 0
    state.steering.in_flight = steered(10)
    assert not steering.nothing_comes(state, one, 10, frozenset())
    state.steering.in_flight = None
    state.slots[10].left_epoch = state.steering.handshakes_over + 1
    assert not steering.nothing_comes(state, one, 10, frozenset())


def test_a_stalled_worker_gets_nothing_of_a_slot_that_another_serves() -> None:
    fleet = serving()
    state, one = fleet.state, fleet.living(worker(1, 0))
    one.state = WorkerState.STALLED

    assert not steering.nothing_comes(state, one, 10, frozenset()), "it may wake up"
    fleet.living(worker(1, 1)).slots = {"ws": 10}
    assert steering.nothing_comes(state, one, 10, frozenset())
    fleet.living(worker(1, 1)).state = WorkerState.STOPPING
    assert not steering.nothing_comes(state, one, 10, frozenset())


def test_a_shared_slot_brings_nothing_to_a_worker_that_does_not_hold_it_or_is_stalled() -> None:
    fleet = shared()
    state, one = fleet.state, fleet.living(worker(1, 0))

    assert not steering.nothing_comes(state, one, 10, frozenset({10}))
    assert steering.nothing_comes(state, one, 10, frozenset())
    one.state = WorkerState.STALLED
    assert steering.nothing_comes(state, one, 10, frozenset({10}))


def test_a_draining_worker_still_listens_if_it_holds_a_slot_that_gets_connections() -> None:
    fleet, together = draining(), shared()
    old, new = fleet.living(worker(1, 0)), fleet.living(worker(2, 0))
    one = together.living(worker(1, 0))

    assert not steering.still_listens(fleet.state, old, frozenset({10})), "none is steered to it"
    assert not steering.still_listens(fleet.state, new, frozenset({12})), "as it must"
    new.state = WorkerState.DRAINING
    assert steering.still_listens(fleet.state, new, frozenset({12}))
    assert not steering.still_listens(fleet.state, new, frozenset())
    one.state = WorkerState.DRAINING
    assert steering.still_listens(together.state, one, frozenset({10}))


def test_a_shared_listener_is_steered_to_its_only_slot() -> None:
    assert steering.wanted_table(shared().state) == steered(10)


@pytest.mark.parametrize("state", WorkerState)
def test_a_worker_may_empty_its_queue_while_it_starts_is_ready_or_drains(
    state: WorkerState,
) -> None:
    fleet = serving()
    fleet.living(worker(1, 0)).state = state
    accepts = state in (WorkerState.STARTING, WorkerState.READY, WorkerState.DRAINING)

    assert steering.accepting_slots(fleet.state) == ({10, 11} if accepts else {11})


def test_one_other_worker_on_the_slot_of_a_stalled_one_is_enough() -> None:
    fleet = serving(replace(POLICY, workers=3))
    one = fleet.living(worker(1, 0))
    one.state = WorkerState.STALLED
    fleet.living(worker(1, 1)).slots = {"ws": 10}

    assert steering.nothing_comes(fleet.state, one, 10, frozenset())


def test_one_slot_that_gets_connections_is_enough_to_still_listen() -> None:
    fleet = draining()
    one = fleet.living(worker(1, 0))
    one.slots = {"ws": 10, "raw": 12}

    assert steering.still_listens(fleet.state, one, frozenset({10, 12}))
    assert not steering.still_listens(fleet.state, one, frozenset({10}))
