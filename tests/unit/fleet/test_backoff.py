"""How long a worker that keeps failing waits for its next start."""

from tests.unit.fleet.driven import serving, worker
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
