"""A generation's drain: its limits, its pauses, and what it reports at its end."""

from dataclasses import replace
from math import inf

import pytest

from tests.unit.fleet.driven import (
    POLICY,
    Driven,
    draining,
    failures,
    library,
    serving,
    worker,
)
from wssupervisor.fleet import draining as own
from wssupervisor.fleet.actions import Answer, DrainChanged
from wssupervisor.fleet.events import (
    DrainLimited,
    DrainPaused,
    DrainResumed,
    LibraryConnected,
    RollBackRequested,
    ScaleRequested,
    SteerFailed,
    TimePassed,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.lifecycle import EMPTY_ROUNDS
from wssupervisor.fleet.model import Exit, GenerationState, Listener, Release, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import AskToClose, Kill, SendDrain, Signal
from wssupervisor.fleet.state import Drain, Generation, State, Worker


def test_a_generation_is_kept_for_a_while_even_without_connections() -> None:
    fleet = draining()
    for second in (13, 14, 15):
        assert fleet.census(second, {worker(1, 0): 0, worker(1, 1): 0}) == []

    assert fleet.next_deadline() == 17
    assert fleet.handle(TimePassed(), 17) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


def test_a_limit_ends_a_drain_with_its_connections() -> None:
    fleet = draining(replace(POLICY, drain_timeout=60.0))
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 5})

    assert fleet.handle(TimePassed(), 71.9) == []
    assert fleet.handle(TimePassed(), 72) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]
    assert fleet.handle(TimePassed(), 82) == [Kill(worker(1, 0)), Kill(worker(1, 1))]


def test_an_operator_can_give_a_drain_a_limit() -> None:
    fleet = draining()

    assert fleet.handle(DrainLimited(9, 1, 3.0), 13) == [
        Answer(9, DrainChanged(1, workers=2, connections=0, paused=False, seconds=3.0))
    ]
    assert fleet.next_deadline() == 16
    assert len(fleet.handle(TimePassed(), 16)) == 2


def test_only_a_draining_generation_can_be_given_a_limit() -> None:
    (answer,) = draining().handle(DrainLimited(9, 2, 0.0), 13)

    assert "generation 2 is not draining (draining: 1)" in str(answer)


def test_a_limit_can_be_taken_away_again() -> None:
    fleet = draining(replace(POLICY, drain_timeout=60.0))
    fleet.handle(DrainLimited(9, 1, inf), 13)

    assert fleet.next_deadline() is None


def test_a_paused_drain_is_left_alone_by_its_limit_and_when_it_is_empty() -> None:
    fleet = draining(replace(POLICY, drain_timeout=60.0))
    fleet.handle(DrainPaused(9, 1), 22)
    for at in (23, 24, 25):
        fleet.census(at, {worker(1, 0): 0, worker(1, 1): 3})

    assert fleet.handle(TimePassed(), 1000) == []
    assert fleet.next_deadline() is None

    (answer, *rest) = fleet.handle(DrainResumed(10, 1), 1022)

    assert answer == Answer(
        10, DrainChanged(1, workers=2, connections=3, paused=False, seconds=50.0)
    )
    assert rest == [Signal(worker(1, 0), "SIGTERM")]
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=0)), 1023)
    assert fleet.handle(TimePassed(), 1022 + 50) == [Signal(worker(1, 1), "SIGTERM")]


def test_the_last_worker_of_an_old_generation_retires_it() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=0)), 14)
    fleet.handle(WorkerExited(worker(1, 1), Exit(status=0)), 15)

    assert list(fleet.state.generations) == [2]
    assert fleet.notes[-1] == Note(
        NoteKind.GENERATION_RETIRED,
        {"generation": 1, "seconds": 3.0, "connections": 0, "forced": 0, "lost": 0},
    )


def retired(fleet: Driven, now: float) -> dict[str, object]:
    """What is said of generation 1 when both its workers have gone."""
    for index in (0, 1):
        fleet.handle(WorkerExited(worker(1, index), Exit(status=0)), now)
    note = fleet.notes[-1]
    assert note.kind is NoteKind.GENERATION_RETIRED
    return dict(note.fields)


def test_a_retired_generation_reports_connections_that_ended_were_closed_or_were_lost() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 9, worker(1, 1): 3})
    fleet.census(14, {worker(1, 0): 5, worker(1, 1): 2})
    fleet.handle(WorkerExited(worker(1, 1), Exit(status=1)), 15)
    fleet.handle(DrainLimited(9, 1, 0.0), 16)
    fleet.census(17, {worker(1, 0): 1})

    assert retired(fleet, 22) == {
        "generation": 1, "seconds": 10, "connections": 12, "forced": 5, "lost": 2
    }  # fmt: skip


def test_connections_that_a_worker_need_not_close_after_all_are_not_forced() -> None:
    fleet = draining()
    for index in (0, 1):
        fleet.handle(LibraryConnected(worker(1, index), closes=True, releases_sockets=False), 12)
    fleet.census(13, {worker(1, 0): 10, worker(1, 1): 0})
    fleet.handle(DrainLimited(9, 1, 1.0), 13)
    fleet.handle(TimePassed(), 13)
    fleet.census(14, {worker(1, 0): 7, worker(1, 1): 0})
    fleet.handle(DrainPaused(9, 1), 14)
    fleet.census(15, {worker(1, 0): 0, worker(1, 1): 0})

    assert retired(fleet, 20)["forced"] == 3


# -- which generation drains, and in which order --------------------------------------------------


@pytest.mark.parametrize("event", [DrainPaused(9, 2), DrainResumed(9, 2), DrainLimited(9, 2, 0.0)])
def test_what_an_operator_changes_of_a_generation_that_does_not_drain_is_refused(
    event: DrainPaused | DrainResumed | DrainLimited,
) -> None:
    fleet, other = draining(), serving()

    assert failures(fleet.handle(event, 13)) == ["generation 2 is not draining (draining: 1)"]
    assert failures(other.handle(event, 13)) == ["generation 2 is not draining (draining: none)"]
    assert fleet.fields(NoteKind.DRAIN_PAUSED) == fleet.fields(NoteKind.DRAIN_RESUMED) == []


def test_a_candidate_for_a_rollback_does_not_drain_meanwhile() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), 13)
    fleet.look(13)
    fleet.spawn_all(fleet.handle(RollBackRequested(7), 14), 14)

    assert "generation 1 is not draining" in failures(fleet.handle(DrainPaused(9, 1), 15))[0]


def test_workers_that_were_scaled_away_drain_as_an_operator_says() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(ScaleRequested(7, 1), 10), 10)

    assert fleet.handle(DrainLimited(9, 1, 5.0), 11) == [
        Answer(9, DrainChanged(1, workers=1, connections=0, paused=False, seconds=5.0))
    ]


def generation(number: int, since: float | None, *counts: int, empty_rounds: int = 0) -> Generation:
    """It drains since then, one worker with each of these connections."""
    found = Generation(number, Release(("x",), "/"), POLICY, GenerationState.DRAINING, 0.0)
    found.drain_since = since
    for index, connections in enumerate(counts):
        one = Worker(worker(number, index), {}, WorkerState.DRAINING, 0.0, connections=connections)
        one.drain = Drain(since or 0.0, 0.0, None, empty_rounds=empty_rounds)
        found.workers[one.id] = one
    return found


def state(*generations: Generation) -> State:
    return State({"ws": Listener("ws", (1,))}, generations={one.number: one for one in generations})


def numbers(found: list[Generation]) -> list[int]:
    return [one.number for one in found]


def test_the_oldest_drain_is_the_one_that_began_first_whatever_its_number() -> None:
    """After a rollback a generation with a lower number may have begun later."""
    found = state(generation(1, 30.0), generation(3, 10.0), generation(2, 10.0), generation(4, 5.0))

    assert numbers(own.oldest(found)) == [4, 2, 3, 1]


def test_a_refusal_lists_the_drains_with_the_oldest_first() -> None:
    fleet = draining()
    fleet.handle(RollBackRequested(7), 13)
    fleet.steer(fleet.handle(TimePassed(), 14), 14)
    fleet.look(14)
    fleet.deploy(3, 15)

    assert failures(fleet.handle(DrainPaused(9, 3), 17)) == [
        "generation 3 is not draining (draining: 2, 1)"
    ]


def test_the_emptiest_is_first_and_of_those_with_connections_the_smallest() -> None:
    found = state(
        generation(1, 1.0, 3, 4),
        generation(2, 2.0, 5),
        generation(3, 3.0, 0, empty_rounds=EMPTY_ROUNDS),
        generation(4, 4.0, 0, empty_rounds=EMPTY_ROUNDS - 1),
    )

    assert numbers(own.emptiest(found)) == [3, 4, 2, 1]


def test_a_generation_is_empty_if_each_of_its_workers_is_or_ends() -> None:
    found = generation(1, 1.0, 0, 0, empty_rounds=EMPTY_ROUNDS)
    first, second = found.workers.values()

    assert own.empty(found)
    assert second.drain is not None
    second.drain.empty_rounds = 1
    assert not own.empty(found)
    second.state = WorkerState.STOPPING
    assert own.empty(found)
    first.drain = None
    assert not own.empty(found)


@pytest.mark.parametrize(
    ("state", "deadline", "expected"),
    [
        (WorkerState.STOPPING, None, True),
        (WorkerState.DRAINING, None, False),
        (WorkerState.DRAINING, 10.0, True),
        (WorkerState.DRAINING, 10.1, False),
    ],
)
def test_a_generation_ends_early_already_if_all_its_workers_end_or_are_due(
    state: WorkerState, deadline: float | None, expected: bool
) -> None:
    found = generation(1, 1.0, 0, 0)
    first, second = found.workers.values()
    first.state = WorkerState.STOPPING
    second.state = state
    assert second.drain is not None
    second.drain.deadline = deadline

    assert own.is_ending(found, now=10.0) is expected


def test_a_worker_that_does_not_drain_keeps_its_generation_from_ending_early() -> None:
    found = generation(1, 1.0, 0)
    next(iter(found.workers.values())).drain = None

    assert not own.is_ending(found, now=10.0)


def test_the_deadline_of_a_generation_is_its_last_workers() -> None:
    found = generation(1, 1.0, 2, 2, 2)
    first, second, third = found.workers.values()
    for one, at in ((first, 50.0), (second, 70.0)):
        assert one.drain is not None
        one.drain.deadline = at
    third.drain = None

    assert own.deadline(found) == 70.0
    assert first.drain is not None
    first.drain.paused_at = 3.0
    assert own.paused(found)
    assert own.deadline(found) is None
    first.drain.paused_at = None
    first.drain.deadline = None
    assert own.deadline(found) is None, "one that may take as long as it likes"
    assert own.deadline(generation(2, 1.0)) is None


# -- limits ---------------------------------------------------------------------------------------


def test_a_limit_gives_a_library_its_time_to_close() -> None:
    fleet = draining(replace(POLICY, close_over=20.0))
    fleet.handle(library(worker(1, 0)), 13)
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 3})

    assert fleet.handle(DrainLimited(9, 1, 60.0), 14)[-1] == Answer(
        9, DrainChanged(1, workers=2, connections=8, paused=False, seconds=60.0)
    )
    assert fleet.next_deadline() == 14 + 60 - 20
    assert fleet.handle(TimePassed(), 54) == [AskToClose(worker(1, 0), 1012, over=20.0, by=30.0)]
    assert fleet.handle(TimePassed(), 74) == [Signal(worker(1, 1), "SIGTERM")]


def test_a_limit_shorter_than_the_closing_takes_all_of_it() -> None:
    fleet = draining(replace(POLICY, close_over=20.0))
    fleet.handle(library(worker(1, 0)), 13)
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 0})

    assert AskToClose(worker(1, 0), 1012, over=6.0, by=16.0) in fleet.handle(
        DrainLimited(9, 1, 6.0), 14
    )


def closing() -> Driven:
    """Worker 0 closes its 5 connections in 20 s since second 72; it ends in second 102."""
    fleet = draining(replace(POLICY, drain_timeout=60.0, close_over=20.0))
    fleet.handle(library(worker(1, 0)), 13)
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 0})
    fleet.handle(TimePassed(), 72)
    return fleet


def test_a_limit_that_is_not_nearer_disturbs_no_closing() -> None:
    fleet = closing()

    assert len(fleet.handle(DrainLimited(9, 1, 20.0), 72)) == 1, "the answer alone"
    assert fleet.living(worker(1, 0)).closing_by == 102


def test_a_nearer_limit_lets_a_library_close_faster() -> None:
    fleet = closing()
    actions = fleet.handle(DrainLimited(9, 1, 4.0), 73)

    assert [one for one in actions if isinstance(one, SendDrain | AskToClose)] == [
        SendDrain(worker(1, 0), stop_accepting=False),
        AskToClose(worker(1, 0), 1012, over=4.0, by=14.0),
    ]
    assert fleet.living(worker(1, 0)).forced == 5


def test_a_worker_that_closes_without_its_channel_gets_no_order_with_a_nearer_limit() -> None:
    fleet = closing()
    fleet.living(worker(1, 0)).closes_on_request = False
    actions = list(own._set_limit(fleet.state.generations[1], 0.0, 0.0, 73))

    assert actions == []
    assert fleet.living(worker(1, 0)).closing_by is None


def test_a_limit_of_a_worker_that_ends_already_changes_nothing_of_it() -> None:
    fleet = closing()
    fleet.handle(TimePassed(), 102)
    kill_at = fleet.living(worker(1, 0)).kill_at
    fleet.handle(DrainLimited(9, 1, 500.0), 103)

    assert fleet.living(worker(1, 0)).kill_at == kill_at


def test_a_limit_given_to_a_paused_drain_counts_from_its_resumption() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 5})
    fleet.handle(DrainPaused(9, 1), 14)

    assert fleet.handle(DrainLimited(9, 1, 30.0), 20) == [
        Answer(9, DrainChanged(1, workers=2, connections=10, paused=True, seconds=None))
    ]
    assert fleet.handle(TimePassed(), 500) == []
    fleet.handle(DrainResumed(9, 1), 520)
    assert fleet.next_deadline() == 520 + 30


def test_no_limit_leaves_a_paused_drain_paused() -> None:
    fleet = draining(replace(POLICY, drain_timeout=60.0))
    fleet.handle(DrainPaused(9, 1), 14)
    fleet.handle(DrainLimited(9, 1, inf), 20)

    assert own.paused(fleet.state.generations[1])
    assert [one.deadline for one in own.drains(fleet.state.generations[1])] == [None, None]


def test_a_limit_of_zero_ends_a_paused_drain_at_once() -> None:
    fleet = draining()
    fleet.handle(DrainPaused(9, 1), 14)
    actions = fleet.handle(DrainLimited(9, 1, 0.0), 20)

    assert [one for one in actions if isinstance(one, Signal)] == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


def test_pauses_and_resumptions_are_reported() -> None:
    fleet = draining()
    fleet.handle(DrainPaused(9, 1), 14)
    answer = fleet.handle(DrainResumed(10, 1), 15)

    assert fleet.fields(NoteKind.DRAIN_PAUSED) == [{"generation": 1}]
    assert fleet.fields(NoteKind.DRAIN_RESUMED) == [{"generation": 1}]
    assert answer == [
        Answer(10, DrainChanged(1, workers=2, connections=0, paused=False, seconds=None))
    ]


# -- begin and end --------------------------------------------------------------------------------


def test_a_drain_begins_with_its_connections_and_without_counts_of_an_earlier_one() -> None:
    fleet = serving()
    fleet.census(4, {worker(1, 0): 5, worker(1, 1): 3})
    old = fleet.state.generations[1]
    old.forced = old.lost = 9
    fleet.deploy(2, 10)

    assert fleet.fields(NoteKind.DRAIN_BEGUN) == [{"generation": 1, "connections": 8}]
    assert (old.connections_at_start, old.forced, old.lost, old.drain_since) == (8, 0, 0, 11)


def test_a_seat_of_a_draining_generation_gets_no_worker_any_more() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 9), 9)
    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(1)), 9.9)
    assert fleet.next_deadline() == 10.4
    fleet.deploy(2, 10)

    assert fleet.state.generations[1].seats[0].retry_at is None
    assert fleet.next_deadline() is None


def test_connections_of_a_worker_that_ends_unasked_are_lost_only_of_a_drain() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 3, worker(2, 0): 7})
    fleet.handle(WorkerExited(worker(2, 0), Exit(1)), 14)
    fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 14)

    assert fleet.state.generations[1].lost == 5
    assert fleet.state.generations[2].lost == 0
    assert fleet.state.generations[1].forced == 0


def test_a_failed_rollback_ends_what_it_spawned_and_lets_the_others_drain_as_before() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), 13)
    fleet.look(13)
    fleet.spawn_all(fleet.handle(RollBackRequested(7), 14), 14)
    held = [one.held_for_rollback for one in own.drains(fleet.state.generations[1])]
    fleet.census(15, {worker(1, 0): 0})
    fleet.handle(WorkerReady(worker(1, 1, 2)), 15)
    steer = fleet.handle(TimePassed(), 16)
    actions = fleet.handle(SteerFailed(4, "refused"), 16)

    assert held == [True]
    assert len(steer) == 1
    assert Signal(worker(1, 1, 2), "SIGTERM") in actions
    assert fleet.state.generations[1].state is GenerationState.DRAINING
    (drain,) = own.drains(fleet.state.generations[1])
    assert (drain.held_for_rollback, drain.empty_rounds) == (False, 0)
    assert fleet.state.generations[1].drain_since == 12


def test_a_pause_is_answered_with_the_drain_as_it_is() -> None:
    assert draining().handle(DrainPaused(9, 1), 14) == [
        Answer(9, DrainChanged(1, workers=2, connections=0, paused=True, seconds=None))
    ]


def test_a_generation_that_ends_for_want_of_room_ends_at_once() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 5})
    old = fleet.state.generations[1]
    actions = list(own.end_early(fleet.state, old, 14))

    assert [one for one in actions if isinstance(one, Signal)] == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


def test_an_empty_generation_that_is_kept_warm_no_longer_ends_at_once() -> None:
    fleet = draining(replace(POLICY, keep=100.0))
    for at in (13, 14):
        fleet.census(at, {worker(1, 0): 0, worker(1, 1): 0})
    actions = list(own.end_empty(fleet.state, fleet.state.generations[1], 15))

    assert len([one for one in actions if isinstance(one, Signal)]) == 2
    assert [one.keep_until for one in own.drains(fleet.state.generations[1])] == [15, 15]
