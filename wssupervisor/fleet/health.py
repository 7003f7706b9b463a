"""Whether somebody who connects now can be served: what a load balancer asks."""

from wssupervisor.fleet import steering
from wssupervisor.fleet.state import State


def why_not_ready(state: State) -> str | None:
    """In one line; None when new connections are served."""
    if state.stop is not None:
        return "stopping"
    active = state.active
    if active is None:
        return "starting: no generation serves yet"
    if not any(steering.serves(active, seat) for seat in active.seats):
        return f"no worker of generation {active.number} is ready"
    return None
