"""Rolling back: at once to a warm generation, or to a new one of the same release."""

from dataclasses import replace

from tests.unit.fleet.driven import POLICY, A, draining, steered, worker
from wssupervisor.fleet.actions import Answer, CutOver, Failed, Spawn, Steer
from wssupervisor.fleet.events import (
    RollBackRequested,
    SlotReleased,
    TimePassed,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
    GenerationState,
    WorkerState,
)
from wssupervisor.fleet.orders import Signal


def test_a_warm_generation_is_rolled_back_to_at_once() -> None:
    fleet = draining()

    assert fleet.handle(RollBackRequested(7), 20) == [], "before the requester knows its id"
    assert fleet.next_deadline() == 20.001
    steer = fleet.handle(TimePassed(), 20.5)
    assert steer == [Steer(4, steered(10, 11))]
    assert fleet.steer(steer, 20.5) == [Answer(7, CutOver(2, 1, 2, 0.5))]
    assert [one.number for one in fleet.state.in_state(GenerationState.DRAINING)] == [2]
    assert [one.state for one in fleet.state.generations[1].workers.values()] == [
        WorkerState.READY,
        WorkerState.READY,
    ]


def test_what_is_missing_is_respawned_of_the_same_release_and_judged_first() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 1), Exit(status=1)), 15)
    fleet.look(15)
    spawns = fleet.handle(RollBackRequested(7), 20)
    fleet.spawn_all(spawns, 20)

    assert spawns == [Spawn(worker(1, 1, 2), A, {"ws": 11})]
    assert fleet.handle(WorkerReady(worker(1, 1, 2)), 21) == []
    assert fleet.handle(TimePassed(), 22) == [Steer(4, steered(10, 11))]


def test_a_worker_that_had_the_drain_signal_is_not_rolled_back_to() -> None:
    fleet = draining(replace(POLICY, drain_signal="SIGUSR1"))

    assert fleet.handle(RollBackRequested(7), 20) == [
        Spawn(worker(1, 0, 2), A, {"ws": 14}),
        Spawn(worker(1, 1, 2), A, {"ws": 15}),
    ]


def test_a_roll_back_that_fails_changes_nothing() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 1), Exit(status=1)), 15)
    fleet.look(15)
    fleet.spawn_all(fleet.handle(RollBackRequested(7), 20), 20)
    fleet.census(21, {worker(1, 0): 0})
    fleet.census(22, {worker(1, 0): 0})
    actions = fleet.handle(WorkerExited(worker(1, 1, 2), Exit(status=1)), 30)

    assert actions == [
        Answer(
            7,
            Failed(
                "reload-failed",
                "worker 1 of generation 1 exited with status 1 before it was ready",
                2,
                worker(1, 1, 2),
            ),
        )
    ]
    assert fleet.state.generations[1].state is GenerationState.DRAINING
    fleet.census(31, {worker(1, 0): 0})
    assert fleet.census(32, {worker(1, 0): 0}) == [Signal(worker(1, 0), "SIGTERM")]


def test_a_worker_that_stalls_during_its_rollback_ends_when_it_is_empty() -> None:
    fleet = draining()
    fleet.handle(RollBackRequested(7), 19)
    steer = fleet.handle(TimePassed(), 20)
    fleet.handle(SlotReleased(worker(1, 0)), 20)
    away = fleet.steer(steer, 20)
    fleet.spawn_all(away, 20)
    fleet.steer(away, 20)
    fleet.handle(WorkerReady(worker(1, 0, 2)), 21)
    fleet.look(24)
    idle = {worker(1, 0): 0, worker(1, 1): 0, worker(1, 0, 2): 0}
    fleet.census(25, idle)

    assert fleet.census(26, idle) == [Signal(worker(1, 0), "SIGTERM")]


def test_a_generation_that_has_gone_is_started_again_under_a_new_number() -> None:
    fleet = draining()
    for index in (0, 1):
        fleet.handle(WorkerExited(worker(1, index), Exit(status=0)), 15)
    fleet.look(15)

    assert fleet.handle(RollBackRequested(7), 20) == [
        Spawn(worker(3, 0), A, {"ws": 10}),
        Spawn(worker(3, 1), A, {"ws": 11}),
    ]


def test_a_generation_that_was_rolled_back_from_is_never_a_target() -> None:
    fleet = draining()
    fleet.handle(RollBackRequested(7), 19)
    fleet.steer(fleet.handle(TimePassed(), 20), 20)
    (answer,) = fleet.handle(RollBackRequested(8), 21)

    assert isinstance(answer, Answer)
    assert "no generation to roll back to" in str(answer.outcome)
