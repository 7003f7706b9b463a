"""A generation's drain: its limits, its pauses, and what it reports at its end."""

from dataclasses import replace
from math import inf

from tests.unit.fleet.driven import POLICY, Driven, draining, worker
from wssupervisor.fleet.actions import Answer, DrainChanged
from wssupervisor.fleet.events import (
    DrainLimited,
    DrainPaused,
    DrainResumed,
    LibraryConnected,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.model import (
    Exit,
)
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import Kill, Signal


def test_a_generation_is_kept_for_a_while_even_without_connections() -> None:
    fleet = draining()
    for second in (13, 14, 15):
        assert fleet.census(second, {worker(1, 0): 0, worker(1, 1): 0}) == []

    assert fleet.next_deadline() == 17
    assert fleet.handle(TimePassed(), 17) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


def test_a_limit_ends_a_drain_with_its_connections() -> None:
    fleet = draining(replace(POLICY, drain_timeout=60.0))
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 5})

    assert fleet.handle(TimePassed(), 71.9) == []
    assert fleet.handle(TimePassed(), 72) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]
    assert fleet.handle(TimePassed(), 82) == [Kill(worker(1, 0)), Kill(worker(1, 1))]


def test_an_operator_can_give_a_drain_a_limit() -> None:
    fleet = draining()

    assert fleet.handle(DrainLimited(9, 1, 3.0), 13) == [
        Answer(9, DrainChanged(1, workers=2, connections=0, paused=False, seconds=3.0))
    ]
    assert fleet.next_deadline() == 16
    assert len(fleet.handle(TimePassed(), 16)) == 2


def test_only_a_draining_generation_can_be_given_a_limit() -> None:
    (answer,) = draining().handle(DrainLimited(9, 2, 0.0), 13)

    assert "generation 2 is not draining (draining: 1)" in str(answer)


def test_a_limit_can_be_taken_away_again() -> None:
    fleet = draining(replace(POLICY, drain_timeout=60.0))
    fleet.handle(DrainLimited(9, 1, inf), 13)

    assert fleet.next_deadline() is None


def test_a_paused_drain_is_left_alone_by_its_limit_and_when_it_is_empty() -> None:
    fleet = draining(replace(POLICY, drain_timeout=60.0))
    fleet.handle(DrainPaused(9, 1), 22)
    for at in (23, 24, 25):
        fleet.census(at, {worker(1, 0): 0, worker(1, 1): 3})

    assert fleet.handle(TimePassed(), 1000) == []
    assert fleet.next_deadline() is None

    (answer, *rest) = fleet.handle(DrainResumed(10, 1), 1022)

    assert answer == Answer(
        10, DrainChanged(1, workers=2, connections=3, paused=False, seconds=50.0)
    )
    assert rest == [Signal(worker(1, 0), "SIGTERM")]
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=0)), 1023)
    assert fleet.handle(TimePassed(), 1022 + 50) == [Signal(worker(1, 1), "SIGTERM")]


def test_the_last_worker_of_an_old_generation_retires_it() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=0)), 14)
    fleet.handle(WorkerExited(worker(1, 1), Exit(status=0)), 15)

    assert list(fleet.state.generations) == [2]
    assert fleet.notes[-1] == Note(
        NoteKind.GENERATION_RETIRED,
        {"generation": 1, "seconds": 3.0, "connections": 0, "forced": 0, "lost": 0},
    )


def retired(fleet: Driven, now: float) -> dict[str, object]:
    """What is said of generation 1 when both its workers have gone."""
    for index in (0, 1):
        fleet.handle(WorkerExited(worker(1, index), Exit(status=0)), now)
    note = fleet.notes[-1]
    assert note.kind is NoteKind.GENERATION_RETIRED
    return dict(note.fields)


def test_a_retired_generation_reports_connections_that_ended_were_closed_or_were_lost() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 9, worker(1, 1): 3})
    fleet.census(14, {worker(1, 0): 5, worker(1, 1): 2})
    fleet.handle(WorkerExited(worker(1, 1), Exit(status=1)), 15)
    fleet.handle(DrainLimited(9, 1, 0.0), 16)
    fleet.census(17, {worker(1, 0): 1})

    assert retired(fleet, 22) == {
        "generation": 1, "seconds": 10, "connections": 12, "forced": 5, "lost": 2
    }  # fmt: skip


def test_connections_that_a_worker_need_not_close_after_all_are_not_forced() -> None:
    fleet = draining()
    for index in (0, 1):
        fleet.handle(LibraryConnected(worker(1, index), closes=True, releases_sockets=False), 12)
    fleet.census(13, {worker(1, 0): 10, worker(1, 1): 0})
    fleet.handle(DrainLimited(9, 1, 1.0), 13)
    fleet.handle(TimePassed(), 13)
    fleet.census(14, {worker(1, 0): 7, worker(1, 1): 0})
    fleet.handle(DrainPaused(9, 1), 14)
    fleet.census(15, {worker(1, 0): 0, worker(1, 1): 0})

    assert retired(fleet, 20)["forced"] == 3
