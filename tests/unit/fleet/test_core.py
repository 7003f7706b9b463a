"""Which module an event goes to, events that come late, requesters that leave, and scaling."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import POLICY, B, Driven, library, serving, worker
from wssupervisor.fleet.actions import Answer, Failed, Quit
from wssupervisor.fleet.events import (
    CensusTaken,
    Event,
    LibraryDisconnected,
    MainProcessEnded,
    ProbeFailed,
    ProbePassed,
    ProbeTried,
    ReleaseRefused,
    ReleaseResolved,
    ReloadRequested,
    RequesterGone,
    ScaleRequested,
    SlotReleased,
    Spawned,
    StopRequested,
    TimePassed,
    WorkerAlive,
    WorkerCounted,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import Exit
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
        Answer(7, Failed("busy", "a reload is under way. Try again when it is done"))
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


def test_a_failed_generation_is_forgotten_without_a_report_of_a_drain() -> None:
    fleet = serving()
    fleet.begin_reload(10)
    fleet.handle(WorkerExited(worker(2, 0), Exit(status=1)), 11)
    with_one_left = list(fleet.state.generations)
    fleet.handle(WorkerExited(worker(2, 1), Exit(signal="SIGTERM")), 12)

    assert (with_one_left, list(fleet.state.generations)) == ([1, 2], [1])
    assert fleet.fields(NoteKind.GENERATION_RETIRED) == []
