"""Which module an event goes to, events that come late, exits, recoveries, and scaling."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    POLICY,
    SLOTS,
    A,
    B,
    Driven,
    draining,
    failures,
    library,
    serving,
    starting,
    worker,
)
from wssupervisor.fleet.actions import Answer, Failed, Quit, Spawn, Steer
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    CensusTaken,
    Event,
    LibraryDisconnected,
    MainProcessEnded,
    Observed,
    ProbeFailed,
    ProbePassed,
    ProbeTried,
    Recovered,
    ReleaseRefused,
    ReleaseResolved,
    ReloadRequested,
    RequesterGone,
    ScaleRequested,
    SlotReleased,
    Spawned,
    StartRequested,
    StopRequested,
    TimePassed,
    WorkerAlive,
    WorkerCounted,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import Exit, Listener, ReadyBy, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import Signal

GONE = worker(1, 0, incarnation=9)


def test_a_scale_survives_reloads_until_workers_changes_in_the_file() -> None:
    fleet = serving()
    fleet.handle(ScaleRequested(7, 3), 20)
    fleet.handle(ReloadRequested(1), 21)

    assert len(fleet.handle(ReleaseResolved(1, B, fleet.policy), 21)) == 3

    fleet.handle(RequesterGone(1), 22)
    fleet.handle(ReloadRequested(2), 23)

    assert len(fleet.handle(ReleaseResolved(2, B, replace(fleet.policy, workers=1)), 23)) == 1


def test_a_scale_to_what_the_file_wants_is_no_scale() -> None:
    fleet = serving()
    fleet.handle(ScaleRequested(7, 3), 20)

    assert fleet.state.scaled is not None

    fleet.handle(ScaleRequested(8, 2), 21)

    assert fleet.state.scaled is None
    assert fleet.fields(NoteKind.SCALED) == [
        {"workers": 3, "before": 2, "workers_configured": 2},
        {"workers": 2, "before": 3, "workers_configured": 2},
    ]


def test_a_scale_while_a_reload_is_under_way_is_refused() -> None:
    fleet = serving()
    fleet.begin_reload(10)

    assert fleet.handle(ScaleRequested(7, 3), 11) == [
        Answer(7, Failed("busy", "a reload is under way; try again when it is done"))
    ]
    assert fleet.state.scaled is None


def stopped() -> Driven:
    fleet = serving()
    fleet.steer(fleet.handle(StopRequested(None), 10), 10)
    for index in (0, 1):
        fleet.handle(WorkerExited(worker(1, index), Exit(status=0)), 11)
    return fleet


def test_after_the_end_requests_are_refused_and_nothing_else_happens() -> None:
    fleet = stopped()

    assert fleet.next_deadline() is None
    assert fleet.handle(TimePassed(), 12) == []
    assert fleet.handle(WorkerReady(worker(1)), 12) == []
    assert fleet.handle(ReloadRequested(None), 12) == []
    assert fleet.handle(ScaleRequested(3, 4), 12) == [
        Answer(3, Failed("not-running", "the instance has stopped"))
    ]


LATE: list[Event] = [
    Spawned(GONE, 7),
    WorkerReady(GONE),
    ProbePassed(GONE),
    ProbeFailed(GONE, "was never accepted"),
    ProbeTried(GONE, "refused the connection"),
    library(GONE, releases_sockets=True),
    LibraryDisconnected(GONE),
    WorkerAlive(GONE),
    WorkerCounted(GONE, 3),
    SlotReleased(GONE),
    WorkerExited(GONE, Exit(status=1)),
    MainProcessEnded(GONE, Exit(status=1)),
    ReleaseResolved(0, B, POLICY),
    ReleaseRefused(0, "no such file"),
    CensusTaken({GONE: 3}, 0, began_at=10),
    RequesterGone(99),
]


@pytest.mark.parametrize("event", LATE, ids=lambda one: type(one).__name__)
def test_an_event_that_comes_too_late_changes_nothing(event: Event) -> None:
    fleet, undisturbed = serving(), serving()

    assert fleet.handle(event, 10) == []
    undisturbed.handle(TimePassed(), 10)
    assert fleet.state == undisturbed.state
    assert fleet.notes == undisturbed.notes


def test_a_release_of_an_earlier_reload_is_not_started() -> None:
    fleet = serving()
    fleet.handle(ReloadRequested(5), 10)
    fleet.handle(RequesterGone(5), 11)
    fleet.handle(ReloadRequested(6), 12)

    assert fleet.handle(ReleaseResolved(1, B, POLICY), 13) == []
    assert fleet.handle(ReleaseRefused(1, "no such file"), 13) == []
    assert len(fleet.handle(ReleaseResolved(2, B, POLICY), 13)) == 2


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


@pytest.mark.parametrize("cutting", [False, True])
def test_a_requester_that_goes_away_cancels_a_reload_until_its_table_is_asked_for(
    cutting: bool,
) -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    steer = fleet.handle(TimePassed(), 12) if cutting else []
    actions = fleet.handle(RequesterGone(7), 12)

    if not cutting:
        assert [one.worker for one in actions if isinstance(one, Signal)] == [
            worker(2, 0),
            worker(2, 1),
        ]
        assert "cancelled" in str(fleet.fields(NoteKind.RELOAD_FAILED)[0]["reason"])
        return
    assert actions == []
    assert fleet.steer(steer, 12.5) == [], "the answer has no taker"
    assert fleet.state.active is not None
    assert fleet.state.active.number == 2


def test_another_requester_that_goes_away_cancels_nothing() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)

    assert fleet.handle(RequesterGone(8), 11) == []
    assert fleet.state.reload is not None


def test_a_stop_goes_on_without_its_requester_which_gets_no_answer() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(StopRequested(5), 10), 10)
    fleet.handle(RequesterGone(5), 10)
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=0)), 11)

    assert fleet.handle(WorkerExited(worker(1, 1), Exit(status=0)), 11) == [Quit(0)]


def test_another_requester_that_goes_away_leaves_the_answer_to_a_stop() -> None:
    fleet = serving()
    fleet.handle(StopRequested(5), 10)
    fleet.handle(RequesterGone(6), 10)

    assert fleet.state.stop is not None
    assert fleet.state.stop.request == 5


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


def test_a_failed_generation_is_forgotten_without_a_report_of_a_drain() -> None:
    fleet = serving()
    fleet.begin_reload(10)
    fleet.handle(WorkerExited(worker(2, 0), Exit(status=1)), 11)
    with_one_left = list(fleet.state.generations)
    fleet.handle(WorkerExited(worker(2, 1), Exit(signal="SIGTERM")), 12)

    assert (with_one_left, list(fleet.state.generations)) == ([1, 2], [1])
    assert fleet.fields(NoteKind.GENERATION_RETIRED) == []


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
    fleet = Driven()
    slots = {"ws": SLOTS, "raw": tuple(range(20, 30))}
    fleet.core = Fleet([Listener(name, own) for name, own in slots.items()])
    fleet.queues = dict.fromkeys((*SLOTS, *slots["raw"]), 0)
    fleet.steer(fleet.look(0), 0)
    fleet.look(0)
    fleet.spawn_all(fleet.handle(StartRequested(A, POLICY), 1), 1)
    fleet.make_ready(1, 1)
    fleet.steer(fleet.handle(TimePassed(), 2), 2)
    fleet.look(3)
    fleet.deploy(2, 10)
    fleet.look(18, slot_20=1)
    for at in (18, 19, 20):
        assert fleet.census(at, {worker(1, 0): 0}) == []
