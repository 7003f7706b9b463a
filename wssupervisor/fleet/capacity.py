"""Whether there is room for one more generation, and which generation ends if there is none.

A generation needs a free slot of each listener to start, and at most `max_draining` generations may
drain, including the one that it replaces. Generations that are proven empty and only kept warm do
not count: they are ended before a reload is refused. If that is not enough, a reload can be asked
to cut a drain short. It takes the generation with the fewest connections, as late as possible, so
that a bad release costs no connection.
"""

from collections.abc import Iterator

from wssupervisor.fleet import draining, steering
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.model import GenerationState, Policy, SlotId, WhenFull, WorkerState
from wssupervisor.fleet.state import Generation, Reload, State
from wssupervisor.plural import count


def may_cut_drains(reload: Reload, policy: Policy) -> bool:
    return reload.make_room or policy.when_full is WhenFull.END_OLDEST


def no_slot(state: State, slots: dict[str, list[SlotId]]) -> str | None:
    """Return why a generation cannot start: a listener has no free slot. None if all have one."""
    name = next((name for name, free in slots.items() if not free), None)
    if name is None:
        return None
    if (too_many_seats := _too_many_seats(state, name)) is not None:
        return too_many_seats
    deaf = [slot for slot in state.listeners[name].slots if not steering.hears(state, slot)]
    if deaf and steering.unheld_slots(state).issuperset(deaf):
        return _deaf(name, len(deaf))
    found = draining.emptiest(state)
    if state.active is not None and draining.drains(state.active):
        found.append(state.active)  # workers removed by a scale also hold slots
    which, _ = _which(found)
    holders = f": held by {which}" if which else ""
    return f"no slot of listener {name!r} is free{holders}. {_way_out(found)}"


def _deaf(name: str, slots: int) -> str:
    return (
        f"no slot of listener {name!r} can be used: on {count(slots, 'slot')} a worker locked a"
        " packet filter (SO_LOCK_FILTER), which cannot be removed. Restart the instance, and its"
        " socket unit if it has one"
    )


def _too_many_seats(state: State, name: str) -> str | None:
    """Return a reason if the active generation alone takes all slots: ending drains cannot help."""
    active = state.active
    if active is None:
        return None
    seated = {seat.slots[name] for seat in active.seats}
    slots = len(state.listeners[name].slots)
    if len(seated) < slots - 1:
        return None
    workers = len(active.seats)
    written = state.policy.workers
    text = (
        f"no slot of listener {name!r} is free: generation {active.number} (workers: {workers})"
        f" uses all {slots} slots except the parking slot"
    )
    more = f"give the listener at least {workers + 2} slots (one ListenStream= line each)"
    if workers > written and written < slots - 1:
        return f"{text}. Undo the scaling with `wssctl scale {written}`, or {more}"
    fewer = max(1, (slots - 1) // 2)
    return f"{text}. Run `wssctl scale {fewer}` and lower [app] workers, or {more}"


def too_many(state: State, reload: Reload, policy: Policy) -> str | None:
    """Return why no further generation can drain; None if one can."""
    found = [generation for generation in draining.emptiest(state) if not _gives_way(generation)]
    if len(found) < policy.max_draining:
        return None
    paused = [generation for generation in found if draining.paused(generation)]
    if may_cut_drains(reload, policy):
        if len(paused) < policy.max_draining:
            return None
        which, _ = _which(paused)
        return (
            f"no room for another draining generation: {which} cannot be ended early while paused."
            f" Resume the drain of the emptiest with `wssctl drain {paused[0].number} --resume`"
        )
    which, end = _which(found)
    return (
        f"no room for another draining generation: {which} still drain{end} and [drain]"
        f" max_draining is {policy.max_draining}. {_way_out(found)}"
    )


def comes(state: State, now: float) -> bool:
    """Whether slots will be free soon, because workers are ending or have just ended."""
    return (
        any(worker.state is WorkerState.STOPPING for worker in state.workers())
        or any(steering.hears(state, slot) for slot in steering.unheld_slots(state))
        or any(draining.is_ending(generation, now) for generation in draining.oldest(state))
    )


def end_emptiest(state: State, now: float, *, cuts: bool) -> Iterator[Action]:
    """End one more generation that is not paused; one with connections only if `cuts`."""
    for generation in draining.emptiest(state):
        if draining.is_ending(generation, now) or draining.paused(generation):
            continue
        if draining.empty(generation):
            yield from draining.end_empty(state, generation, now)
        elif cuts:
            yield from draining.end_early(state, generation, now)
        return


def make_room_to_drain(
    state: State, reload: Reload, policy: Policy, now: float
) -> Iterator[Action]:
    """End generations right after a cutover, until the replaced one may drain as well.

    Clients whose connections are closed reconnect at once, and must find the new generation.
    """
    undisturbed = [
        generation
        for generation in draining.oldest(state)
        if not draining.is_ending(generation, now)
    ]
    for _ in range(len(undisturbed) - policy.max_draining + 1):
        yield from end_emptiest(state, now, cuts=may_cut_drains(reload, policy))


def _gives_way(generation: Generation) -> bool:
    """Whether ending it costs nothing except an immediate rollback."""
    return draining.empty(generation) and not draining.paused(generation)


def _which(found: list[Generation]) -> tuple[str, str]:
    numbers = ", ".join(map(str, sorted(generation.number for generation in found)))
    if not found:
        return "", ""
    return (f"generation {numbers}", "s") if len(found) == 1 else (f"generations {numbers}", "")


def _way_out(found: list[Generation]) -> str:
    """Return how to make room. `found`: the emptiest first."""
    if not found:
        return "Give the socket unit more ListenStream= lines, or scale down"
    first = found[0]
    if first.state is GenerationState.ACTIVE:
        return f"End its draining workers with `wssctl drain {first.number} --within 0s`"
    connections = draining.connections(first)
    which = "it" if len(found) == 1 else "the emptiest"
    closing = f"closing {count(connections, 'connection')}" if connections else "which is empty"
    return (
        f"End {which}, {closing}, with `wssctl drain {first.number} --within 0s` or"
        " `wssctl reload --make-room`"
    )
