"""Seats, respawns, scaling, and sweepers for queues that no worker empties."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    PARKING,
    POLICY,
    SIGNALLED,
    SLOTS,
    STALLS,
    A,
    B,
    Driven,
    draining,
    looks,
    serving,
    shared,
    spawns,
    starting,
    steered,
    with_second_listener,
    worker,
)
from wssupervisor.fleet import seating, steering
from wssupervisor.fleet.actions import Answer, Scaled, Spawn, Steer
from wssupervisor.fleet.events import (
    Observed,
    ScaleRequested,
    SlotReleased,
    StartRequested,
    StopRequested,
    TimePassed,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
    Listener,
    WorkerId,
    WorkerState,
)
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import Signal
from wssupervisor.fleet.seating import SWEEPERS
from wssupervisor.fleet.state import (
    FIRST_SWEEPER,
    Reload,
    ReloadKind,
    ReloadPhase,
    Scale,
    SlotWatch,
    Worker,
)


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
    fleet = with_second_listener((20, 21, 22), ws=(10, 11, 12))

    assert fleet.look(4, slot_22=1) == [Spawn(worker(1, FIRST_SWEEPER), A, {"raw": 22, "ws": 12})]


def test_a_respawn_leaves_a_deaf_slot() -> None:
    fleet = serving()
    fleet.handle(Observed(dict(fleet.queues), 9, frozenset({10})), 9)
    actions = fleet.handle(WorkerExited(worker(1, 0), Exit(status=1)), 50)

    assert Spawn(worker(1, 0, 2), A, {"ws": 12}) in actions


def test_the_limits_of_sweepers_are_those_that_the_manual_names() -> None:
    assert (seating.SWEEPERS, seating.SWEEPERS_PER_SEAT) == (4, 2)
    assert FIRST_SWEEPER == 1000


# -- respawns -------------------------------------------------------------------------------------


def test_a_retry_is_reported_with_its_pause_and_begins_at_its_instant() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10)
    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(1)), 10)

    assert [one["seconds"] for one in fleet.fields(NoteKind.WORKER_RETRY)] == [0, 0.5]
    assert fleet.next_deadline() == 10.5
    assert spawns(fleet.handle(TimePassed(), 10.4)) == []
    assert [one.worker for one in spawns(fleet.handle(TimePassed(), 10.5))] == [worker(1, 0, 3)]
    assert fleet.state.generations[1].seats[0].retry_at is None


def test_a_seat_that_waits_longer_gets_another_slot_and_its_queue_a_sweeper() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10), 10)
    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(1)), 10)
    swept = spawns(fleet.look(10.2, slot_10=1))

    assert fleet.state.generations[1].seats[0].slots == {"ws": 12}
    assert [one.slots for one in swept] == [{"ws": 10}]


def test_a_worker_that_was_ready_for_a_stable_time_begins_to_count_failures_again() -> None:
    fleet = serving()
    seat = fleet.state.generations[1].seats[0]
    seat.failures = 5
    fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 1 + POLICY.backoff_max)

    assert seat.failures == 1

    other = fleet.state.generations[1].seats[1]
    other.failures = 5
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), POLICY.backoff_max + 0.9)

    assert other.failures == 6


def test_the_slots_of_a_worker_that_has_gone_are_looked_at_before_they_are_free() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 0), Exit(0)), 13)
    seen = {slot: fleet.state.slots[slot].seen_at for slot in (10, 11)}

    assert seen == {10: None, 11: 12}, "its own probe may wait in the queue"
    assert steering.free_slots(fleet.state, fleet.state.listeners["ws"])[0] == 14


def test_a_slot_that_two_workers_share_stays_known_when_one_has_gone() -> None:
    fleet = serving(slots=SLOTS[:2])
    fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10)

    assert fleet.state.slots[10].seen_at is not None


def test_a_crash_during_a_stop_is_not_respawned() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(StopRequested(None), 10), 10)

    assert spawns(fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 11)) == []
    assert fleet.fields(NoteKind.WORKER_RETRY) == []


def test_no_worker_is_respawned_while_the_old_ones_release_a_shared_listener() -> None:
    fleet = shared(SIGNALLED)
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    actions = fleet.handle(WorkerExited(worker(1, 0), Exit(0)), 12.5)

    assert spawns(actions) == []
    assert list(seating.deadlines(fleet.state)) == []


def test_a_respawn_takes_a_slot_of_its_own_as_soon_as_there_is_one() -> None:
    fleet = serving(slots=SLOTS[:2])
    fleet.state.listeners["ws"] = Listener("ws", SLOTS[:4])
    for slot in SLOTS[2:4]:
        fleet.state.slots[slot] = SlotWatch(left_epoch=0)
        fleet.queues[slot] = 0
    fleet.look(9)

    assert [one.slots for one in spawns(fleet.handle(WorkerExited(worker(1), Exit(1)), 10))] == [
        {"ws": 11}
    ]


def test_a_respawn_keeps_its_own_slot_if_it_is_alone_there() -> None:
    fleet = serving()

    assert [one.slots for one in spawns(fleet.handle(WorkerExited(worker(1), Exit(1)), 10))] == [
        {"ws": 10}
    ]


# -- a seat whose worker does not accept ----------------------------------------------------------


def test_a_worker_that_closed_its_socket_in_a_drain_leaves_its_seat_empty() -> None:
    fleet = draining()

    assert spawns(fleet.handle(SlotReleased(worker(1, 0)), 13)) == []
    assert fleet.fields(NoteKind.WORKER_RETRY) == []


def test_the_replacement_of_a_worker_that_closed_its_socket_is_reported_as_a_retry() -> None:
    fleet = serving()
    fleet.handle(SlotReleased(worker(1)), 10)

    assert [one["seconds"] for one in fleet.fields(NoteKind.WORKER_RETRY)] == [0]


def test_a_replacement_that_must_share_a_slot_makes_the_stalled_worker_give_way_at_once() -> None:
    fleet = serving(STALLS, slots=SLOTS[:2])
    actions = looks(fleet, 10, 20, slot_10=1)

    assert [one.slots for one in spawns(actions)] == [{"ws": 10}]
    assert fleet.living(worker(1)).state is WorkerState.STALLED
    assert fleet.living(worker(1)).gave_way_at == 20
    assert fleet.state.generations[1].seats[0].stands_in_for is None


def replaced() -> Driven:
    """A replacement of worker 0 is starting since second 20."""
    fleet = serving(STALLS)
    actions = looks(fleet, 10, 20, slot_10=1)
    fleet.steer_any(actions, 20)
    fleet.spawn_all(actions, 20)
    return fleet


def test_a_stalled_worker_that_dies_leaves_its_seat_to_its_replacement() -> None:
    fleet = replaced()
    fleet.handle(WorkerExited(worker(1), Exit(1)), 21)
    seat = fleet.state.generations[1].seats[0]

    assert (seat.stands_in_for, seat.worker) == (None, worker(1, 0, 2))


def test_a_replacement_that_dies_is_started_again_and_still_a_replacement() -> None:
    fleet = replaced()
    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(1)), 21)
    before = replace(fleet.state.generations[1].seats[0])
    fleet.look(21.5, slot_10=0)
    seat = fleet.state.generations[1].seats[0]

    assert (before.stands_in_for, before.worker) == (worker(1), worker(1, 0, 3))
    assert (seat.stands_in_for, seat.worker, seat.retry_at) == (None, worker(1), None)


def test_a_worker_scaled_away_while_it_is_replaced_drains_with_its_replacement() -> None:
    fleet = serving(replace(STALLS, workers=2))
    fleet.steer_any(looks(fleet, 10, 15, slot_11=1), 15)
    fleet.spawn_all(looks(fleet, 15.5, 20), 20)
    fleet.handle(ScaleRequested(5, 1), 21)

    assert fleet.living(worker(1, 1)).state is WorkerState.DRAINING
    assert fleet.living(worker(1, 1, 2)).state is WorkerState.DRAINING


def test_what_gave_way_is_said_in_the_report_with_its_time() -> None:
    fleet = replaced()
    fleet.handle(WorkerReady(worker(1, 0, 2)), 25)

    assert fleet.living(worker(1)).reason == "it did not accept for 15 s"


# -- sweepers -------------------------------------------------------------------------------------


def test_a_sweeper_is_reported_with_its_listener_and_its_queue() -> None:
    fleet = serving()
    fleet.look(4, slot_17=3)

    assert fleet.fields(NoteKind.SWEEPER_STARTED) == [
        {"generation": 1, "worker": "1.1000.1", "listener": "ws", "queued": 3}
    ]


def test_sweepers_are_numbered_on() -> None:
    fleet = serving()
    fleet.look(4, slot_17=3)

    assert [one.worker for one in spawns(fleet.look(4.5, slot_16=3))] == [
        worker(1, FIRST_SWEEPER + 1)
    ]


def swept(fleet: Driven, now: float, ended: Exit | None = None) -> Driven:
    """A sweeper of slot 17 is started and, if `ended`, ends."""
    (spawn,) = spawns(fleet.look(now, slot_17=1))
    fleet.spawn_all([spawn], now)
    if ended is not None:
        fleet.handle(WorkerExited(spawn.worker, ended), now + 0.1)
    return fleet


def test_after_a_sweeper_that_died_the_next_one_waits() -> None:
    fleet = swept(swept(serving(), 10, Exit(1)), 11, Exit(1))

    assert fleet.state.generations[1].sweep_failures == 2
    assert fleet.state.generations[1].sweep_at == 11.6
    assert spawns(fleet.look(11.5)) == []
    assert fleet.next_deadline() == 11.6
    assert len(spawns(fleet.handle(TimePassed(), 11.6))) == 1
    assert fleet.state.generations[1].sweep_at is None


def test_a_pause_of_sweepers_wakes_no_one_while_there_is_no_queue() -> None:
    fleet = swept(swept(serving(), 10, Exit(1)), 11, Exit(1))
    fleet.look(11.2, slot_17=0)

    assert fleet.next_deadline() is None


def test_a_sweeper_that_ends_when_it_is_done_is_no_failure() -> None:
    fleet = swept(serving(replace(POLICY, keep=0.0)), 10)
    sweeper = worker(1, FIRST_SWEEPER)
    fleet.state.generations[1].sweep_failures = 3
    fleet.look(11, slot_17=0)
    for at in (11, 12):
        fleet.census(at, {sweeper: 0})
    assert fleet.living(sweeper).state is WorkerState.STOPPING
    fleet.handle(WorkerExited(sweeper, Exit(0)), 13)

    assert fleet.state.generations[1].sweep_failures == 0
    assert fleet.state.generations[1].sweep_at is None


def test_a_sweeper_that_was_ended_for_not_accepting_is_a_failure() -> None:
    fleet = swept(serving(), 10)
    sweeper = worker(1, FIRST_SWEEPER)
    looks(fleet, 10.5, 60)
    fleet.census(60, {sweeper: 0})
    assert fleet.living(sweeper).state is WorkerState.STOPPING
    fleet.handle(WorkerExited(sweeper, Exit(0)), 61)

    assert fleet.state.generations[1].sweep_failures == 1


def test_the_end_of_an_ordinary_worker_without_a_seat_is_no_failure_of_a_sweeper() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(ScaleRequested(5, 1), 10), 10)
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), 11)

    assert fleet.state.generations[1].sweep_failures == 0


def stuck_sweepers(count: int, since: float) -> Driven:
    fleet = serving(STALLS)
    generation = fleet.state.generations[1]
    for slot in SLOTS[1 : count + 1]:
        one = Worker(worker(1, slot), {"ws": slot}, WorkerState.DRAINING, 0.0, sweeps=slot)
        generation.workers[one.id] = one
        fleet.state.slots[slot].stuck_since = since
    return fleet


@pytest.mark.parametrize(("count", "seats", "expected"), [(3, 1, False), (4, 1, True)])
def test_four_sweepers_that_do_not_accept_are_enough(
    count: int, seats: int, expected: bool
) -> None:
    fleet = stuck_sweepers(count, since=5.0)
    generation = fleet.state.generations[1]

    assert len(generation.seats) == seats
    assert seating.too_many_sweepers(fleet.state, generation, 7.0) is expected
    assert not seating.too_many_sweepers(fleet.state, generation, 6.9), "within accept_stall"


def test_a_larger_generation_may_have_two_a_seat() -> None:
    fleet = stuck_sweepers(5, since=5.0)
    generation = fleet.state.generations[1]
    generation.seats = generation.seats * 3

    assert not seating.too_many_sweepers(fleet.state, generation, 7.0)
    generation.seats = generation.seats[:2]
    assert seating.too_many_sweepers(fleet.state, generation, 7.0)


def test_a_sweeper_is_not_stuck_before_it_has_had_its_time() -> None:
    fleet = stuck_sweepers(4, since=1.0)
    generation = fleet.state.generations[1]
    for one in generation.workers.values():
        one.spawned_at = 5.0

    assert not seating.too_many_sweepers(fleet.state, generation, 6.9)
    assert seating.too_many_sweepers(fleet.state, generation, 7.0)


def test_one_sweeper_serves_the_queues_of_all_listeners() -> None:
    fleet = with_second_listener(tuple(range(20, 30)))

    assert [one.slots for one in spawns(fleet.look(4, slot_17=1, slot_27=1))] == [
        {"ws": 17, "raw": 27}
    ]


# -- scaling --------------------------------------------------------------------------------------


def test_a_new_seat_shares_the_slot_with_the_fewest_if_none_is_free() -> None:
    fleet = serving(slots=SLOTS[:3])
    actions = fleet.handle(ScaleRequested(5, 4), 10)

    assert [one.slots for one in spawns(actions)] == [{"ws": 10}, {"ws": 11}]


def test_nothing_is_scaled_while_the_instance_stops() -> None:
    fleet = serving()
    fleet.handle(StopRequested(None), 10)
    fleet.state.scaled = Scale(5, instead_of=2)

    assert spawns(fleet.handle(TimePassed(), 11)) == []
    assert len(fleet.state.generations[1].seats) == 2


def test_while_a_reload_is_under_way_no_seat_moves() -> None:
    fleet = serving(slots=SLOTS[:3])
    fleet.spawn_all(fleet.handle(ScaleRequested(7, 3), 20), 20)
    fleet.steer(fleet.handle(WorkerReady(worker(1, 2)), 21), 21)
    fleet.state.reload = Reload(1, ReloadKind.RELOAD, None, 21, 99.0, ReloadPhase.RESOLVING)
    fleet.state.scaled = None
    fleet.handle(TimePassed(), 22)

    assert fleet.living(worker(1, 0)).state is WorkerState.READY
    assert fleet.living(worker(1, 2)).state is WorkerState.DRAINING


def test_all_workers_share_the_slots_that_there_are() -> None:
    fleet = Driven(replace(POLICY, workers=3), SLOTS[:3])
    fleet.look(0)
    actions = fleet.handle(StartRequested(A, fleet.policy), 1)

    assert [one.slots["ws"] for one in spawns(actions)] == [10, 11, 10]


def test_a_worker_may_take_so_long_to_start_as_its_policy_says() -> None:
    fleet = starting(replace(POLICY, ready_timeout=7.0, watchdog=5.0))
    one = fleet.living(worker(1))

    assert (one.spawned_at, one.ready_by, one.watchdog) == (1, 8, 5.0)


def test_a_stalled_worker_whose_replacement_waits_for_its_start_has_its_seat_back_alone() -> None:
    fleet = replaced()
    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(1)), 21)
    fleet.handle(WorkerExited(worker(1, 0, 3), Exit(1)), 21)
    waits = fleet.state.generations[1].seats[0].retry_at
    actions = fleet.look(21.25, slot_10=0)
    seat = fleet.state.generations[1].seats[0]

    assert waits == 21.5
    assert not any(isinstance(one, Signal) for one in actions)
    assert (seat.worker, seat.retry_at, seat.slots) == (worker(1), None, {"ws": 10})


def test_a_seat_that_waits_for_its_start_moves_away_from_a_draining_worker_and_waits_on() -> None:
    fleet = serving()
    seat = fleet.state.generations[1].seats[0]
    fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10)
    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(1)), 10)
    one = fleet.living(worker(1, 1))
    fleet.state.generations[1].seats.pop()
    fleet.state.scaled = Scale(1, instead_of=2)
    one.state = WorkerState.DRAINING
    seat.slots = dict(one.slots)
    fleet.handle(TimePassed(), 10.2)

    assert seat.slots != one.slots
    assert (seat.worker, seat.retry_at) == (None, 10.5)


def kept_until(fleet: Driven, worker_id: WorkerId) -> float | None:
    drain = fleet.living(worker_id).drain
    return None if drain is None else drain.keep_until


def test_no_worker_without_a_seat_is_kept_warm() -> None:
    scaled, sweeping = serving(), serving()
    scaled.handle(ScaleRequested(5, 1), 20)
    sweeping.look(20, slot_17=1)

    assert kept_until(scaled, worker(1, 1)) == 20
    assert kept_until(sweeping, worker(1, FIRST_SWEEPER)) == 20


def test_a_stalled_worker_that_is_scaled_away_with_its_replacement_is_not_kept_warm() -> None:
    fleet = serving(replace(STALLS, workers=2))
    fleet.steer_any(looks(fleet, 10, 15, slot_11=1), 15)
    fleet.spawn_all(looks(fleet, 15.5, 20), 20)
    fleet.handle(ScaleRequested(5, 1), 21)

    assert kept_until(fleet, worker(1, 1)) == 21
    assert kept_until(fleet, worker(1, 1, 2)) == 21


def test_a_start_remembers_no_seat_that_it_did_not_have() -> None:
    assert serving().state.generations[1].incarnations == {}


def test_a_seat_moves_only_if_each_of_its_listeners_has_another_slot_for_it() -> None:
    fleet = with_second_listener((20, 21, 22), replace(POLICY, workers=3))
    fleet.handle(ScaleRequested(5, 1), 4)

    assert fleet.state.generations[1].seats[0].slots == {"ws": 10, "raw": 20}
    assert fleet.living(worker(1, 0)).state is WorkerState.READY


def test_a_worker_that_gave_way_returns_only_if_it_accepts_alone_in_its_slots() -> None:
    fleet = draining()
    one, other = fleet.living(worker(1, 0)), fleet.living(worker(1, 1))

    assert seating.can_return(fleet.state, one)
    one.stalled_since = 15.0
    assert not seating.can_return(fleet.state, one)
    one.stalled_since = None
    other.slots = dict(one.slots)
    assert not seating.can_return(fleet.state, one)
