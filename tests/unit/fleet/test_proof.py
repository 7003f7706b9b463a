"""Which event makes a worker ready: only the one that `[ready] by` names."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import POLICY, starting, steered, worker
from wssupervisor.fleet.actions import (
    Steer,
)
from wssupervisor.fleet.events import (
    ProbePassed,
    TimePassed,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    ReadyBy,
    WorkerState,
)
from wssupervisor.fleet.proof import proves


def test_a_probe_decides_connect_readiness_and_the_spawn_alone_decides_delay() -> None:
    by_connect = starting(replace(POLICY, ready_by=ReadyBy.CONNECT))
    by_delay = starting(replace(POLICY, ready_by=ReadyBy.DELAY))
    by_connect.handle(ProbePassed(worker(1, 0)), 2)
    by_connect.handle(ProbePassed(worker(1, 1)), 2)

    assert by_connect.handle(TimePassed(), 3) == [Steer(2, steered(10, 11))]
    assert by_delay.handle(TimePassed(), 2) == [Steer(2, steered(10, 11))]


@pytest.mark.parametrize("by", ReadyBy)
@pytest.mark.parametrize("event", [WorkerReady, ProbePassed])
def test_only_what_ready_by_names_makes_a_worker_ready(
    by: ReadyBy, event: type[WorkerReady | ProbePassed]
) -> None:
    fleet = starting(replace(POLICY, ready_by=by))
    fleet.handle(event(worker(1, 0)), 2)
    one = fleet.state.worker(worker(1, 0))
    named = {ReadyBy.NOTIFY: WorkerReady, ReadyBy.DELAY: None}.get(by, ProbePassed)

    assert one is not None
    assert (one.state is WorkerState.READY) == (by is ReadyBy.DELAY or event is named)


@pytest.mark.parametrize("by", ReadyBy)
def test_a_report_proves_readiness_by_notify_alone_and_a_probe_any_that_probes(by: ReadyBy) -> None:
    policy = replace(POLICY, ready_by=by)
    probed = by in (ReadyBy.CONNECT, ReadyBy.HTTP, ReadyBy.WEBSOCKET)

    assert proves(WorkerReady(worker(1)), policy) is (by is ReadyBy.NOTIFY)
    assert proves(ProbePassed(worker(1)), policy) is probed
