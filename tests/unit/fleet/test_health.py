"""When the instance is ready for new connections."""

import pytest

from tests.unit.fleet.driven import Driven, draining, serving, starting, worker
from wssupervisor.fleet.events import (
    StopRequested,
    WorkerExited,
)
from wssupervisor.fleet.health import why_not_ready
from wssupervisor.fleet.model import (
    Exit,
)


@pytest.mark.parametrize(
    ("fleet", "why"),
    [
        (starting(), "starting: no generation serves yet"),
        (serving(), None),
        (draining(), None),
    ],
)
def test_ready_is_an_instance_that_serves(fleet: Driven, why: str | None) -> None:
    assert why_not_ready(fleet.state) == why


def test_an_instance_is_ready_while_one_of_its_workers_is() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10)
    with_one = why_not_ready(fleet.state)
    fleet.handle(WorkerExited(worker(1, 1), Exit(1)), 10)

    assert with_one is None
    assert why_not_ready(fleet.state) == "no worker of generation 1 is ready"


def test_an_instance_that_stops_is_not_ready() -> None:
    fleet = serving()
    fleet.handle(StopRequested(None), 10)

    assert why_not_ready(fleet.state) == "stopping"
