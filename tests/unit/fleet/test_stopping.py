"""Stopping the instance: parking, ending every worker within the limit, quitting."""

from dataclasses import replace

from tests.unit.fleet.driven import (
    PARKING,
    POLICY,
    draining,
    library,
    serving,
    starting,
    steered,
    worker,
)
from wssupervisor.fleet import stopping
from wssupervisor.fleet.actions import Answer, CutOver, Quit, Steer, Stopped
from wssupervisor.fleet.events import (
    LibraryConnected,
    Steered,
    SteerFailed,
    StopRequested,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.model import (
    Exit,
)
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import Kill, Signal


def test_a_stop_parks_first_then_ends_every_worker_then_quits() -> None:
    fleet = serving()
    actions = fleet.handle(StopRequested(5), 10)

    assert actions == [Steer(3, steered(PARKING))]
    assert fleet.handle(Steered(3), 10) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]
    assert fleet.handle(WorkerExited(worker(1, 0), Exit(status=0)), 11) == []
    assert fleet.handle(WorkerExited(worker(1, 1), Exit(status=0)), 11) == [
        Answer(5, Stopped()),
        Quit(0),
    ]


def test_a_stop_kills_at_the_earlier_of_its_limits() -> None:
    fleet = serving()
    fleet.handle(StopRequested(None, within=3.0), 10)
    fleet.handle(Steered(3), 10)

    assert fleet.next_deadline() == 13
    assert fleet.handle(TimePassed(), 13) == [Kill(worker(1, 0)), Kill(worker(1, 1))]


def test_a_stop_whose_steering_is_never_answered_ends_polite_workers_at_its_limit() -> None:
    fleet = serving()
    for index in (0, 1):
        fleet.handle(LibraryConnected(worker(1, index), closes=True, releases_sockets=False), 9)
    fleet.handle(StopRequested(None, within=3.0), 10)

    assert fleet.next_deadline() == 13
    ended = fleet.handle(TimePassed(), 13)
    assert [one for one in ended if isinstance(one, Kill)] == [
        Kill(worker(1, 0)),
        Kill(worker(1, 1)),
    ]
    assert fleet.next_deadline() is None


def test_a_second_stop_can_bring_its_limit_nearer_and_not_put_it_off() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(StopRequested(1), 10), 10)
    (busy, *kills) = fleet.handle(StopRequested(2, within=0.0), 11)
    fleet.handle(StopRequested(None, within=100.0), 12)

    assert "already stopping" in str(busy)
    assert kills == [Kill(worker(1, 0)), Kill(worker(1, 1))]
    assert fleet.state.stop is not None
    assert fleet.state.stop.deadline == 11


def test_a_stop_ends_a_reload_with_an_answer() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    actions = fleet.handle(StopRequested(None), 11)

    assert [one.request for one in actions if isinstance(one, Answer)] == [7]


def test_a_stop_is_reported_with_its_limit_and_its_status() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(StopRequested(None), 10), 10)
    for index in (0, 1):
        fleet.handle(WorkerExited(worker(1, index), Exit(0)), 11)

    assert fleet.fields(NoteKind.STOP_BEGUN) == [{"within": 30.0}]
    assert fleet.fields(NoteKind.STOPPED) == [{"status": 0}]
    assert fleet.state.generations == {}


def test_a_stop_without_a_requester_gets_no_answer() -> None:
    fleet = serving()
    actions = fleet.steer(fleet.handle(StopRequested(None), 10), 10)
    actions += fleet.handle(StopRequested(None, within=20.0), 10)

    assert not any(isinstance(one, Answer) for one in actions)


def test_a_drain_that_a_stop_cuts_short_is_reported_as_that() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 0})
    fleet.steer(fleet.handle(StopRequested(None), 20), 20)
    for number in (1, 2):
        for index in (0, 1):
            fleet.handle(WorkerExited(worker(number, index), Exit(0)), 22)

    assert fleet.fields(NoteKind.GENERATION_RETIRED) == [
        {
            "generation": 1,
            "seconds": 10,
            "connections": 5,
            "forced": 5,
            "lost": 0,
            "stopped": True,
        }
    ]


def test_a_stop_waits_for_its_table_until_its_limit() -> None:
    fleet = serving()
    fleet.handle(StopRequested(None, within=8.0), 10)

    assert fleet.handle(TimePassed(), 17.9) == []
    assert len(fleet.handle(TimePassed(), 18)) == 4, "a signal and a kill for each"


def test_steering_that_fails_delays_no_stop() -> None:
    fleet = serving()
    fleet.handle(StopRequested(None), 10)

    assert fleet.handle(SteerFailed(3, "refused"), 11) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


def test_a_stop_during_a_cutover_lets_the_table_come_first() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)

    assert fleet.handle(StopRequested(None), 12) == [], "neither fails the reload"
    assert fleet.state.reload is not None

    actions = fleet.handle(Steered(3), 12)

    assert Answer(7, CutOver(1, 2, 1, 2)) in actions
    assert [one.table for one in actions if isinstance(one, Steer)] == [steered(PARKING)]


def test_the_first_start_is_not_answered_when_it_is_stopped() -> None:
    fleet = starting()
    fleet.handle(StopRequested(5), 2)

    assert fleet.state.stop is not None
    assert (fleet.state.stop.status, fleet.state.stop.reason) == (0, None)


def test_the_deadlines_of_a_stop_are_those_of_its_workers() -> None:
    fleet = serving(replace(POLICY, kill_after=60.0))
    fleet.handle(library(worker(1, 0)), 5)
    fleet.census(6, {worker(1, 0): 5, worker(1, 1): 0})
    fleet.steer(fleet.handle(StopRequested(None, within=90.0), 10), 10)
    closing_by = fleet.living(worker(1, 0)).closing_by
    stop = fleet.state.stop

    assert closing_by is not None
    assert stop is not None
    assert sorted(stopping.deadlines(fleet.state, stop)) == [closing_by, 100]

    fleet.living(worker(1, 1)).pid = None

    assert sorted(stopping.deadlines(fleet.state, stop)) == [closing_by]

    fleet.state.steering.in_flight = steered(PARKING)

    assert sorted(stopping.deadlines(fleet.state, stop)) == [100]
