"""Rolling back: at once to a warm generation, or to a new one of the same release."""

from dataclasses import replace

from tests.unit.fleet.driven import (
    POLICY,
    SIGNALLED,
    SLOTS,
    A,
    draining,
    failures,
    serving,
    shared,
    steered,
    worker,
)
from wssupervisor.fleet.actions import Answer, Begun, CutOver, Failed, Spawn, Steer
from wssupervisor.fleet.events import (
    CensusTaken,
    ReloadRequested,
    Requester,
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
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import Signal


def test_a_warm_generation_is_rolled_back_to_at_once() -> None:
    fleet = draining()

    assert fleet.handle(RollBackRequested(7), 20) == [], "before the requester knows its id"
    assert fleet.next_deadline() == 20.001
    steer = fleet.handle(TimePassed(), 20.5)
    assert steer == [Steer(4, steered(10, 11))]
    assert fleet.steer(steer, 20.5) == [Answer(7, CutOver(2, 1, 2, 0.5))]
    assert fleet.cutovers[-1] is not None
    assert fleet.cutovers[-1].reload == 2
    assert [one.number for one in fleet.state.in_state(GenerationState.DRAINING)] == [2]
    assert [one.state for one in fleet.state.generations[1].workers.values()] == [
        WorkerState.READY,
        WorkerState.READY,
    ]


def test_a_rollback_is_named_to_its_requester() -> None:
    actions = draining().core.handle(RollBackRequested(7), 20)

    assert [one for one in actions if isinstance(one, Begun)] == [Begun(7, 2)]


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


def test_a_rollback_is_reported_with_its_target_and_its_requester() -> None:
    fleet = draining()
    fleet.handle(RollBackRequested(7, by=Requester("wssctl", "alice", 4711)), 20)

    assert fleet.fields(NoteKind.ROLLBACK_BEGUN) == [
        {"reload": "r2", "to": 1, "via": "wssctl", "by": "alice", "by_pid": 4711}
    ]


def test_a_rollback_while_a_reload_is_under_way_is_refused_and_reported() -> None:
    fleet = draining()
    fleet.handle(ReloadRequested(5), 20)

    assert failures(fleet.handle(RollBackRequested(7), 20)) == [
        "a reload is under way. Try again when it is done"
    ]
    assert fleet.fields(NoteKind.RELOAD_REFUSED)[0]["attempt"] == "rollback"
    assert fleet.state.last_reload == 2


def test_a_reload_during_a_rollback_is_refused_with_what_is_under_way() -> None:
    fleet = draining()
    fleet.handle(RollBackRequested(7), 20)
    (reason,) = failures(fleet.handle(ReloadRequested(5), 20))

    assert "under way. Try again when it is done" in reason


def test_a_rollback_on_a_shared_listener_needs_a_way_to_release_it() -> None:
    fleet = shared(SIGNALLED)
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    counts = {worker(1, 0): 0, worker(1, 1): 0}
    fleet.steer(fleet.handle(CensusTaken(counts, 0, 13, {}), 13), 13)
    fleet.state.lineage[-1] = replace(fleet.state.lineage[-1], policy=POLICY)
    (reason,) = failures(fleet.handle(RollBackRequested(7), 20))

    assert "Set [drain] signal" in reason
    assert fleet.state.reload is None
    assert fleet.state.generations[1].state is GenerationState.DRAINING


def test_a_rollback_that_needs_a_slot_and_finds_none_fails() -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.deploy(2, 10)
    fleet.census(12, {worker(1, 0): 1, worker(1, 1): 0})
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), 13)
    fleet.look(13, slot_11=1)
    fleet.spawn_all([], 13)
    (reason,) = failures(fleet.handle(RollBackRequested(7), 14))

    assert "no slot of listener 'ws' is free" in reason
    assert fleet.state.generations[1].state is GenerationState.DRAINING


def test_a_warm_generation_is_rolled_back_to_without_any_free_slot() -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.deploy(2, 10)

    assert fleet.handle(RollBackRequested(7), 14) == []
    assert fleet.handle(TimePassed(), 14.5) == [Steer(4, steered(10, 11))]


def test_missing_workers_share_the_free_slots_that_there_are() -> None:
    fleet = draining()
    fleet.look(16, **{f"slot_{slot}": 1 for slot in (15, 16, 17, 18)})
    for index in (0, 1):
        fleet.living(worker(1, index)).stalled_since = 18
    actions = fleet.handle(RollBackRequested(7), 20)

    assert [one for one in actions if isinstance(one, Spawn)] == [
        Spawn(worker(1, 0, 2), A, {"ws": 14}),
        Spawn(worker(1, 1, 2), A, {"ws": 14}),
    ]


def test_the_limit_of_a_rollback_is_its_requesters() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), 15)
    fleet.look(15)
    fleet.spawn_all(fleet.handle(RollBackRequested(7, timeout=5.0), 20), 20)

    assert failures(fleet.handle(TimePassed(), 24.9)) == []
    (reason,) = failures(fleet.handle(TimePassed(), 25))
    assert reason.startswith("not done within 5s: worker 1 of generation 1 not ready yet")


def test_earlier_failures_of_a_seat_do_not_delay_its_worker_after_a_rollback() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), 15)
    fleet.look(15)
    fleet.state.generations[1].seats[1].failures = 5
    fleet.spawn_all(fleet.handle(RollBackRequested(7), 20), 20)
    fleet.handle(WorkerReady(worker(1, 1, 2)), 21)
    fleet.steer(fleet.handle(TimePassed(), 22), 22)

    assert Spawn(worker(1, 1, 3), A, {"ws": 11}) in fleet.handle(
        WorkerExited(worker(1, 1, 2), Exit(1)), 23
    )
