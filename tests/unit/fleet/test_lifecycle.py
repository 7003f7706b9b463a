"""One worker's life: its start, its signals, its drain, its end."""

from dataclasses import replace

from tests.unit.fleet.driven import POLICY, A, Driven, draining, serving, worker
from wssupervisor.fleet.actions import (
    Probe,
    Signal,
)
from wssupervisor.fleet.events import (
    CensusTaken,
    Spawned,
    StartRequested,
    StopRequested,
    TimePassed,
)
from wssupervisor.fleet.model import (
    ReadyBy,
)


def test_a_spawned_worker_is_probed_on_its_slots() -> None:
    fleet = Driven(replace(POLICY, ready_by=ReadyBy.CONNECT))
    fleet.look(0)
    fleet.handle(StartRequested(A, fleet.policy), 1)

    assert fleet.handle(Spawned(worker(1, 0), 5), 2) == [Probe(worker(1, 0), {"ws": 10})]


def test_a_draining_worker_is_left_alone_until_two_censuses_found_nothing() -> None:
    fleet = draining()
    gone = {worker(1, 0): 0, worker(1, 1): 3}

    assert fleet.census(18, gone) == []
    assert fleet.census(19, gone) == [Signal(worker(1, 0), "SIGTERM")]
    assert fleet.census(20, {worker(1, 1): 0}) == []
    assert fleet.census(21, {worker(1, 1): 0}) == [Signal(worker(1, 1), "SIGTERM")]


def test_a_census_begun_before_the_drain_does_not_count() -> None:
    fleet = draining(replace(POLICY, keep=0.0))
    fleet.handle(CensusTaken({worker(1, 0): 0}, 0, began_at=11), 13)

    assert fleet.census(14, {worker(1, 0): 0}) == []


def test_a_drain_signal_is_sent_once_when_the_drain_begins() -> None:
    fleet = serving(replace(POLICY, drain_signal="SIGUSR1"))
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    actions = fleet.steer(fleet.handle(TimePassed(), 12), 12)

    assert [one for one in actions if isinstance(one, Signal)] == [
        Signal(worker(1, 0), "SIGUSR1"),
        Signal(worker(1, 1), "SIGUSR1"),
    ]


def test_a_worker_that_must_end_before_it_has_a_pid_is_signalled_when_it_has_one() -> None:
    fleet = Driven()
    fleet.steer(fleet.look(0), 0)
    fleet.handle(StartRequested(A, POLICY), 1)

    assert fleet.handle(StopRequested(None), 2) == []
    assert fleet.handle(Spawned(worker(1, 0), 5), 3) == [Signal(worker(1, 0), "SIGTERM")]
