"""Workers that stop accepting: steered away from, replaced, or given their place back."""

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest

from tests.unit.fleet.driven import (
    POLICY,
    SIGNALLED,
    STALLS,
    A,
    B,
    Driven,
    draining,
    failures,
    looks,
    serving,
    shared,
    spawns,
    starting,
    steered,
    worker,
)
from wssupervisor.fleet import stall
from wssupervisor.fleet.actions import Action, Spawn, Steer
from wssupervisor.fleet.events import (
    CensusTaken,
    Observed,
    RollBackRequested,
    Spawned,
    Steered,
    StopRequested,
    TimePassed,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
    GenerationState,
    Policy,
    WorkerId,
    WorkerState,
)
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import Signal
from wssupervisor.fleet.state import FIRST_SWEEPER, Generation, Seat, SlotWatch, State, Worker
from wssupervisor.fleet.view import view


def stalled(policy: Policy = STALLS) -> tuple[Driven, list[Action]]:
    """Worker 0 has not accepted from second 10 to 20, and what was wanted at second 20."""
    fleet = serving(policy)
    actions = looks(fleet, 10, 19.5, slot_10=1)
    for action in actions:
        if isinstance(action, Steer):
            fleet.handle(Steered(action.epoch), 19.5)
    assert [one for one in actions if not isinstance(one, Steer)] == []
    return fleet, fleet.look(20)


def kinds(fleet: Driven) -> list[str]:
    return [
        one.kind.value for one in fleet.notes if one.kind.value.startswith(("stall", "worker-"))
    ]


def test_a_stalled_worker_is_steered_away_from_and_keeps_its_seat() -> None:
    fleet = serving()

    assert looks(fleet, 10, 15, slot_10=1) == [Steer(3, steered(11))]
    assert view(fleet.state, 15).generations[0].workers[0].state is WorkerState.STALLED
    assert fleet.state.generations[1].seats[0].worker == worker(1)


def test_one_that_accepts_again_is_steered_to_again_and_nothing_else_happens() -> None:
    fleet = serving()
    fleet.steer(looks(fleet, 10, 15, slot_10=3), 15)

    assert fleet.look(15.5, slot_10=2) == [Steer(4, steered(10, 11))]
    assert kinds(fleet)[-2:] == ["worker-stalled", "worker-accepts"]
    assert fleet.state.generations[1].seats[0].failures == 0


def test_a_census_that_finds_more_connections_shows_an_accept_though_the_queue_is_full() -> None:
    fleet = serving(STALLS)
    looks(fleet, 10, 15, slot_10=4097)
    fleet.census(15, {worker(1): 7})  # they may have been there before

    assert kinds(fleet)[-1] == "worker-stalled"

    fleet.census(16, {worker(1): 8})

    assert kinds(fleet)[-1] == "worker-accepts"


def test_one_that_does_not_accept_for_long_is_replaced_and_steered_to_until_that_is_ready() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)

    assert actions == [Spawn(worker(1, 0, 2), A, {"ws": 11})]
    assert looks(fleet, 20.5, 25) == []
    assert fleet.handle(WorkerReady(worker(1, 0, 2)), 25) == [
        Steer(3, steered(11)),
        Spawn(worker(1, FIRST_SWEEPER), A, {"ws": 10}),
    ]
    assert fleet.state.generations[1].workers[worker(1)].state is WorkerState.STALLED


def test_one_that_accepts_before_its_replacement_is_ready_has_its_seat_back() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)

    assert fleet.look(22, slot_10=0) == [Signal(worker(1, 0, 2), "SIGTERM")]
    assert fleet.state.generations[1].seats[0].worker == worker(1)

    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(status=0)), 23)

    assert fleet.state.generations[1].seats[0].failures == 0
    assert fleet.look(24) == []


def test_one_that_accepts_after_it_was_replaced_drains_and_serves_when_the_other_stalls() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)
    fleet.steer(fleet.handle(WorkerReady(worker(1, 0, 2)), 21), 21)
    fleet.look(22, slot_10=0)

    assert fleet.state.generations[1].workers[worker(1)].state is WorkerState.STALLED

    fleet.handle(WorkerExited(worker(1, FIRST_SWEEPER), Exit(status=0)), 23)
    fleet.look(24)

    assert fleet.state.generations[1].workers[worker(1)].state is WorkerState.DRAINING
    assert looks(fleet, 30, 41, slot_11=1) == [
        Steer(4, steered(10)),
        Spawn(worker(1, FIRST_SWEEPER + 1), A, {"ws": 11}),
    ]
    assert fleet.state.generations[1].seats[0].worker == worker(1)
    assert fleet.state.generations[1].workers[worker(1, 0, 2)].state is WorkerState.STALLED
    assert len(fleet.fields(NoteKind.STALL_REPLACED)) == 2
    assert fleet.fields(NoteKind.STALL_NOT_REPLACED) == []
    back = fleet.living(worker(1))
    assert (back.state, back.drain, back.gave_way_at) == (WorkerState.READY, None, None)


def test_a_seat_has_at_most_one_worker_more_and_the_limit_is_reported_once() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)
    fleet.spawn_all(fleet.steer(fleet.handle(WorkerReady(worker(1, 0, 2)), 21), 21), 21)
    actions = looks(fleet, 30, 90, slot_11=1, slot_10=1)

    assert [one for one in actions if isinstance(one, Spawn)] == []
    assert kinds(fleet).count("stall-not-replaced") == 1
    shown = view(fleet.state, 90).generations[0].workers
    assert "the limit of replacements is reached" in str([one.reason for one in shown])


def held_up(fleet: Driven, begin: int, end: int) -> list[Action]:
    """Every 5 seconds a census finds that worker 0 waits for its clients; none is accepted."""
    actions = []
    for at in range(begin, end, 5):
        event = CensusTaken({worker(1): 1}, 0, at, {}, frozenset({worker(1)}))
        actions += fleet.steer_any(fleet.handle(event, at), at)
        actions += fleet.steer_any(looks(fleet, at, at + 4.5, slot_10=1), at + 4.5)
    return actions


def test_one_that_slow_clients_hold_up_is_replaced_late_if_at_all() -> None:
    fleet = serving(STALLS)
    fleet.steer_any(looks(fleet, 10, 14, slot_10=1), 14)

    assert [one for one in held_up(fleet, 15, 300) if isinstance(one, Spawn)] == []
    assert kinds(fleet).count("stall-not-replaced") == 1
    assert kinds(fleet).count("stall-replaced") == 0

    late = held_up(fleet, 300, 320)

    assert [one.worker for one in late if isinstance(one, Spawn)] == [worker(1, 0, 2)]


def test_one_that_its_clients_do_not_hold_up_any_more_is_replaced() -> None:
    fleet = serving(STALLS)
    fleet.steer_any(looks(fleet, 10, 14, slot_10=1), 14)
    held_up(fleet, 15, 30)
    actions = looks(fleet, 30, 36, slot_10=1)

    assert [one.worker for one in actions if isinstance(one, Spawn)] == [worker(1, 0, 2)]


def test_replacements_for_stalls_come_with_growing_pauses() -> None:
    fleet, actions = stalled()
    spawned: list[float] = []
    for half in range(2 * 300):
        at = 20 + half / 2
        for action in actions:
            match action:
                case Spawn(worker=who):
                    spawned.append(at)
                    fleet.handle(Spawned(who, 5), at)
                case Signal(worker=who):
                    fleet.handle(WorkerExited(who, Exit(status=0)), at)
                case Steer(epoch=epoch):
                    fleet.handle(Steered(epoch), at)
        # It accepts for a moment every 15 seconds, before its replacement is ready.
        accepts = half % 30 == 0
        actions = fleet.look(at + 0.25, slot_10=0 if accepts else 1)

    gaps = [later - earlier for earlier, later in pairwise(spawned)]
    assert len(spawned) <= 6
    assert gaps == sorted(gaps)
    assert all(gap >= 10 for gap in gaps)


def test_a_candidate_that_pauses_is_waited_for_and_one_that_does_not_accept_fails() -> None:
    fleet = serving(STALLS)
    fleet.policy = replace(STALLS, stable=5.0)
    fleet.begin_reload(10)
    fleet.make_ready(2, 10.2)
    fleet.queues[11] = 1
    waited = looks(fleet, 10.5, 15)
    fleet.state.reload.deadline = inf  # type: ignore[union-attr]

    assert [one for one in waited if isinstance(one, Steer)] == []

    failed = looks(fleet, 15.5, 21)

    assert "its queue has not moved for 10" in str(failed)


def test_an_old_worker_that_does_not_accept_leaves_its_queue_to_a_sweeper() -> None:
    fleet = draining()
    actions = looks(fleet, 13, 23, slot_10=1)

    assert actions == [Spawn(worker(2, FIRST_SWEEPER), B, {"ws": 10})]


def test_a_sweeper_that_does_not_accept_either_is_ended_before_there_is_another() -> None:
    fleet = serving()
    lives: set[WorkerId] = set()
    most = spawned = 0
    for half in range(600):
        at = 10 + half / 2
        actions = fleet.look(at, slot_17=1)
        actions += fleet.census(at, dict.fromkeys(lives, 0))
        for action in actions:
            match action:
                case Spawn(worker=who):
                    lives.add(who)
                    spawned += 1
                    fleet.handle(Spawned(who, 5), at)
                case Signal(worker=who):
                    lives.remove(who)
                    fleet.handle(WorkerExited(who, Exit(status=0)), at)
        most = max(most, len(lives))

    assert most == 1
    assert 2 <= spawned <= 12


def test_a_stalled_sweeper_that_accepts_again_is_not_ended_while_clients_are_queued() -> None:
    fleet = serving()
    fleet.spawn_all(fleet.look(10, slot_17=3), 10)
    looks(fleet, 10.5, 60, slot_17=3)
    sweeper = worker(1, FIRST_SWEEPER)

    assert fleet.state.generations[1].workers[sweeper].state is WorkerState.STALLED

    fleet.look(60, slot_17=2)

    assert fleet.census(60, {sweeper: 0}) == [], "it may have accepted another one since"


def test_a_queue_that_moves_is_not_stalled_however_long_it_is() -> None:
    fleet = serving()

    for tenth in range(40):
        assert fleet.look(10 + tenth / 10, slot_10=50 - tenth % 2) == []


def test_a_queue_that_we_did_not_watch_is_not_stalled() -> None:
    fleet = serving()
    fleet.look(10, slot_10=5)

    assert fleet.look(20) == []


# -- queues ---------------------------------------------------------------------------------------


def watched(*looks_at: tuple[float, int]) -> SlotWatch:
    """(instant, queue length) by turns."""
    found = SlotWatch()
    for at, queued in looks_at:
        stall.look(found, queued, at)
    return found


@pytest.mark.parametrize(
    ("looks_at", "stuck_since", "moved_at"),
    [
        ([(1, 0)], None, 1),
        ([(1, 3)], 1, None),
        ([(1, 3), (2, 3)], 1, None),
        ([(1, 3), (2, 4)], 1, None),
        ([(1, 3), (2, 2)], 2, 2),
        ([(1, 3), (2, 0)], None, 2),
        ([(1, 0), (2, 3)], 2, 1),
        ([(1, 3), (2.1, 3)], 2.1, None),
    ],
)
def test_a_queue_is_stuck_since_the_first_of_looks_close_together_that_saw_it_not_shrink(
    looks_at: list[tuple[float, int]], stuck_since: float | None, moved_at: float | None
) -> None:
    found = watched(*looks_at)

    assert (found.stuck_since, found.moved_at) == (stuck_since, moved_at)
    assert (found.seen_at, found.queued) == looks_at[-1]


def test_a_queue_is_stalled_once_it_has_been_stuck_for_the_limit() -> None:
    found = watched((1, 3), (2, 3))

    assert not stall.stalled(found, 2.0, now=2.9)
    assert stall.stalled(found, 2.0, now=3)
    assert not stall.stalled(watched((1, 0)), 2.0, now=9)


def test_the_limits_are_those_that_the_manual_names() -> None:
    assert (stall.LOOK_GAP_SECONDS, stall.PAUSE_MAX_SECONDS, stall.HELD_UP_MAX_SECONDS) == (
        1.0,
        300.0,
        300.0,
    )
    assert stall.QUIET_PAUSES == 10.0
    assert stall.patience(replace(POLICY, accept_stall=2.0, replace_stalled=10.0)) == 10.0
    assert stall.patience(replace(POLICY, accept_stall=20.0, replace_stalled=10.0)) == 20.0


def test_a_look_at_a_slot_that_is_no_more_is_ignored() -> None:
    fleet = serving()
    event = Observed({**fleet.queues, 999: 5}, fleet.state.steering.epoch)

    assert fleet.handle(event, 10) == []
    assert 999 not in fleet.state.slots


# -- away and back --------------------------------------------------------------------------------


def test_a_worker_is_steered_away_from_at_its_limit_and_with_its_time_in_the_report() -> None:
    fleet = serving()

    assert looks(fleet, 10, 11.5, slot_10=1) == []
    assert fleet.look(12) == [Steer(3, steered(11))]
    assert fleet.fields(NoteKind.WORKER_STALLED) == [
        {
            "generation": 1,
            "worker": "1.0.1",
            "pid": 1000,
            "reason": "its queue has not moved for 2 s",
        }
    ]


def test_a_worker_has_its_limit_from_when_it_was_ready() -> None:
    """Clients may have waited in its slot long before."""
    fleet = starting()
    looks(fleet, 2, 9.5, slot_10=1)
    fleet.make_ready(1, 9.5)
    fleet.steer(fleet.handle(TimePassed(), 10.5), 10.5)

    assert looks(fleet, 10.5, 11, slot_10=1) == []
    assert any(isinstance(one, Steer) for one in fleet.look(11.5))
    assert fleet.living(worker(1)).stalled_since == 9.5


def test_a_worker_with_two_listeners_accepts_again_when_both_queues_have_moved() -> None:
    one = Worker(worker(1), {"ws": 10, "raw": 20}, WorkerState.READY, 0.0, ready_at=1.0)
    state = State({}, slots={10: SlotWatch(moved_at=6.0), 20: SlotWatch(moved_at=5.0)})
    one.stalled_since = 5.0

    assert not stall._accepts_again(state, one)
    state.slots[20].moved_at = 5.1
    assert stall._accepts_again(state, one)
    state.slots[10].moved_at = None
    assert not stall._accepts_again(state, one)


def test_an_accept_is_reported_with_the_time_that_it_took() -> None:
    fleet = serving()
    fleet.steer(looks(fleet, 10, 15, slot_10=3), 15)
    fleet.look(15.5, slot_10=2)
    one = fleet.living(worker(1))

    assert fleet.fields(NoteKind.WORKER_ACCEPTS)[0]["seconds"] == 5.5
    assert (one.stalled_since, one.stalled_with, one.held_up_at) == (None, None, None)


def test_after_an_accept_that_a_census_found_the_queue_is_stuck_since_then() -> None:
    fleet = serving(STALLS)
    looks(fleet, 10, 15, slot_10=4097)
    fleet.census(15, {worker(1): 7})
    fleet.census(16, {worker(1): 8})

    assert fleet.state.slots[10].stuck_since == 16
    assert fleet.state.slots[11].stuck_since is None


def test_the_same_count_of_connections_is_no_accept() -> None:
    fleet = serving(STALLS)
    looks(fleet, 10, 15, slot_10=4097)
    for at in (15, 16):
        fleet.census(at, {worker(1): 7})

    assert fleet.fields(NoteKind.WORKER_ACCEPTS) == []


def test_a_census_begun_before_the_stall_proves_no_accept() -> None:
    fleet = serving(STALLS)
    looks(fleet, 10, 15, slot_10=4097)
    fleet.handle(CensusTaken({worker(1): 3}, 0, began_at=9.9), 15)

    assert fleet.living(worker(1)).stalled_with is None

    fleet.handle(CensusTaken({worker(1): 3}, 0, began_at=10), 15.5)

    assert fleet.living(worker(1)).stalled_with == 3


def test_a_worker_that_drains_and_stalls_after_it_was_reported_is_reported_once() -> None:
    fleet = serving()
    fleet.steer(looks(fleet, 5, 9, slot_10=1), 9)
    fleet.deploy(2, 9)
    looks(fleet, 10.5, 20)

    assert fleet.living(worker(1)).state is WorkerState.STALLED
    assert len(fleet.fields(NoteKind.WORKER_STALLED)) == 1


# -- replacements ---------------------------------------------------------------------------------


def test_a_replacement_is_reported_and_due_at_its_instant() -> None:
    fleet = serving(STALLS)
    looks(fleet, 10, 19, slot_10=1)

    assert fleet.next_deadline() == 20
    assert fleet.handle(TimePassed(), 19.9) == []
    assert len(spawns(fleet.handle(TimePassed(), 20))) == 1
    assert fleet.fields(NoteKind.STALL_REPLACED) == [
        {"generation": 1, "worker": "1.0.1", "pid": 1000, "seconds": 10}
    ]
    assert fleet.next_deadline() == 50, "the replacement's own start"


def test_a_candidate_that_does_not_accept_fails_its_reload_at_its_limit() -> None:
    fleet = serving(STALLS)
    fleet.policy = replace(STALLS, stable=60.0)
    fleet.begin_reload(10)
    fleet.make_ready(2, 10)
    looks(fleet, 10.5, 20, slot_11=1)

    assert fleet.next_deadline() == 20.5
    assert failures(fleet.handle(TimePassed(), 20.4)) == []
    assert failures(fleet.handle(TimePassed(), 20.5)) == [
        "worker 0 of generation 2: its queue has not moved for 10 s"
    ]


def test_the_reason_shown_says_what_comes_next() -> None:
    fleet = serving(STALLS)
    looks(fleet, 10, 15, slot_10=1)

    def reason(at: float) -> str | None:
        return view(fleet.state, at).generations[0].workers[0].reason

    assert reason(15) == "its queue has not moved for 5 s"
    looks(fleet, 15.5, 19.5)
    fleet.look(20)
    assert reason(20) == "its queue has not moved for 10 s; a replacement is starting"


def test_the_reason_shown_of_a_worker_that_slow_clients_hold_up_says_so() -> None:
    fleet = serving(STALLS)
    fleet.steer_any(looks(fleet, 10, 14, slot_10=1), 14)
    held_up(fleet, 15, 30)
    (shown,) = view(fleet.state, 30).generations[0].workers

    assert shown.reason is not None
    assert "; it waits for slow clients, and is not replaced for that" in shown.reason
    (note,) = fleet.fields(NoteKind.STALL_NOT_REPLACED)
    assert "slow clients" in str(note["reason"])
    assert fleet.next_deadline() == 35, "ten seconds after the census that found it"


def test_after_five_minutes_a_worker_that_slow_clients_hold_up_is_replaced_too() -> None:
    fleet = serving(STALLS)
    fleet.steer_any(looks(fleet, 10, 14, slot_10=1), 14)
    held_up(fleet, 15, 305)

    assert fleet.next_deadline() == 10 + 300
    assert len(spawns(fleet.handle(TimePassed(), 310))) == 1


def settled_seat() -> tuple[Generation, Seat]:
    seat = Seat(0, {"ws": 10})
    found = Generation(1, A, STALLS, GenerationState.ACTIVE, 0.0, seats=[seat])
    return found, seat


@pytest.mark.parametrize(
    ("replacements", "pause"), [(0, 10), (1, 10), (2, 20), (3, 40), (5, 160), (6, 300), (99, 300)]
)
def test_pauses_between_replacements_double_up_to_five_minutes(
    replacements: int, pause: float
) -> None:
    found, seat = settled_seat()
    seat.replacements = replacements

    assert stall._pause(found, seat) == pause
    assert stall._pause_over(found, seat) == 0
    seat.replaced_at = 7.0
    assert stall._pause_over(found, seat) == 7 + pause


@pytest.mark.parametrize(("quiet", "replacements"), [(99.0, 2), (100.0, 1)])
def test_after_ten_pauses_without_one_the_next_replacement_counts_as_the_first(
    quiet: float, replacements: int
) -> None:
    fleet = serving(STALLS)
    seat = fleet.state.generations[1].seats[0]
    seat.replacements, seat.replaced_at = 1, 20.0 - quiet
    looks(fleet, 10, 20, slot_10=1)

    assert (seat.replacements, seat.replaced_at) == (replacements, 20)


def test_a_replacement_too_soon_after_another_is_put_off_and_reported_once() -> None:
    fleet = serving(STALLS)
    seat = fleet.state.generations[1].seats[0]
    seat.replacements, seat.replaced_at = 2, 10.0
    found = looks(fleet, 10, 25, slot_10=1)

    assert spawns(found) == []
    (note,) = fleet.fields(NoteKind.STALL_NOT_REPLACED)
    assert note["reason"] == "the next replacement starts in 10 s at the earliest"
    assert fleet.next_deadline() == 30
    assert spawns(looks(fleet, 25.5, 29.5)) == []
    assert len(spawns(fleet.look(30))) == 1


def test_while_the_worker_that_gave_way_lives_there_is_no_second_replacement() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)
    fleet.spawn_all(fleet.steer(fleet.handle(WorkerReady(worker(1, 0, 2)), 21), 21), 21)
    looks(fleet, 60, 71, slot_11=1, slot_10=1)
    (note,) = fleet.fields(NoteKind.STALL_NOT_REPLACED)

    assert note["reason"] == (
        "process 1000 gave way before, and still has connections or clients queued"
    )
    assert fleet.next_deadline() is None


def test_a_worker_that_gave_way_while_another_serves_its_slot_accepts_for_itself_alone() -> None:
    """A queue that a sweeper empties is no sign of life of the worker that gave way."""
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)
    fleet.spawn_all(fleet.steer(fleet.handle(WorkerReady(worker(1, 0, 2)), 21), 21), 21)
    fleet.look(22, slot_10=0)

    assert fleet.living(worker(1)).state is WorkerState.STALLED
    assert fleet.living(worker(1)).stalled_since == 22


def test_no_replacement_is_started_while_the_instance_stops() -> None:
    fleet = serving(STALLS)
    looks(fleet, 10, 19, slot_10=1)
    fleet.handle(StopRequested(None), 19.5)

    assert spawns(fleet.look(20)) == []


def test_a_worker_that_is_rolled_back_to_and_does_not_accept_fails_the_rollback() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), 13)
    looks(fleet, 13, 14, slot_10=1)
    fleet.spawn_all(fleet.handle(RollBackRequested(7), 14), 14)
    found = looks(fleet, 14.5, 23)

    assert failures(found) == ["worker 0 of generation 1: its queue has not moved for 10 s"]
    assert fleet.living(worker(1, 0)).state is WorkerState.DRAINING
    assert fleet.state.generations[1].state is GenerationState.DRAINING


def test_a_worker_that_gave_way_may_have_its_place_back_once_its_clients_let_it() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)
    fleet.spawn_all(fleet.steer(fleet.handle(WorkerReady(worker(1, 0, 2)), 21), 21), 21)
    new = fleet.living(worker(1, 0, 2))
    looks(fleet, 30, 35, slot_11=1, slot_10=1)
    event = CensusTaken({new.id: 1}, 0, 35, {}, frozenset({new.id}))
    fleet.handle(event, 35)
    looks(fleet, 35.5, 41, slot_11=1, slot_10=1)

    assert new.held_up_at == 35
    assert fleet.state.generations[1].seats[0].not_replaced == new.id
    assert fleet.next_deadline() == 45


def test_workers_on_a_shared_listener_stall_together() -> None:
    fleet = shared()
    looks(fleet, 10, 12, slot_10=1)

    assert [one["worker"] for one in fleet.fields(NoteKind.WORKER_STALLED)] == ["1.0.1", "1.1.1"]


def test_the_queue_of_a_shared_listener_says_nothing_of_a_worker_that_drains() -> None:
    fleet = shared(SIGNALLED)
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    counts = {worker(1, 0): 3, worker(1, 1): 3}
    fleet.steer(fleet.handle(CensusTaken(counts, 0, 13, {}), 13), 13)
    looks(fleet, 13, 30, slot_10=1)

    assert fleet.living(worker(1, 0)).state is WorkerState.DRAINING


def gave_way() -> Driven:
    """Worker 0 gave way to its replacement in second 21; its queue is stuck."""
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)
    fleet.spawn_all(fleet.steer(fleet.handle(WorkerReady(worker(1, 0, 2)), 21), 21), 21)
    looks(fleet, 21.5, 70)
    return fleet


def test_a_worker_that_gave_way_is_not_ended_for_its_queue() -> None:
    fleet = gave_way()
    for at in (70, 71):
        fleet.census(at, {worker(1): 0})

    assert fleet.living(worker(1)).state is WorkerState.STALLED


@pytest.mark.parametrize(("connections", "ended"), [(0, True), (1, False)])
def test_a_sweeper_that_does_not_accept_ends_unless_it_has_connections(
    connections: int, ended: bool
) -> None:
    fleet = gave_way()
    sweeper = worker(1, FIRST_SWEEPER)
    fleet.census(70, {sweeper: connections})

    assert (fleet.living(sweeper).state is WorkerState.STOPPING) is ended


def test_a_worker_is_stuck_since_the_first_of_its_queues_but_not_before_it_was_ready() -> None:
    state = State({}, slots={10: SlotWatch(stuck_since=0.5), 20: SlotWatch(stuck_since=5.0)})
    state.slots[30] = SlotWatch()
    one = Worker(worker(1), {"a": 10, "b": 20, "c": 30}, WorkerState.DRAINING, 0.0)

    assert stall._stuck_since(state, one) == 0.5
    one.ready_at = 2.0
    assert stall._stuck_since(state, one) == 2.0


def test_a_queue_that_another_worker_empties_counts_from_its_last_move() -> None:
    fleet = serving()
    one, other = fleet.living(worker(1, 0)), fleet.living(worker(1, 1))
    one.state, one.stalled_since = WorkerState.STALLED, 0.5
    one.slots = {"a": 10, "b": 11}
    other.slots = {"a": 10}
    slots = fleet.state.slots
    slots[10].moved_at, slots[11].moved_at = None, None

    assert not stall._accepts_again(fleet.state, one)
    assert one.stalled_since == 0.5
    slots[10].moved_at, slots[11].moved_at = 7.0, 6.0
    assert not stall._accepts_again(fleet.state, one)
    assert one.stalled_since == 7.0
    other.stalled_since = 6.5
    slots[10].moved_at = slots[11].moved_at = 8.0
    assert stall._accepts_again(fleet.state, one), "it alone can have done that"


@pytest.mark.parametrize(
    ("gave_way_at", "slot", "back"), [(20.0, 15, True), (None, 15, False), (20.0, 10, False)]
)
def test_only_a_worker_that_gave_way_and_is_apart_from_seats_leaves_its_stall(
    gave_way_at: float | None, slot: int, back: bool
) -> None:
    fleet = serving()
    one = Worker(worker(1, 0, 9), {"ws": slot}, WorkerState.STALLED, 0.0, stalled_since=10.0)
    one.gave_way_at, one.reason = gave_way_at, "why"
    found = list(stall.accepts(fleet.state, one, 25.0))

    assert len(found) == int(back)
    assert one.state is (WorkerState.DRAINING if back else WorkerState.STALLED)
    assert (one.stalled_since is None) is back
