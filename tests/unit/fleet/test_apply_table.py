"""Putting a table of new connections in force: when that counts, and what a failure undoes."""

from tests.unit.fleet.driven import (
    PARKING,
    POLICY,
    A,
    Driven,
    draining,
    failures,
    serving,
    starting,
    steered,
    worker,
)
from wssupervisor.fleet.actions import Answer, Failed, Steer
from wssupervisor.fleet.apply_table import RETRY_SECONDS
from wssupervisor.fleet.events import (
    ScaleRequested,
    StartRequested,
    Steered,
    SteerFailed,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.model import Exit, GenerationState, InstanceState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import Signal


def test_a_generation_is_active_only_when_steering_is_in_force() -> None:
    fleet = starting()
    fleet.make_ready(1, 1)
    actions = fleet.handle(TimePassed(), 2)

    assert fleet.shown_state(2) is InstanceState.STARTING

    fleet.steer(actions, 2)

    assert fleet.shown_state(2) is InstanceState.SERVING


def test_steering_that_fails_at_cutover_fails_the_reload() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    actions = fleet.handle(SteerFailed(3, "refused"), 12)

    assert {one.worker.generation for one in actions if isinstance(one, Signal)} == {2}
    assert failures(actions) == ["new connections could not be steered: refused"]
    assert fleet.fields(NoteKind.STEERING_FAILED) == [{"reason": "refused"}]


def test_steering_that_fails_at_the_start_ends_the_instance() -> None:
    fleet = Driven()
    fleet.look(0)
    fleet.handle(StartRequested(A, POLICY), 1)
    fleet.handle(SteerFailed(1, "refused"), 1)

    assert fleet.state.stop is not None
    assert fleet.state.stop.reason == "new connections could not be steered: refused"


def test_steering_that_fails_between_reloads_is_tried_again_after_a_while() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1), Exit(1)), 10)

    assert fleet.handle(SteerFailed(3, "refused"), 10) == []
    assert fleet.state.reload is None
    assert fleet.next_deadline() == 10 + RETRY_SECONDS == 11
    assert fleet.handle(TimePassed(), 10.9) == []
    assert fleet.handle(TimePassed(), 11) == [Steer(4, steered(11))]
    assert fleet.next_deadline() == 40, "the respawned worker's limit"


def test_a_table_that_is_wanted_no_more_is_not_tried_again() -> None:
    fleet = serving()
    fleet.handle(ScaleRequested(5, 1), 10)
    fleet.handle(SteerFailed(3, "refused"), 10)
    fleet.state.steering.current = steered(10)

    assert fleet.handle(TimePassed(), 11) == []
    assert fleet.next_deadline() is None
    assert fleet.state.steering.epoch == 3


def test_a_reload_during_such_a_failure_is_not_failed_by_it() -> None:
    fleet = serving()
    fleet.begin_reload(9, request=7)
    fleet.handle(WorkerExited(worker(1), Exit(1)), 10)

    assert failures(fleet.handle(SteerFailed(3, "refused"), 10)) == []
    assert fleet.state.reload is not None


def test_one_table_at_a_time_is_asked_for() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1), Exit(1)), 10)
    fleet.handle(ScaleRequested(5, 4), 10)
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), 10)

    assert fleet.state.steering.epoch == 3
    assert fleet.state.steering.in_flight == steered(11)


def test_answers_of_an_earlier_table_count_for_nothing() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1), Exit(1)), 10)

    for event in (Steered(2), SteerFailed(2, "refused"), Steered(4), SteerFailed(4, "refused")):
        assert fleet.handle(event, 10) == []
    assert fleet.state.steering.in_flight == steered(11)
    assert fleet.state.steering.current == steered(10, 11)


def test_a_second_answer_for_the_same_table_counts_for_nothing() -> None:
    fleet = serving()

    assert fleet.handle(Steered(2), 10) == []
    assert fleet.handle(SteerFailed(2, "refused"), 10) == []
    assert fleet.fields(NoteKind.STEERING_FAILED) == []
    assert fleet.state.steering.current == steered(10, 11)


def test_slots_that_a_table_ceases_to_name_may_still_get_handshakes_until_its_epoch_is_over() -> (
    None
):
    fleet = Driven()
    fleet.steer(fleet.look(0), 0)
    first = {slot: watch.left_epoch for slot, watch in fleet.state.slots.items()}

    assert {left for slot, left in first.items() if slot != PARKING} == {1}, "all were, before"

    fleet = draining()
    left = {slot: watch.left_epoch for slot, watch in fleet.state.slots.items()}

    assert (left[10], left[11]) == (3, 3)
    assert left[PARKING] == 2
    assert left[14] == 1


def test_a_cutover_that_changes_no_table_is_asked_for_all_the_same() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    fleet.state.steering.current = steered(12, 13)

    assert fleet.handle(TimePassed(), 12) == [Steer(3, steered(12, 13))]
    assert not any(
        isinstance(one, Answer) and isinstance(one.outcome, Failed)
        for one in fleet.handle(Steered(3), 12)
    )
    assert fleet.state.generations[2].state is GenerationState.ACTIVE
