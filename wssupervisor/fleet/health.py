"""Whether somebody who connects now can be served: what a load balancer asks."""

from wssupervisor.fleet import steering
from wssupervisor.fleet.state import State


def why_not_ready(state: State) -> str | None:
    """In one line; None when new connections are served, and wanted."""
    if state.stop is not None:
        return "stopping"
    active = state.active
    if active is None:
        return "starting: no generation serves yet"
    serves = any(steering.serves(active, seat) for seat in active.seats)
    if not serves and not steering.pauses(active):
        return f"no worker of generation {active.number} is ready"
    if state.out_of_rotation is not None:
        who = f", as {state.out_of_rotation.by} wanted" if state.out_of_rotation.by else ""
        return f"out of its load balancer{who}"
    return None


def agent_line(state: State) -> str:
    """What HAProxy's agent-check is told.

    A word holds until one takes it back: `ready` does with `drain`, `up` with `down`. A `drain`
    keeps new clients away and marks nothing down, which could end those who are connected.
    """
    if state.stop is not None or state.out_of_rotation is not None:
        return "drain"
    why = why_not_ready(state)
    return "up ready" if why is None else f"down #{why}"
