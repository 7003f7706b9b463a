"""What the fleet decides when a worker's main process ends and others of its tree are left."""

from dataclasses import replace
from math import inf

import pytest

from tests.unit.fleet.driven import POLICY, Driven, draining, serving, starting, worker
from wssupervisor.fleet.actions import Action, JudgeLeftover, Probe, Spawn, Steer
from wssupervisor.fleet.events import (
    CensusTaken,
    LeftoverJudged,
    LibraryConnected,
    MainProcessEnded,
    Reexecuted,
    Spawned,
    StopRequested,
    TimePassed,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.health import why_not_ready
from wssupervisor.fleet.model import Exit, InstanceState, WorkerId, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import FreeClients, Kill, Signal

OOM = Exit(signal="SIGKILL")


def last(fleet: Driven, kind: NoteKind) -> Note:
    return [one for one in fleet.notes if one.kind is kind][-1]


def orphaned(fleet: Driven, one: WorkerId, now: float, connections: int = 3) -> list[Action]:
    fleet.census(now, {one: connections})
    return fleet.handle(MainProcessEnded(one, OOM), now)


def test_a_dead_main_process_is_steered_away_from_and_replaced_at_once() -> None:
    fleet = serving()
    actions = orphaned(fleet, worker(1, 0), 20)
    [steer] = [one for one in actions if isinstance(one, Steer)]
    [spawn] = [one for one in actions if isinstance(one, Spawn)]

    assert spawn.worker == worker(1, 0, incarnation=2)
    assert set(spawn.slots.values()).isdisjoint({10, 11})
    assert set(steer.table.weights["ws"]) == {11}
    assert JudgeLeftover(worker(1, 0), {"ws": 10}, drain_signalled=False) in actions
    assert fleet.shown_state(20) is InstanceState.DEGRADED
    assert last(fleet, NoteKind.MAIN_PROCESS_ENDED).fields["connections"] == 3
    assert fleet.handle(MainProcessEnded(worker(1, 0), OOM), 20) == [], "once is enough"


def test_readiness_is_lost_with_the_last_main_process() -> None:
    fleet = serving()
    orphaned(fleet, worker(1, 0), 20)
    orphaned(fleet, worker(1, 1), 20)

    assert why_not_ready(fleet.state) == "no worker of generation 1 is ready"


def test_what_serves_drains_until_its_connections_have_gone() -> None:
    fleet = serving()
    actions = orphaned(fleet, worker(1, 0), 20)
    fleet.steer(actions, 20)
    fleet.look(20.1)

    assert fleet.handle(LeftoverJudged(worker(1, 0), serves=True), 20.2) == []

    fleet.look(30)
    assert fleet.census(30, {worker(1, 0): 1}) == []
    fleet.census(31, {worker(1, 0): 0})

    assert fleet.census(32, {worker(1, 0): 0}) == [Signal(worker(1, 0), "SIGTERM")]

    fleet.handle(WorkerExited(worker(1, 0), OOM), 33)
    fields = last(fleet, NoteKind.WORKER_EXITED).fields

    assert (fields["expected"], fields["connections"], fields["cause"]) == (True, 0, "requested")


def test_what_does_not_serve_is_ended_and_its_clients_are_freed_and_counted_as_lost() -> None:
    fleet = serving()
    orphaned(fleet, worker(1, 0), 20)

    assert fleet.handle(LeftoverJudged(worker(1, 0), serves=False), 20.3) == [
        Signal(worker(1, 0), "SIGTERM"),
        FreeClients(worker(1, 0)),
    ]

    fleet.census(21, {worker(1, 0): 0})

    assert Kill(worker(1, 0)) in fleet.handle(TimePassed(), 20.3 + POLICY.kill_after)

    fleet.handle(WorkerExited(worker(1, 0), OOM), 31)
    fields = last(fleet, NoteKind.WORKER_EXITED).fields

    assert (fields["expected"], fields["connections"], fields["cause"]) == (False, 3, "sigkill")
    assert fleet.state.counters.lost == 3


def test_what_waits_on_the_slot_of_helpers_that_end_is_swept_at_once() -> None:
    fleet = serving()
    fleet.steer(orphaned(fleet, worker(1, 0), 20), 20)
    fleet.look(20.1, slot_10=2)
    actions = fleet.handle(LeftoverJudged(worker(1, 0), serves=False), 20.3)

    assert [one.slots for one in actions if isinstance(one, Spawn)] == [{"ws": 10}]


def test_a_candidate_whose_main_process_ends_has_failed_and_its_tree_is_ended() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    actions = fleet.handle(MainProcessEnded(worker(2, 0), Exit(status=7), "look at it"), 12)

    assert Signal(worker(2, 0), "SIGTERM") in actions
    assert not any(isinstance(one, JudgeLeftover) for one in actions)
    assert fleet.state.verdict is not None
    assert fleet.state.verdict.reason == (
        "worker 0 of generation 2 exited with status 7 before it was ready: look at it"
    )
    assert fleet.handle(WorkerReady(worker(2, 0)), 13) == [], "what is left of it may say so"


def test_a_stopped_worker_has_the_rest_of_its_time_for_the_rest_of_its_tree() -> None:
    fleet = draining()
    fleet.steer(fleet.handle(StopRequested(1), 100), 100)
    actions = fleet.handle(MainProcessEnded(worker(1, 0), Exit(status=0)), 101)

    assert Signal(worker(1, 0), "SIGTERM") in actions
    assert not any(isinstance(one, Signal) and one.rest for one in actions)
    late = fleet.handle(TimePassed(), 100 + POLICY.kill_after / 2)
    assert Signal(worker(1, 0), "SIGTERM", rest=True) not in late
    assert Signal(worker(1, 1), "SIGTERM", rest=True) in late
    assert Kill(worker(1, 0)) in fleet.handle(TimePassed(), 100 + POLICY.kill_after)


def test_helpers_that_hold_the_channel_open_cannot_close_connections() -> None:
    fleet = serving()
    fleet.handle(LibraryConnected(worker(1, 0), closes=True, releases_sockets=False), 5)
    orphaned(fleet, worker(1, 0), 20)
    one = fleet.state.worker(worker(1, 0))
    assert one is not None

    assert one.closes_on_request is False
    assert one.state is WorkerState.DRAINING


def test_a_sweeper_that_leaves_helpers_behind_has_died_as_well() -> None:
    fleet = serving()
    actions = fleet.look(20, slot_15=1)
    [spawn] = [one for one in actions if isinstance(one, Spawn)]
    fleet.handle(Spawned(spawn.worker, 99), 20)
    actions = fleet.handle(MainProcessEnded(spawn.worker, OOM), 21)
    fleet.handle(LeftoverJudged(spawn.worker, serves=False), 21.1)

    assert not any(isinstance(one, Probe) for one in actions)
    assert fleet.state.generations[1].sweep_failures == 1
    fleet.handle(WorkerExited(spawn.worker, OOM), 21.2)
    assert fleet.state.generations[1].sweep_failures == 1


@pytest.mark.parametrize("serves", [True, False])
def test_a_verdict_on_a_leftover_that_has_gone_or_must_end_changes_nothing(serves: bool) -> None:
    fleet = starting()
    fleet.handle(MainProcessEnded(worker(1, 0), OOM), 2)

    assert fleet.handle(LeftoverJudged(worker(1, 0), serves), 3) == []

    fleet.handle(WorkerExited(worker(1, 0), OOM), 4)

    assert fleet.handle(LeftoverJudged(worker(1, 0), serves), 5) == []
    assert fleet.handle(CensusTaken({worker(1, 0): 3}, 0, began_at=5), 5) == []


def test_a_dead_main_process_is_reported_with_what_it_ended_by() -> None:
    fleet = serving()
    orphaned(fleet, worker(1, 0), 20)

    assert fleet.fields(NoteKind.MAIN_PROCESS_ENDED) == [
        {
            "generation": 1,
            "worker": "1.0.1",
            "pid": 1000,
            "reason": "was killed by SIGKILL",
            "connections": 3,
        }
    ]


def test_the_verdict_on_a_leftover_is_reported_with_its_connections() -> None:
    serves, ends = serving(), serving()
    orphaned(serves, worker(1, 0), 20)
    orphaned(ends, worker(1, 0), 20)
    serves.census(21, {worker(1, 0): 2})
    serves.handle(LeftoverJudged(worker(1, 0), serves=True), 22)
    ends.census(21, {worker(1, 0): 0})
    ends.handle(LeftoverJudged(worker(1, 0), serves=False), 22)

    assert serves.fields(NoteKind.LEFTOVER_SERVES)[0]["connections"] == 2
    (ended,) = ends.fields(NoteKind.LEFTOVER_ENDED)
    assert (ended["connections"], ended["reason"]) == (3, "no process of it accepts connections")


def test_a_second_verdict_changes_nothing() -> None:
    fleet = serving()
    orphaned(fleet, worker(1, 0), 20)
    fleet.handle(LeftoverJudged(worker(1, 0), serves=True), 21)

    assert fleet.handle(LeftoverJudged(worker(1, 0), serves=False), 22) == []
    assert fleet.living(worker(1, 0)).state is WorkerState.DRAINING


def test_a_verdict_on_a_worker_with_its_main_process_changes_nothing() -> None:
    fleet = serving()

    assert fleet.handle(LeftoverJudged(worker(1, 0), serves=False), 22) == []
    assert fleet.living(worker(1, 0)).state is WorkerState.READY


def test_what_the_drain_signal_made_stop_accepting_is_judged_as_such() -> None:
    fleet = serving(replace(POLICY, drain_signal="SIGUSR1"))
    fleet.deploy(2, 10)
    actions = fleet.handle(MainProcessEnded(worker(1, 0), OOM), 13)

    assert actions == [JudgeLeftover(worker(1, 0), {"ws": 10}, drain_signalled=True)]


@pytest.mark.parametrize(("limit", "deadline"), [(inf, None), (60.0, 80.0)])
def test_a_leftover_has_the_drain_limit_of_the_configuration_and_nothing_keeps_it(
    limit: float, deadline: float | None
) -> None:
    fleet = serving(replace(POLICY, drain_timeout=limit, keep=30.0))
    orphaned(fleet, worker(1, 0), 20)
    drain = fleet.living(worker(1, 0)).drain

    assert drain is not None
    assert (drain.since, drain.keep_until, drain.deadline) == (20, 20, deadline)


def test_the_drain_of_a_worker_whose_main_process_ends_goes_on_as_it_was() -> None:
    fleet = draining()
    before = fleet.living(worker(1, 0)).drain
    fleet.handle(MainProcessEnded(worker(1, 0), OOM), 20)

    assert fleet.living(worker(1, 0)).drain is before
    assert fleet.fields(NoteKind.WORKER_RETRY) == []


def test_a_worker_that_was_not_ready_has_nothing_that_serves() -> None:
    fleet = serving()
    fleet.spawn_all(fleet.handle(WorkerExited(worker(1), OOM), 10), 10)
    fleet.handle(CensusTaken({worker(1, 0, 2): 2}, 0, began_at=11), 11)
    actions = fleet.handle(MainProcessEnded(worker(1, 0, 2), Exit(1)), 12)

    assert actions[:2] == [Signal(worker(1, 0, 2), "SIGTERM"), FreeClients(worker(1, 0, 2))]
    assert fleet.living(worker(1, 0, 2)).drain is None
    assert not any(isinstance(one, JudgeLeftover) for one in actions)
    assert fleet.fields(NoteKind.LEFTOVER_ENDED)[0]["reason"] == "it was not ready yet"


def test_a_leftover_without_a_known_pid_has_no_clients_that_could_be_freed() -> None:
    fleet = serving()
    fleet.living(worker(1)).pid = None
    orphaned(fleet, worker(1, 0), 20)

    assert fleet.handle(LeftoverJudged(worker(1), serves=False), 21) == []


def test_marks_of_a_stalled_or_unresponsive_worker_go_with_its_main_process() -> None:
    fleet = serving()
    one = fleet.living(worker(1))
    one.unresponsive_since = one.stalled_since = one.gave_way_at = one.held_up_at = 15.0
    orphaned(fleet, worker(1, 0), 20)
    found = fleet.living(worker(1))

    assert found.unresponsive_since is None
    assert found.stalled_since is None
    assert found.gave_way_at is None
    assert found.held_up_at is None


def test_the_rest_of_a_tree_is_signalled_once() -> None:
    fleet = draining()
    fleet.steer(fleet.handle(StopRequested(1), 100), 100)
    fleet.handle(TimePassed(), 100 + POLICY.kill_after / 2)

    assert fleet.handle(MainProcessEnded(worker(1, 0), Exit(0)), 106) == [], "it has been already"


def test_the_main_process_of_a_stopped_worker_ends_without_a_report() -> None:
    fleet = draining()
    fleet.steer(fleet.handle(StopRequested(1), 100), 100)
    actions = fleet.handle(MainProcessEnded(worker(1, 0), Exit(0)), 101)

    assert actions == [Signal(worker(1, 0), "SIGTERM")]
    assert fleet.fields(NoteKind.MAIN_PROCESS_ENDED) == []
    assert fleet.fields(NoteKind.WORKER_RETRY) == []


def test_a_failed_candidate_whose_main_process_ended_is_not_started_again() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.handle(MainProcessEnded(worker(2, 0), Exit(7)), 12)

    assert fleet.fields(NoteKind.WORKER_RETRY) == []
    assert fleet.fields(NoteKind.LEFTOVER_ENDED) == []
    assert fleet.living(worker(2, 0)).drain is None


def test_a_leftover_that_was_judged_or_must_end_is_not_judged_again() -> None:
    judged, ending = serving(), serving()
    orphaned(judged, worker(1, 0), 20)
    judged.handle(LeftoverJudged(worker(1, 0), serves=True), 21)
    orphaned(ending, worker(1, 0), 20)
    ending.living(worker(1, 0)).state = WorkerState.STOPPING

    for fleet in (judged, ending):
        again = fleet.handle(Reexecuted("2", "1"), 22)
        assert not any(isinstance(one, JudgeLeftover) for one in again)
