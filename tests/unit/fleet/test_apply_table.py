"""Putting a table of new connections in force: when that counts, and what a failure undoes."""

from tests.unit.fleet.driven import serving, starting
from wssupervisor.fleet.actions import Answer, Failed
from wssupervisor.fleet.events import (
    SteerFailed,
    TimePassed,
)
from wssupervisor.fleet.model import (
    InstanceState,
)
from wssupervisor.fleet.orders import Signal


def test_a_generation_is_active_only_when_steering_is_in_force() -> None:
    fleet = starting()
    fleet.make_ready(1, 1)
    actions = fleet.handle(TimePassed(), 2)

    assert fleet.shown_state(2) is InstanceState.STARTING

    fleet.steer(actions, 2)

    assert fleet.shown_state(2) is InstanceState.SERVING


def test_steering_that_fails_at_cutover_fails_the_reload() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    actions = fleet.handle(SteerFailed(3, "refused"), 12)

    assert {one.worker.generation for one in actions if isinstance(one, Signal)} == {2}
    assert any(isinstance(one, Answer) and isinstance(one.outcome, Failed) for one in actions)
