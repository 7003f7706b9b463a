"""Why a worker ended or is late, and how many connections its end costs."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import POLICY, serving, worker
from wssupervisor.fleet.causes import at_stake, cause, why_failed, why_late
from wssupervisor.fleet.model import Exit, ReadyBy, WorkerState
from wssupervisor.fleet.state import Leftover, Worker

LATE = {
    ReadyBy.CONNECT: "it accepted no connection. It must serve the socket",
    ReadyBy.HTTP: "it accepted no connection. It must serve the socket",
    ReadyBy.WEBSOCKET: "it accepted no connection. It must serve the socket",
    ReadyBy.NOTIFY: "READY=1",
    ReadyBy.DELAY: None,
}


@pytest.mark.parametrize("by", ReadyBy)
def test_a_worker_that_is_late_has_a_reason_with_what_to_do(by: ReadyBy) -> None:
    one = serving().living(worker(1))
    text = why_late(one, replace(POLICY, ready_by=by, ready_timeout=5.0))
    advice = LATE[by]

    assert text.startswith("was not ready within 5s")
    assert text == "was not ready within 5s" if advice is None else advice in text


@pytest.mark.parametrize(
    ("ready_at", "pid", "advice", "text"),
    [
        (None, None, None, "worker 0 of generation 1 failed"),
        (None, 7, None, "worker 0 of generation 1 failed before it was ready"),
        (8.5, 7, None, "worker 0 of generation 1 failed 1.5 s after it was ready, within `stable`"),
        (None, 7, "do it", "worker 0 of generation 1 failed before it was ready: do it"),
    ],
)
def test_why_a_candidate_failed_names_the_worker_and_the_moment(
    ready_at: float | None, pid: int | None, advice: str | None, text: str
) -> None:
    one = Worker(worker(1), {}, WorkerState.READY, 0.0, pid=pid, ready_at=ready_at)

    assert why_failed(one, "failed", advice, 10.0) == text


@pytest.mark.parametrize(
    ("one", "how", "expected"),
    [
        (Worker(worker(1), {}, WorkerState.READY, 0.0), "no memory", "not-started"),
        (Worker(worker(1), {}, WorkerState.STOPPING, 0.0, kill_at=5.0), Exit(0), "requested"),
        (Worker(worker(1), {}, WorkerState.STOPPING, 0.0), Exit(signal="SIGKILL"), "killed"),
        (
            Worker(worker(1), {}, WorkerState.STOPPING, 0.0, kill_at=5.0, reason="late"),
            Exit(0),
            "never-ready",
        ),
        (
            Worker(worker(1), {}, WorkerState.STOPPING, 0.0, ready_at=1.0, reason="stuck"),
            Exit(0),
            "replaced",
        ),
        (Worker(worker(1), {}, WorkerState.READY, 0.0), Exit(0), "exit-zero"),
        (Worker(worker(1), {}, WorkerState.READY, 0.0), Exit(4), "exit-status"),
        (Worker(worker(1), {}, WorkerState.READY, 0.0), Exit(signal="SIGKILL"), "sigkill"),
        (Worker(worker(1), {}, WorkerState.READY, 0.0), Exit(signal="SIGHUP"), "signal"),
        (Worker(worker(1), {}, WorkerState.READY, 0.0), Exit(), "unknown"),
    ],
)
def test_the_cause_of_an_end(one: Worker, how: Exit | str, expected: str) -> None:
    assert cause(one, how) == expected


@pytest.mark.parametrize(
    ("leftover", "expected"),
    [
        (None, 2),
        (Leftover(Exit(0), False, 7), 7),
        (Leftover(Exit(0), False, 7, serves=False), 7),
        (Leftover(Exit(0), False, 7, serves=True), 2),
        (Leftover(Exit(0), True, 7), 2),
    ],
)
def test_connections_of_a_main_process_that_ended_unasked_went_with_it(
    leftover: Leftover | None, expected: int
) -> None:
    one = Worker(worker(1), {}, WorkerState.READY, 0.0, connections=2, leftover=leftover)

    assert at_stake(one) == expected
