"""One worker's life: its start, its signals, its signs of life, its drain, its end."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    POLICY,
    A,
    Driven,
    draining,
    library,
    serving,
    shared,
    starting,
    steered,
    worker,
)
from wssupervisor.fleet.actions import Action, Probe, Spawn, Steer
from wssupervisor.fleet.events import (
    CensusTaken,
    DrainLimited,
    DrainPaused,
    DrainResumed,
    LibraryConnected,
    LibraryDisconnected,
    RollBackRequested,
    Spawned,
    StartRequested,
    StopRequested,
    TimePassed,
    WorkerAlive,
    WorkerCounted,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.lifecycle import (
    EMPTY_ROUNDS,
    GOING_AWAY,
    MAIN_PROCESS_SHARE,
    RELEASE_SECONDS,
    SERVICE_RESTART,
    begin_drain,
    can_serve_again,
    counted,
    deadlines,
    end_with_instance,
    ends_at,
    judge,
    kill,
    pass_time,
    resume,
    send_drain,
    stop,
    stop_serving,
    watched,
)
from wssupervisor.fleet.model import Check, Exit, Policy, ReadyBy, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import AskToClose, Kill, SendDrain, SendResume, Signal
from wssupervisor.fleet.state import Drain, Leftover, ReleasingSockets, Worker
from wssupervisor.fleet.view import view


def test_the_constants_are_those_that_the_manual_names() -> None:
    assert (GOING_AWAY, SERVICE_RESTART) == (1001, 1012), "RFC 6455 and IANA"
    assert EMPTY_ROUNDS == 2
    assert RELEASE_SECONDS == 3.0
    assert MAIN_PROCESS_SHARE == 0.5


# -- start ----------------------------------------------------------------------------------------


def test_a_spawned_worker_is_probed_on_its_slots() -> None:
    check = Check(ReadyBy.HTTP, "ws", "/health")
    fleet = Driven(replace(POLICY, ready_by=ReadyBy.HTTP, check=check))
    fleet.look(0)
    fleet.handle(StartRequested(A, fleet.policy), 1)

    assert fleet.handle(Spawned(worker(1, 0), 5), 2) == [Probe(worker(1, 0), {"ws": 10}, check)]


def test_a_worker_that_must_end_before_it_has_a_pid_is_signalled_when_it_has_one() -> None:
    fleet = Driven()
    fleet.steer(fleet.look(0), 0)
    fleet.handle(StartRequested(A, POLICY), 1)

    assert fleet.handle(StopRequested(None), 2) == []
    assert fleet.handle(Spawned(worker(1, 0), 5), 3) == [Signal(worker(1, 0), "SIGTERM")]
    assert fleet.living(worker(1, 0)).state is WorkerState.STOPPING


def test_a_worker_without_a_pid_is_neither_ready_nor_killed() -> None:
    fleet = Driven()
    fleet.steer(fleet.look(0), 0)
    fleet.handle(StartRequested(A, POLICY), 1)

    assert fleet.handle(WorkerReady(worker(1, 0)), 2) == []
    assert fleet.living(worker(1, 0)).state is WorkerState.STARTING
    assert kill(fleet.living(worker(1, 0))) == []


def test_a_worker_is_ready_once_and_its_start_time_is_reported() -> None:
    fleet = starting()
    fleet.handle(WorkerReady(worker(1, 0)), 3.25)
    fleet.handle(WorkerReady(worker(1, 0)), 4)

    assert fleet.fields(NoteKind.WORKER_READY) == [
        {"generation": 1, "worker": "1.0.1", "pid": 1000, "seconds": 2.25}
    ]
    assert fleet.living(worker(1, 0)).ready_at == 3.25
    assert fleet.living(worker(1, 0)).ready_by is None


def test_every_spawn_is_reported_with_its_pid() -> None:
    spawned = starting().fields(NoteKind.WORKER_SPAWNED)

    assert [(one["worker"], one["pid"]) for one in spawned] == [("1.0.1", 1000), ("1.1.1", 1001)]


def test_a_sweeper_is_not_probed() -> None:
    fleet = serving(replace(POLICY, ready_by=ReadyBy.CONNECT))
    (spawn,) = [one for one in fleet.look(4, slot_17=1) if isinstance(one, Spawn)]

    assert fleet.handle(Spawned(spawn.worker, 7), 4) == []


# -- signs of life --------------------------------------------------------------------------------

WATCHED = replace(POLICY, watchdog=5.0, replace_after=60.0)


def unresponsive(connections: int = 0) -> Driven:
    """Worker 0 gave its last sign of life in second 10, and 5 s have passed. It is second 15."""
    fleet = serving(WATCHED)
    fleet.census(9, {worker(1): connections})
    fleet.handle(WorkerAlive(worker(1)), 10)

    assert fleet.next_deadline() == 15
    assert fleet.handle(TimePassed(), 14.9) == []

    actions = fleet.handle(TimePassed(), 15)

    assert actions == [Steer(3, steered(11))]
    fleet.steer(actions, 15)
    return fleet


def test_a_worker_that_never_gave_a_sign_of_life_need_not_give_one() -> None:
    fleet = serving(WATCHED)

    assert fleet.next_deadline() is None
    assert fleet.handle(TimePassed(), 1000) == []


def test_without_a_watchdog_signs_of_life_oblige_to_nothing() -> None:
    fleet = serving()
    fleet.handle(WorkerAlive(worker(1)), 10)

    assert fleet.next_deadline() is None
    assert fleet.handle(TimePassed(), 1000) == []


def test_a_worker_without_signs_of_life_is_steered_away_from_and_reported_once() -> None:
    fleet = unresponsive(connections=3)

    assert fleet.handle(TimePassed(), 16) == []
    assert fleet.fields(NoteKind.WORKER_UNRESPONSIVE) == [
        {"generation": 1, "worker": "1.0.1", "pid": 1000, "seconds": 5, "connections": 3}
    ]
    assert view(fleet.state, 16).generations[0].workers[0].unresponsive_since == 15


def test_with_the_next_sign_of_life_it_is_steered_to_again() -> None:
    fleet = unresponsive()

    assert fleet.handle(WorkerAlive(worker(1)), 17) == [Steer(4, steered(10, 11))]
    assert fleet.fields(NoteKind.WORKER_RECOVERED) == [
        {"generation": 1, "worker": "1.0.1", "pid": 1000, "seconds": 2}
    ]
    assert fleet.next_deadline() == 22


@pytest.mark.parametrize(("connections", "given_up_at"), [(0, 20), (1, 75)])
def test_it_is_replaced_later_if_it_has_connections(connections: int, given_up_at: float) -> None:
    fleet = unresponsive(connections)

    assert fleet.next_deadline() == given_up_at
    assert fleet.handle(TimePassed(), given_up_at - 0.1) == []
    assert fleet.handle(TimePassed(), given_up_at) == [
        Signal(worker(1), "SIGTERM"),
        Spawn(worker(1, 0, 2), A, {"ws": 12}, 5.0),
    ]

    (stalled,) = fleet.fields(NoteKind.WORKER_STALLED)
    seconds = given_up_at - 10
    assert stalled["reason"] == f"it has sent no heartbeat for {seconds:g} s"
    fleet.handle(WorkerExited(worker(1), Exit(signal="SIGTERM")), given_up_at + 1)
    assert fleet.fields(NoteKind.WORKER_EXITED)[0]["cause"] == "replaced"


def test_a_sign_of_life_of_a_worker_that_is_ending_recovers_nothing() -> None:
    fleet = unresponsive()
    fleet.handle(TimePassed(), 20)

    assert fleet.handle(WorkerAlive(worker(1)), 21) == []
    assert fleet.fields(NoteKind.WORKER_RECOVERED) == []
    assert fleet.next_deadline() == 25, "of the rest of its tree"


# -- drain ----------------------------------------------------------------------------------------


def test_a_draining_worker_is_left_alone_until_two_censuses_found_nothing() -> None:
    fleet = draining()
    gone = {worker(1, 0): 0, worker(1, 1): 3}

    assert fleet.census(18, gone) == []
    assert fleet.census(19, gone) == [Signal(worker(1, 0), "SIGTERM")]
    assert fleet.census(20, {worker(1, 1): 0}) == []
    assert fleet.census(21, {worker(1, 1): 0}) == [Signal(worker(1, 1), "SIGTERM")]
    assert [(one["worker"], one["seconds"]) for one in fleet.fields(NoteKind.WORKER_DRAINED)] == [
        ("1.0.1", 7),
        ("1.1.1", 9),
    ]


def test_a_connection_between_two_censuses_begins_the_proof_again() -> None:
    fleet = draining()
    for at, connections in ((18, 0), (19, 1), (20, 0)):
        assert fleet.census(at, {worker(1, 0): connections}) == []

    assert fleet.census(21, {worker(1, 0): 0}) == [Signal(worker(1, 0), "SIGTERM")]


def test_a_census_begun_before_the_drain_does_not_count() -> None:
    fleet = draining(replace(POLICY, keep=0.0))
    fleet.handle(CensusTaken({worker(1, 0): 0}, 0, began_at=11), 13)

    assert fleet.census(14, {worker(1, 0): 0}) == []


def test_a_census_begun_with_the_drain_counts() -> None:
    fleet = draining(replace(POLICY, keep=0.0))
    fleet.handle(CensusTaken({worker(1, 0): 0}, 0, began_at=12), 13)

    assert fleet.census(14, {worker(1, 0): 0}) == [Signal(worker(1, 0), "SIGTERM")]


def test_a_drain_signal_is_sent_once_when_the_drain_begins() -> None:
    fleet = serving(replace(POLICY, drain_signal="SIGUSR1"))
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    actions = fleet.steer(fleet.handle(TimePassed(), 12), 12)

    assert [one for one in actions if isinstance(one, Signal)] == [
        Signal(worker(1, 0), "SIGUSR1"),
        Signal(worker(1, 1), "SIGUSR1"),
    ]
    assert not can_serve_again(fleet.living(worker(1, 0)))


def test_a_worker_with_the_library_is_notified_of_its_drain_and_of_its_rollback() -> None:
    fleet = serving()
    fleet.handle(library(worker(1, 0)), 5)
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    actions = fleet.steer(fleet.handle(TimePassed(), 12), 12)

    assert [one for one in actions if isinstance(one, SendDrain)] == [
        SendDrain(worker(1, 0), stop_accepting=False)
    ]

    fleet.look(12.5)
    fleet.handle(RollBackRequested(7), 13)
    actions = fleet.steer(fleet.handle(TimePassed(), 14), 14)

    assert [one for one in actions if isinstance(one, SendResume)] == [SendResume(worker(1, 0))]


def test_a_library_that_connects_during_the_drain_is_notified_at_once() -> None:
    fleet = draining()
    event = library(worker(1, 0), releases_sockets=True)

    assert fleet.handle(event, 13) == [SendDrain(worker(1, 0), stop_accepting=False)]
    assert (
        fleet.handle(LibraryConnected(worker(1, 1), closes=False, releases_sockets=False), 13) == []
    )
    assert fleet.handle(library(worker(2, 0)), 13) == []


def test_the_library_of_a_sweeper_is_not_notified_as_it_must_accept_its_queue() -> None:
    fleet = serving()
    (spawn,) = [one for one in fleet.look(4, slot_17=1) if isinstance(one, Spawn)]
    fleet.spawn_all([spawn], 4)

    assert fleet.handle(library(spawn.worker), 5) == []


@pytest.mark.parametrize("mode", ["shared", "steered"])
def test_only_a_shared_socket_is_to_be_released(mode: str) -> None:
    fleet = shared() if mode == "shared" else serving()
    fleet.handle(library(worker(1), releases_sockets=True), 5)

    assert fleet.living(worker(1)).releases_sockets is (mode == "shared")
    assert fleet.living(worker(1)).closes_on_request is True


def test_a_library_that_does_not_release_sockets_is_not_asked_to() -> None:
    fleet = shared()
    fleet.handle(library(worker(1)), 5)

    assert fleet.living(worker(1)).releases_sockets is False


def test_without_its_channel_a_worker_is_as_one_without_the_library() -> None:
    fleet = shared()
    fleet.handle(library(worker(1), releases_sockets=True), 5)
    fleet.handle(WorkerCounted(worker(1), 7), 5)
    reported = fleet.living(worker(1)).reported
    fleet.handle(LibraryDisconnected(worker(1)), 6)
    one = fleet.living(worker(1))

    assert reported == 7
    assert (one.closes_on_request, one.releases_sockets, one.reported) == (False, False, None)


# -- limits ---------------------------------------------------------------------------------------

LIMITED = replace(POLICY, drain_timeout=60.0, close_over=20.0)


def with_library(policy: Policy = LIMITED) -> Driven:
    """Generation 1 drains since second 12; worker 0, with 5 connections, uses the library."""
    fleet = draining(policy)
    fleet.handle(library(worker(1, 0)), 13)
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 3})
    return fleet


def test_at_the_limit_a_library_closes_and_other_workers_end() -> None:
    fleet = with_library()

    assert fleet.next_deadline() == 72
    assert fleet.handle(TimePassed(), 71.9) == []
    assert fleet.handle(TimePassed(), 72) == [
        AskToClose(worker(1, 0), SERVICE_RESTART, over=20.0, by=30.0),
        Signal(worker(1, 1), "SIGTERM"),
    ]
    assert fleet.fields(NoteKind.DRAIN_LIMIT) == [
        {"generation": 1, "worker": "1.0.1", "pid": 1000, "connections": 5},
        {"generation": 1, "worker": "1.1.1", "pid": 1001, "connections": 3},
    ]
    assert fleet.handle(TimePassed(), 101.9) != []  # of the other worker
    assert fleet.handle(TimePassed(), 102) == [Signal(worker(1, 0), "SIGTERM")]


def test_a_library_that_disconnects_while_it_closes_is_ended_at_once() -> None:
    fleet = with_library()
    fleet.handle(TimePassed(), 72)

    assert fleet.handle(LibraryDisconnected(worker(1, 0)), 73) == [Signal(worker(1, 0), "SIGTERM")]


def test_the_time_that_an_operator_sees_is_that_of_the_last_close() -> None:
    fleet = with_library()
    one, other = fleet.living(worker(1, 0)), fleet.living(worker(1, 1))

    assert ends_at(one, LIMITED) == 92
    assert ends_at(other, LIMITED) == 72
    fleet.handle(TimePassed(), 72)
    assert ends_at(one, LIMITED) == 102
    assert ends_at(serving().living(worker(1)), LIMITED) is None


def test_a_limit_in_the_past_of_a_paused_drain_ends_nothing() -> None:
    fleet = with_library()
    fleet.handle(DrainPaused(9, 1), 70)

    assert fleet.handle(TimePassed(), 500) == []
    assert fleet.handle(DrainPaused(9, 1), 501)[1:] == [], "a second time changes nothing"

    fleet.handle(DrainResumed(9, 1), 570)

    assert fleet.next_deadline() == 572


def test_a_pause_while_it_closes_stops_the_closing() -> None:
    fleet = with_library()
    fleet.handle(TimePassed(), 72)
    forced = fleet.living(worker(1, 0)).forced
    fleet.census(73, {worker(1, 0): 4})
    actions = fleet.handle(DrainPaused(9, 1), 74)

    assert forced == 5
    assert SendDrain(worker(1, 0), stop_accepting=False) in actions
    assert fleet.living(worker(1, 0)).forced == 1, "the other four were not closed"
    assert not any(isinstance(one, Signal) for one in fleet.handle(TimePassed(), 500))


def test_a_pause_of_a_worker_that_is_ending_already_says_nothing_to_it() -> None:
    fleet = with_library()
    fleet.handle(TimePassed(), 72)
    fleet.handle(TimePassed(), 102)

    assert not any(isinstance(one, SendDrain) for one in fleet.handle(DrainPaused(9, 1), 103))


def test_the_pause_of_a_worker_that_is_not_closing_says_nothing_to_it() -> None:
    fleet = with_library()

    assert not any(isinstance(one, SendDrain) for one in fleet.handle(DrainPaused(9, 1), 20))


def test_keep_counts_on_after_a_pause() -> None:
    fleet = draining(replace(POLICY, keep=30.0))
    for at in (13, 14):
        fleet.census(at, {worker(1, 0): 0, worker(1, 1): 0})
    fleet.handle(DrainPaused(9, 1), 20)
    fleet.handle(DrainResumed(9, 1), 30)

    assert fleet.next_deadline() == 12 + 30 + 10


# -- end ------------------------------------------------------------------------------------------


def ending() -> tuple[Driven, list[Action]]:
    """Worker 0 of the draining generation was ended in second 19 with no connection."""
    fleet = draining()
    fleet.census(18, {worker(1, 0): 0, worker(1, 1): 3})
    return fleet, fleet.census(19, {worker(1, 0): 0, worker(1, 1): 3})


def test_a_worker_that_must_end_has_its_time_and_its_children_half_of_it() -> None:
    fleet, actions = ending()

    assert actions == [Signal(worker(1, 0), "SIGTERM")]
    assert fleet.next_deadline() == 24
    assert fleet.handle(TimePassed(), 23.9) == []
    assert fleet.handle(TimePassed(), 24) == [Signal(worker(1, 0), "SIGTERM", rest=True)]
    assert fleet.next_deadline() == 29
    assert fleet.handle(TimePassed(), 28.9) == []
    assert fleet.handle(TimePassed(), 29) == [Kill(worker(1, 0))]
    assert fleet.next_deadline() is None
    assert [one["worker"] for one in fleet.fields(NoteKind.WORKER_KILLED)] == ["1.0.1"]


def test_the_configured_signal_ends_a_worker() -> None:
    fleet = draining(replace(POLICY, stop_signal="SIGINT"))

    assert fleet.handle(DrainLimited(9, 1, 0.0), 13)[1:] == [
        Signal(worker(1, 0), "SIGINT"),
        Signal(worker(1, 1), "SIGINT"),
    ]


def test_connections_of_a_worker_that_must_end_are_counted_as_forced() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 0})
    fleet.handle(DrainLimited(9, 1, 0.0), 14)
    fleet.handle(WorkerExited(worker(1, 0), Exit(signal="SIGTERM")), 15)

    (exited,) = fleet.fields(NoteKind.WORKER_EXITED)
    assert (exited["forced"], exited["expected"], exited["cause"]) == (5, True, "requested")


# -- the end of the instance ----------------------------------------------------------------------

CLOSING = replace(POLICY, stop_timeout=60.0, stop_close_over=8.0)


def stopping(within: float | None = None) -> tuple[Driven, list[Action]]:
    """The instance stops in second 20; worker 0 uses the library and has 5 connections."""
    fleet = serving(CLOSING)
    fleet.handle(library(worker(1, 0)), 5)
    fleet.census(6, {worker(1, 0): 5, worker(1, 1): 3})
    return fleet, fleet.steer(fleet.handle(StopRequested(None, within), 20), 20)


def test_a_stop_lets_a_library_close_its_connections_and_ends_the_others() -> None:
    fleet, actions = stopping()

    assert actions == [
        AskToClose(worker(1, 0), GOING_AWAY, over=8.0, by=18.0),
        Signal(worker(1, 1), "SIGTERM"),
    ]
    fleet.handle(WorkerExited(worker(1, 1), Exit(0)), 21)
    assert fleet.next_deadline() == 38
    assert fleet.handle(TimePassed(), 37.9) == []
    assert fleet.handle(TimePassed(), 38) == [Signal(worker(1, 0), "SIGTERM")]


def test_a_stop_ends_a_library_as_soon_as_it_reports_no_connection() -> None:
    fleet, _ = stopping()

    assert fleet.handle(WorkerCounted(worker(1, 0), 1), 21) == []
    assert fleet.handle(WorkerCounted(worker(1, 0), 0), 22) == [Signal(worker(1, 0), "SIGTERM")]


def test_a_stop_with_a_short_limit_closes_in_less_time() -> None:
    _, actions = stopping(within=13.0)

    assert actions[0] == AskToClose(worker(1, 0), GOING_AWAY, over=3.0, by=3.0)


def test_a_second_stop_with_an_earlier_limit_closes_faster() -> None:
    fleet, _ = stopping()

    assert fleet.handle(StopRequested(None, 12.0), 22) == [
        AskToClose(worker(1, 0), GOING_AWAY, over=2.0, by=2.0)
    ]
    assert fleet.living(worker(1, 0)).forced == 5, "they are counted once"


# -- deadlines ------------------------------------------------------------------------------------


def drained(**fields: float | None) -> Worker:
    """A worker that drains since second 10, empty since two censuses, kept until second 40."""
    drain = Drain(10.0, 40.0, 70.0, empty_rounds=EMPTY_ROUNDS)
    one = Worker(worker(1), {}, WorkerState.DRAINING, 0.0, pid=7, drain=drain)
    for name, value in fields.items():
        setattr(drain if hasattr(drain, name) else one, name, value)
    return one


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (drained(), [70.0, 40.0]),
        (drained(deadline=None), [40.0]),
        (drained(empty_rounds=1), [70.0]),
        (drained(closing_by=50.0, closes_on_request=True), [50.0, 40.0]),
        (drained(paused_at=20.0), []),
        (drained(held_for_rollback=True), []),
        (drained(kill_at=30.0), [30.0, 70.0, 40.0]),
        (Worker(worker(1), {}, WorkerState.STOPPING, 0.0, kill_at=30.0, rest_at=20.0), []),
        (drained(rest_at=25.0), [25.0, 70.0, 40.0]),
    ],
)
def test_the_deadlines_are_the_instants_at_which_time_changes_something(
    one: Worker, found: list[float]
) -> None:
    assert deadlines(one, POLICY) == found
    if found:
        assert pass_time(one, POLICY, min(found) - 0.001) == []
        assert pass_time(one, POLICY, min(found)) != []


@pytest.mark.parametrize("again", ["drain", "leftover"])
def test_only_a_worker_that_was_ready_and_can_take_its_drain_back_serves_again(again: str) -> None:
    fleet = draining()
    one = fleet.living(worker(1, 0))

    assert can_serve_again(one)
    assert one.drain is not None
    if again == "drain":
        one.drain.signalled = True
    else:
        one.ready_at = None
    assert not can_serve_again(one)


def test_a_worker_that_must_end_neither_drains_nor_ends_once_more() -> None:
    one = Worker(worker(1), {}, WorkerState.STOPPING, 0.0, pid=7, kill_at=5.0)

    assert begin_drain(one, POLICY, 0.0, 1.0) == []
    assert stop(one, POLICY, 1.0) == []
    assert (one.drain, one.kill_at) == (None, 5.0)


def test_a_drain_that_is_not_paused_is_not_moved_by_a_resumption() -> None:
    drain = Drain(1.0, 2.0, 3.0)
    resume(drain, 9.0)

    assert (drain.keep_until, drain.deadline) == (2.0, 3.0)


def test_a_drain_without_a_limit_has_none_after_a_pause() -> None:
    drain = Drain(1.0, 2.0, None, paused_at=5.0)
    resume(drain, 9.0)

    assert (drain.keep_until, drain.deadline, drain.paused_at) == (6.0, None, None)


def test_a_stalled_worker_that_drains_keeps_its_drain() -> None:
    drain = Drain(1.0, 2.0, None)
    one = Worker(worker(1), {}, WorkerState.DRAINING, 0.0, drain=drain)

    assert stop_serving(one, POLICY, "why", 9.0) == []
    assert (one.state, one.reason, one.drain) == (WorkerState.STALLED, "why", drain)


def test_a_drain_signal_spares_a_worker_that_had_it_has_no_pid_or_only_helpers() -> None:
    policy = replace(POLICY, drain_signal="SIGUSR1")

    def signalled(**fields: object) -> list[Action]:
        one = Worker(worker(1), {}, WorkerState.READY, 0.0, pid=7)
        for name, value in fields.items():
            setattr(one, name, value)
        return begin_drain(one, policy, 0.0, 1.0)

    assert signalled() == [Signal(worker(1), "SIGUSR1")]
    assert signalled(pid=None) == []
    assert signalled(leftover=Leftover(Exit(0), False, 0)) == []
    assert signalled(releasing=ReleasingSockets(0.5)) == []
    assert signalled(drain=Drain(0.0, 0.0, None, signalled=True)) == []


@pytest.mark.parametrize(("at", "reports"), [(14.9, 0), (15.0, 1)])
def test_a_worker_may_keep_a_shared_socket_for_a_while_before_that_is_reported(
    at: float, reports: int
) -> None:
    drain = Drain(12.0, 12.0, None, signalled=True)
    one = Worker(worker(1), {}, WorkerState.DRAINING, 0.0, pid=7, drain=drain)
    found = counted(one, 3, alone=False, still_listens=True, began_at=at)

    assert len(found) == reports
    assert drain.still_listens is (reports == 1)
    assert counted(one, 3, alone=False, still_listens=True, began_at=16.0) == [] or reports == 0


@pytest.mark.parametrize(
    ("state", "pid", "probed"),
    [
        (WorkerState.STARTING, 7, True),
        (WorkerState.STARTING, None, False),
        (WorkerState.READY, 7, False),
    ],
)
def test_only_a_worker_that_starts_and_has_a_pid_is_probed(
    state: WorkerState, pid: int | None, probed: bool
) -> None:
    one = Worker(worker(1), {"ws": 10}, state, 0.0, pid=pid)
    policy = replace(POLICY, ready_by=ReadyBy.CONNECT)

    assert judge(one, policy) == ([Probe(one.id, {"ws": 10})] if probed else [])
    assert judge(one, POLICY) == []


@pytest.mark.parametrize("releases", [False, True])
def test_a_worker_that_must_release_its_socket_cannot_serve_again(releases: bool) -> None:
    drain = Drain(1.0, 1.0, None)
    one = Worker(worker(1), {}, WorkerState.DRAINING, 0.0, drain=drain, ready_at=0.5)
    one.releases_sockets, one.asked_until = releases, 9.0

    assert send_drain(one) == SendDrain(one.id, releases)
    assert drain.signalled is releases
    assert can_serve_again(one) is not releases
    assert one.asked_until is None
    one.drain = None
    assert send_drain(one) == SendDrain(one.id, releases)


@pytest.mark.parametrize(("watchdog", "expected"), [(0.0, False), (0.5, True)])
def test_any_watchdog_above_zero_watches(watchdog: float, expected: bool) -> None:
    one = Worker(worker(1), {}, WorkerState.READY, 0.0, watchdog=watchdog, alive_at=1.0)

    assert watched(one) is expected


def closing_with_instance(closing_by: float | None, now: float) -> list[Action]:
    """A worker with the library; the instance must have stopped by second 30."""
    one = Worker(worker(1), {}, WorkerState.READY, 0.0, pid=7, closes_on_request=True)
    one.closing_by = closing_by
    return end_with_instance(one, replace(POLICY, kill_after=10.0), 30.0, now)


def test_a_closing_that_ends_with_the_instance_is_not_begun_again() -> None:
    assert closing_with_instance(30.0, 12.0) == []
    assert closing_with_instance(30.1, 12.0) == [
        AskToClose(worker(1), GOING_AWAY, over=5.0, by=8.0)
    ]
    assert closing_with_instance(20.0, 19.9) == []
    assert closing_with_instance(20.0, 20.0) == [Signal(worker(1), "SIGTERM")]


def test_a_stop_without_time_to_spread_closes_all_at_once() -> None:
    assert closing_with_instance(None, 25.0) == [
        AskToClose(worker(1), GOING_AWAY, over=0.0, by=0.0)
    ]
    assert closing_with_instance(None, 30.0) == [Signal(worker(1), "SIGTERM")]


def test_a_worker_that_ends_already_is_not_asked_to_close_by_a_stop() -> None:
    one = Worker(worker(1), {}, WorkerState.STOPPING, 0.0, pid=7, closes_on_request=True)

    assert end_with_instance(one, POLICY, 30.0, 12.0) == []


def test_a_worker_that_loses_its_place_is_kept_no_longer_than_its_connections() -> None:
    one = Worker(worker(1), {}, WorkerState.READY, 0.0, pid=7)
    stop_serving(one, replace(POLICY, drain_timeout=20.0), "why", 9.0)

    assert one.drain == Drain(9.0, 9.0, 29.0)


def test_connections_that_were_being_closed_are_not_counted_again_at_the_end() -> None:
    fleet = with_library()
    fleet.handle(TimePassed(), 72)
    fleet.census(80, {worker(1, 0): 4})
    fleet.handle(TimePassed(), 102)

    assert fleet.living(worker(1, 0)).state is WorkerState.STOPPING
    assert fleet.living(worker(1, 0)).forced == 5


def test_connections_that_went_with_a_main_process_are_not_forced_when_its_helpers_end() -> None:
    one = Worker(worker(1), {}, WorkerState.DRAINING, 0.0, pid=7, connections=4)
    one.leftover = Leftover(Exit(1), False, 4, serves=False)
    stop(one, POLICY, 9.0)

    assert one.forced == 0
