"""Lives in which the machine once took what the fleet may do for a fault, step by step."""

from tests.property.test_fleet import FleetMachine
from wssupervisor.fleet.model import Policy, WorkerId


def test_a_worker_that_closed_a_shared_listener_without_being_asked_may_end() -> None:
    life = FleetMachine()
    life.begin(
        policy=Policy(workers=2, drain_signal=None),
        pool=3,
        listeners=1,
        backlog=[],
        fair_start=True,
        early=False,
        shared=True,
        obedient=False,
    )
    life.ask_for_scale(workers=1)
    closed = life.world.processes[WorkerId(1, 1, 1)]
    closed.closed = True
    life.let_everything_finish()

    assert closed.told_to_end
