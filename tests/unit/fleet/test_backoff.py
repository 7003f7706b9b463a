"""How long a worker that keeps failing waits for its next start."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import POLICY, serving, worker
from wssupervisor.fleet.backoff import delay, stable_time
from wssupervisor.fleet.events import (
    TimePassed,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
)


def test_a_worker_that_crashes_again_and_again_waits_longer_each_time() -> None:
    fleet = serving()
    delays = []
    now = 10.0
    for incarnation in range(1, 6):
        fleet.handle(WorkerExited(worker(1, 0, incarnation), Exit(status=1)), now)
        seat = fleet.state.generations[1].seats[0]
        delays.append(0.0 if seat.retry_at is None else seat.retry_at - now)
        now = max(now, seat.retry_at or now)
        fleet.handle(TimePassed(), now)

    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0]


def test_failures_are_forgotten_after_a_stable_time() -> None:
    fleet = serving()
    for at in (100.0, 200.0):
        fleet.spawn_all(
            fleet.handle(WorkerExited(worker(1, 0, int(at / 100)), Exit(status=1)), at), at
        )
        fleet.handle(WorkerReady(worker(1, 0, int(at / 100) + 1)), at)

    assert fleet.state.generations[1].seats[0].failures == 1


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0.0), (1, 0.0), (2, 0.5), (3, 1.0), (4, 2.0), (7, 16.0), (8, 30.0), (5000, 30.0)],
)
def test_the_delay_doubles_from_the_second_failure_to_its_limit(
    failures: int, seconds: float
) -> None:
    assert delay(POLICY, failures) == seconds


def test_a_worker_is_stable_after_the_longer_of_stable_and_the_longest_pause() -> None:
    assert stable_time(replace(POLICY, stable=5.0, backoff_max=3.0)) == 5.0
    assert stable_time(replace(POLICY, stable=5.0, backoff_max=30.0)) == 30.0
