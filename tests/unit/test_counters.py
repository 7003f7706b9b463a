"""What is counted, from the notes of what happened; one row each."""

import pytest

from tests.unit.test_fleet import Told, draining, serving, starting, worker
from wssupervisor.fleet.actions import Note, NoteKind
from wssupervisor.fleet.counters import CAUSES, RELOAD_BOUNDS, Counters, Histogram
from wssupervisor.fleet.events import (
    DrainLimited,
    Reexecuted,
    ReleaseRefused,
    ReloadRequested,
    RollBackRequested,
    SlotLetGo,
    SpawnFailed,
    SteerFailed,
    StopRequested,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.model import Exit
from wssupervisor.fleet.worker import cause


def counters(told: Told) -> Counters:
    return told.fleet.state.counters


def test_a_start_is_no_reload_and_its_workers_count() -> None:
    found = counters(serving())

    assert (found.reloads, found.spawned, sum(found.start_seconds.counts)) == ({}, 2, 2)


def test_a_reload_its_drain_and_those_who_left_count() -> None:
    told = draining()
    told.census(13, {worker(1, 0): 9, worker(1, 1): 3})
    told.census(14, {worker(1, 0): 5, worker(1, 1): 2})
    told.tell(WorkerExited(worker(1, 1), Exit(status=1)), 15)
    told.tell(DrainLimited(9, 1, 0.0), 16)
    before = counters(told).drains_over
    told.tell(WorkerExited(worker(1, 0), Exit(status=0)), 17)
    found = counters(told)

    assert found.reloads == {"reload succeeded": 1}
    assert (found.reload_seconds.counts[3], found.reload_seconds.total) == (1, 2.0)
    assert (found.drains_begun, before, found.drains_over) == (1, 0, 1)
    assert (found.drained, found.forced, found.lost) == (5, 5, 2)
    assert found.exits == {"exit-status": 1, "told": 1}
    assert found.drain_seconds.total == 5.0


def test_a_reload_that_fails_or_is_refused_counts_as_that() -> None:
    told = serving()
    told.tell(ReloadRequested(7), 10)
    told.tell(RollBackRequested(8), 10)
    told.tell(ReloadRequested(9), 10)
    told.tell(ReleaseRefused(1, "no"), 11)
    found = counters(told)

    assert found.reloads == {"rollback refused": 1, "reload refused": 1, "reload failed": 1}
    assert sum(found.reload_seconds.counts) == 1


def test_a_drain_that_is_rolled_back_to_has_ended_and_another_begun() -> None:
    told = draining()
    told.tell(RollBackRequested(3), 13)
    told.steer(told.tell(TimePassed(), 14), 14)
    found = counters(told)

    assert found.reloads == {"reload succeeded": 1, "rollback succeeded": 1}
    assert (found.drains_begun, found.drains_undone, found.drains_over) == (2, 1, 0)


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
    told = serving()
    told.census(4, {worker(1): 7})
    told.tell(WorkerExited(worker(1), ended), 10)

    assert counters(told).exits == {why: 1}
    assert (counters(told).lost, counters(told).forced) == (7, 0)


def test_who_cannot_be_started_counts_as_that() -> None:
    told = serving()
    told.begin_reload(10)
    told.tell(SpawnFailed(worker(2), "no such file"), 11)
    told.tell(WorkerExited(worker(2, 1), Exit(signal="SIGTERM")), 11)

    assert counters(told).exits == {"not-started": 1, "told": 1}


def test_who_is_never_ready_counts_as_that() -> None:
    told = starting()
    told.tell(TimePassed(), 1 + told.policy.ready_timeout)
    told.tell(WorkerExited(worker(1), Exit(signal="SIGTERM")), 40)

    assert counters(told).exits == {"never-ready": 1}


def test_who_accepts_no_more_counts_as_silent_when_it_is_ended() -> None:
    told = serving()
    told.steer(told.tell(SlotLetGo(worker(1)), 10), 10)
    before = dict(counters(told).exits)
    told.steer(told.tell(StopRequested(None), 11), 11)
    told.tell(WorkerExited(worker(1), Exit(signal="SIGTERM")), 12)

    assert (before, counters(told).silent) == ({}, 1)
    assert counters(told).exits == {"silent": 1}


def test_who_has_to_be_killed_counts_as_that_with_its_connections() -> None:
    told = serving()
    told.census(4, {worker(1): 7})
    told.steer(told.tell(StopRequested(None), 10), 10)
    told.tell(TimePassed(), 10 + told.policy.kill_after)
    told.tell(WorkerExited(worker(1), Exit(signal="SIGKILL")), 21)

    assert counters(told).exits == {"killed": 1}
    assert (counters(told).forced, counters(told).lost) == (7, 0)


def test_a_steering_that_fails_and_a_new_program_count() -> None:
    told = serving()
    told.begin_reload(10)
    told.make_ready(2, 11)
    told.tell(TimePassed(), 12)
    told.tell(SteerFailed(told.fleet.state.steering.epoch, "no"), 12)
    told.tell(Reexecuted("2", "1"), 13)

    assert (counters(told).steering_failures, counters(told).upgrades) == (1, 1)


def test_every_cause_is_one_that_is_shown() -> None:
    one = serving().fleet.state.worker(worker(1))
    assert one is not None
    for ended in ("x", Exit(0), Exit(1), Exit(None, "SIGKILL"), Exit(None, "SIGHUP"), Exit()):
        assert cause(one, ended) in CAUSES


def test_a_histogram_puts_each_in_the_first_bucket_that_holds_it() -> None:
    found = Histogram()
    for seconds in (0.1, 0.25, 0.26, 1000.0):
        found.observe(RELOAD_BOUNDS, seconds)

    assert found.counts == [2, 1, *[0] * 8, 1]
    assert found.total == pytest.approx(1000.61)


def test_one_with_the_bounds_of_an_older_program_begins_anew() -> None:
    found = Histogram([1, 2], 3.0)
    found.observe(RELOAD_BOUNDS, 0.1)

    assert (sum(found.counts), found.total) == (1, 0.1)


def test_what_is_no_counters_affair_changes_nothing() -> None:
    found = Counters()
    found.take_in(Note(NoteKind.STARTED, {"generation": 1}))

    assert found == Counters()
