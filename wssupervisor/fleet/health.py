"""Whether new connections are served and wanted, for load balancers."""

from wssupervisor.fleet import steering
from wssupervisor.fleet.state import State


def why_not_ready(state: State) -> str | None:
    """Return the reason in one line; None if new connections are served and wanted."""
    if state.stop is not None:
        return "stopping"
    active = state.active
    if active is None:
        return "starting: no generation serves yet"
    serves = any(steering.serves(active, seat) for seat in active.seats)
    if not serves and not steering.pauses(active):
        return f"no worker of generation {active.number} is ready"
    if state.out_of_rotation is not None:
        by = state.out_of_rotation.by
        return f"out of its load balancer{f' (requested by {by})' if by else ''}"
    return None


def agent_line(state: State) -> str:
    """Return the answer to HAProxy's agent-check.

    A word holds until another revokes it: `ready` revokes `drain`, `up` revokes `down`. `drain`
    keeps new clients away without marking the server down, which could end open connections.
    """
    if state.stop is not None or state.out_of_rotation is not None:
        return "drain"
    why = why_not_ready(state)
    return "up ready" if why is None else f"down #{why}"
