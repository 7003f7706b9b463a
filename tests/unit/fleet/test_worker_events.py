"""Events of workers: probes, sockets that close, counts, exits, deaths with the supervisor."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    POLICY,
    SLOTS,
    A,
    Driven,
    draining,
    failures,
    library,
    serving,
    starting,
    with_second_listener,
    worker,
)
from wssupervisor.fleet.actions import Spawn, Steer
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    Observed,
    ProbeFailed,
    ProbeTried,
    Recovered,
    SlotReleased,
    StartRequested,
    StopRequested,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.model import Exit, Listener, ReadyBy, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import Signal


def test_the_last_failed_probe_explains_a_candidate_that_is_late() -> None:
    fleet = serving(replace(POLICY, ready_by=ReadyBy.CONNECT))
    fleet.begin_reload(10, request=7)
    fleet.handle(ProbeTried(worker(2, 0), "refused the connection"), 11)
    fleet.handle(ProbeTried(worker(2, 0), "answered 503"), 12)

    assert failures(fleet.handle(TimePassed(), 40)) == [
        "worker 0 of generation 2 was not ready within 30s: it answered 503"
    ]


def test_a_respawned_worker_whose_probe_fails_is_ended_and_the_generation_keeps_serving() -> None:
    fleet = serving(
        replace(POLICY, ready_by=ReadyBy.CONNECT),
    )
    fleet.spawn_all(fleet.handle(WorkerExited(worker(1), Exit(status=1)), 10), 10)

    assert fleet.handle(ProbeFailed(worker(1, 0, 2), "could not be probed"), 11) == [
        Signal(worker(1, 0, 2), "SIGTERM")
    ]

    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(signal="SIGTERM")), 12)
    exited = fleet.fields(NoteKind.WORKER_EXITED)[-1]

    assert exited["reason"] == "could not be probed, and was killed by SIGTERM"
    assert exited["cause"] == "never-ready"


def test_a_probe_that_fails_after_the_worker_was_ready_changes_nothing() -> None:
    fleet = serving()

    assert fleet.handle(ProbeFailed(worker(1), "was never accepted"), 10) == []
    assert fleet.living(worker(1)).reason is None


def test_an_exit_is_reported_with_what_it_cost_and_its_advice() -> None:
    fleet = serving()
    fleet.census(10, {worker(1): 7})
    fleet.handle(WorkerExited(worker(1), Exit(status=3), "look at its log"), 11)

    assert fleet.fields(NoteKind.WORKER_EXITED) == [
        {
            "generation": 1,
            "worker": "1.0.1",
            "pid": 1000,
            "reason": "exited with status 3: look at its log",
            "connections": 7,
            "expected": False,
            "cause": "exit-status",
            "forced": None,
        }
    ]


def test_the_exit_of_a_drained_worker_is_reported_without_the_reason_of_its_drain() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(SlotReleased(worker(1)), 10), 10)
    fleet.handle(WorkerExited(worker(1), Exit(status=0)), 11)

    assert fleet.fields(NoteKind.WORKER_EXITED)[0]["reason"] == "exited with status 0"


def test_a_candidate_that_closes_its_socket_fails_the_reload() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)

    assert failures(fleet.handle(SlotReleased(worker(2, 1)), 11.5)) == [
        "worker 1 of generation 2: it closed its listening socket"
    ]
    assert fleet.living(worker(2, 1)).state is WorkerState.STOPPING
    assert fleet.fields(NoteKind.WORKER_STALLED) == []


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.STOPPING])
def test_a_worker_that_starts_or_stops_may_close_its_socket(state: WorkerState) -> None:
    fleet = starting()
    if state is WorkerState.STOPPING:
        fleet.handle(StopRequested(None), 2)
    before = fleet.living(worker(1)).state

    assert fleet.handle(SlotReleased(worker(1)), 2) == []
    assert before is fleet.living(worker(1)).state is state


def test_slots_that_turn_out_deaf_stay_so_and_occupied_ones_do_not() -> None:
    fleet = serving()
    quiet = dict(fleet.queues)
    fleet.handle(Observed(quiet, 9, frozenset({14, 999}), frozenset({15})), 9)
    fleet.handle(Observed(quiet, 8), 10)
    found = fleet.state.slots

    assert [slot for slot in found if found[slot].deaf] == [14]
    assert [slot for slot in found if found[slot].occupied] == []
    assert fleet.state.steering.handshakes_over == 9, "what is over stays over"


def test_connections_found_late_were_there_when_the_drain_began() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 3, worker(2, 0): 100})
    fleet.census(14, {worker(1, 0): 4, worker(1, 1): 3, worker(2, 0): 100})

    assert fleet.state.generations[1].connections_at_start == 8
    assert fleet.state.generations[2].connections_at_start == 0


def test_workers_that_died_with_the_supervisor_are_replaced_and_counted_with_their_pids() -> None:
    fleet = serving()
    fleet.census(5, {worker(1, 0): 7})
    event = Recovered("0.2.0", "0.1.0", {worker(1, 1): 1001}, {worker(1, 0): Exit()})
    actions = fleet.handle(event, 10)

    assert Spawn(worker(1, 0, 2), A, {"ws": 10}) in actions
    assert [one.table.weights for one in actions if isinstance(one, Steer)] == [
        {"ws": {10: 1, 11: 1}}
    ], "what was in force is asked for again first"
    (exited,) = fleet.fields(NoteKind.WORKER_EXITED)
    assert (exited["pid"], exited["reason"], exited["connections"]) == (
        1000,
        "ended with an unknown status",
        7,
    )


def test_a_worker_that_was_ending_and_died_with_the_supervisor_has_exited() -> None:
    fleet = draining()
    fleet.handle(TimePassed(), 18)
    for at in (18, 19):
        fleet.census(at, {worker(1, 0): 0, worker(1, 1): 3})
    assert fleet.living(worker(1, 0)).state is WorkerState.STOPPING
    running = {worker(1, 1): 1001, worker(2, 0): 1000, worker(2, 1): 1001}
    fleet.handle(Recovered("2", "1", running, {worker(1, 0): Exit()}), 20)

    assert fleet.state.worker(worker(1, 0)) is None


def test_a_worker_whose_spawn_was_under_way_at_the_death_is_spawned_again_and_has_not_exited() -> (
    None
):
    fleet = serving()
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=1)), 9)
    assert fleet.living(worker(1, 0, 2)).pid is None
    event = Recovered("2", "1", {worker(1, 1): 1001}, {worker(1, 0, 2): Exit()})

    assert Spawn(worker(1, 0, 2), A, {"ws": 10}) in fleet.handle(event, 10)
    assert len(fleet.fields(NoteKind.WORKER_EXITED)) == 1


def test_a_worker_with_one_shared_listener_among_others_releases_that() -> None:
    slots = {"ws": Listener("ws", SLOTS), "raw": Listener("raw", (20,), shared=20)}
    fleet = Driven()
    fleet.core = Fleet(slots.values())
    fleet.queues = dict.fromkeys((*SLOTS, 20), 0)
    fleet.look(0)
    fleet.spawn_all(fleet.handle(StartRequested(A, POLICY), 1), 1)
    fleet.handle(library(worker(1), releases_sockets=True), 2)

    assert fleet.living(worker(1)).releases_sockets


def test_a_worker_is_empty_only_if_nothing_comes_through_any_of_its_slots() -> None:
    fleet = with_second_listener(tuple(range(20, 30)))
    fleet.deploy(2, 10)
    fleet.look(18, slot_20=1)
    for at in (18, 19, 20):
        assert fleet.census(at, {worker(1, 0): 0}) == []
