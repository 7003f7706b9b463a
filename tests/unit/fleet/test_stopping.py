"""Stopping the instance: parking, ending every worker within the limit, quitting."""

from tests.unit.fleet.driven import PARKING, serving, steered, worker
from wssupervisor.fleet.actions import Answer, Quit, Steer, Stopped
from wssupervisor.fleet.events import (
    LibraryConnected,
    Steered,
    StopRequested,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.model import (
    Exit,
)
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
