"""What is counted, from the notes of what happened; one row each."""

import pytest

from tests.unit.fleet.driven import Driven, draining, serving, starting, worker
from wssupervisor.fleet.causes import cause
from wssupervisor.fleet.counters import (
    CAUSES,
    DRAIN_BOUNDS,
    LAG_BOUNDS,
    RELOAD_BOUNDS,
    START_BOUNDS,
    Counters,
    Histogram,
)
from wssupervisor.fleet.events import (
    DrainLimited,
    Reexecuted,
    ReleaseRefused,
    ReloadRequested,
    RollBackRequested,
    SlotReleased,
    SpawnFailed,
    SteerFailed,
    StopRequested,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.model import Exit
from wssupervisor.fleet.notes import Note, NoteField, NoteKind


def counters(fleet: Driven) -> Counters:
    return fleet.state.counters


def test_a_start_is_no_reload_and_its_workers_count() -> None:
    found = counters(serving())

    assert (found.reloads, found.of(NoteKind.WORKER_SPAWNED), sum(found.start_seconds.counts)) == (
        {},
        2,
        2,
    )


def test_a_reload_its_drain_and_the_connections_that_ended_count() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 9, worker(1, 1): 3})
    fleet.census(14, {worker(1, 0): 5, worker(1, 1): 2})
    fleet.handle(WorkerExited(worker(1, 1), Exit(status=1)), 15)
    fleet.handle(DrainLimited(9, 1, 0.0), 16)
    before = counters(fleet).drains_over
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=0)), 17)
    found = counters(fleet)

    assert found.reloads == {"reload succeeded": 1}
    assert (found.reload_seconds.counts[3], found.reload_seconds.total) == (1, 2.0)
    assert (found.of(NoteKind.DRAIN_BEGUN), before, found.drains_over) == (1, 0, 1)
    assert (found.drained, found.forced, found.lost) == (5, 5, 2)
    assert found.exits == {"exit-status": 1, "requested": 1}
    assert found.drain_seconds.total == 5.0


def test_a_reload_that_fails_or_is_refused_counts_as_that() -> None:
    fleet = serving()
    fleet.handle(ReloadRequested(7), 10)
    fleet.handle(RollBackRequested(8), 10)
    fleet.handle(ReloadRequested(9), 10)
    fleet.handle(ReleaseRefused(1, "no"), 11)
    found = counters(fleet)

    assert found.reloads == {"rollback refused": 1, "reload refused": 1, "reload failed": 1}
    assert sum(found.reload_seconds.counts) == 1


def test_a_drain_that_is_rolled_back_to_has_ended_and_another_begun() -> None:
    fleet = draining()
    fleet.handle(RollBackRequested(3), 13)
    fleet.steer(fleet.handle(TimePassed(), 14), 14)
    found = counters(fleet)

    assert found.reloads == {"reload succeeded": 1, "rollback succeeded": 1}
    assert (found.of(NoteKind.DRAIN_BEGUN), found.drains_undone, found.drains_over) == (2, 1, 0)


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        (Exit(status=0), "exit-zero"),
        (Exit(status=3), "exit-status"),
        (Exit(signal="SIGKILL"), "sigkill"),
        (Exit(signal="SIGSEGV"), "signal"),
        (Exit(), "unknown"),
    ],
)
def test_a_crash_counts_by_how_it_ended(ended: Exit, why: str) -> None:
    fleet = serving()
    fleet.census(4, {worker(1): 7})
    fleet.handle(WorkerExited(worker(1), ended), 10)

    assert counters(fleet).exits == {why: 1}
    assert (counters(fleet).lost, counters(fleet).forced) == (7, 0)


def test_a_worker_that_cannot_be_started_counts_as_that() -> None:
    fleet = serving()
    fleet.begin_reload(10)
    fleet.handle(SpawnFailed(worker(2), "no such file"), 11)
    fleet.handle(WorkerExited(worker(2, 1), Exit(signal="SIGTERM")), 11)

    assert counters(fleet).exits == {"not-started": 1, "requested": 1}


def test_a_worker_that_is_never_ready_counts_as_that() -> None:
    fleet = starting()
    fleet.handle(TimePassed(), 1 + fleet.policy.ready_timeout)
    fleet.handle(WorkerExited(worker(1), Exit(signal="SIGTERM")), 40)

    assert counters(fleet).exits == {"never-ready": 1}


def test_a_worker_that_stopped_accepting_counts_as_stalled_when_it_is_ended() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(SlotReleased(worker(1)), 10), 10)
    before = dict(counters(fleet).exits)
    fleet.steer(fleet.handle(StopRequested(None), 11), 11)
    fleet.handle(WorkerExited(worker(1), Exit(signal="SIGTERM")), 12)

    assert (before, counters(fleet).of(NoteKind.WORKER_STALLED)) == ({}, 1)
    assert counters(fleet).exits == {"replaced": 1}


def test_a_worker_that_has_to_be_killed_counts_as_that_with_its_connections() -> None:
    fleet = serving()
    fleet.census(4, {worker(1): 7})
    fleet.steer(fleet.handle(StopRequested(None), 10), 10)
    fleet.handle(TimePassed(), 10 + fleet.policy.kill_after)
    fleet.handle(WorkerExited(worker(1), Exit(signal="SIGKILL")), 21)

    assert counters(fleet).exits == {"killed": 1}
    assert (counters(fleet).forced, counters(fleet).lost) == (7, 0)


def test_a_steering_that_fails_and_a_new_program_count() -> None:
    fleet = serving()
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    fleet.handle(SteerFailed(fleet.state.steering.epoch, "no"), 12)
    fleet.handle(Reexecuted("2", "1"), 13)

    assert (
        counters(fleet).of(NoteKind.STEERING_FAILED),
        counters(fleet).of(NoteKind.REEXECUTED),
    ) == (1, 1)


def test_every_cause_is_one_that_is_shown() -> None:
    one = serving().state.worker(worker(1))
    assert one is not None
    for ended in ("x", Exit(0), Exit(1), Exit(None, "SIGKILL"), Exit(None, "SIGHUP"), Exit()):
        assert cause(one, ended) in CAUSES


def test_a_histogram_puts_each_in_the_first_bucket_that_holds_it() -> None:
    found = Histogram()
    for seconds in (0.1, 0.25, 0.26, 1000.0):
        found.observe(RELOAD_BOUNDS, seconds)

    assert found.counts == [2, 1, *[0] * 8, 1]
    assert found.total == pytest.approx(1000.61)


def test_a_histogram_with_the_bounds_of_an_older_program_begins_again() -> None:
    found = Histogram([1, 2], 3.0)
    found.observe(RELOAD_BOUNDS, 0.1)

    assert (sum(found.counts), found.total) == (1, 0.1)


def test_what_is_no_counters_affair_changes_nothing() -> None:
    found = Counters()
    found.take_in(Note(NoteKind.STARTED, {"generation": 1}))

    assert found == Counters()


def test_the_bounds_of_the_histograms_are_those_that_dashboards_rely_on() -> None:
    assert RELOAD_BOUNDS == (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
    assert START_BOUNDS == (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
    assert DRAIN_BOUNDS == (10, 60, 300, 900, 3600, 14400, 43200, 86400, 604800)
    assert LAG_BOUNDS == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)


def test_counters_begin_at_zero() -> None:
    found = Counters()

    assert (found.drains_over, found.drains_undone) == (0, 0)
    assert (found.drained, found.forced, found.lost) == (0, 0, 0)
    assert Histogram() == Histogram([], 0.0)
    assert found.of(NoteKind.WORKER_STALLED) == 0


def test_a_worker_that_reports_more_than_it_had_leaves_no_negative_count() -> None:
    found = Counters()
    fields = {"seconds": 5.0, "connections": 3, "forced": 3, "lost": 2}
    found.take_in(Note(NoteKind.GENERATION_RETIRED, fields))

    assert found.drained == 0


def test_a_start_undoes_no_drain() -> None:
    found = Counters()
    fields: dict[str, NoteField] = {
        "attempt": "reload",
        "seconds": 1.0,
        "generation": 2,
        "replaced": None,
    }
    found.take_in(Note(NoteKind.CUTOVER, fields))

    assert (found.drains_undone, found.reloads) == (0, {"reload succeeded": 1})
